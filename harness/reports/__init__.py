"""Reports that one can open: HTML in one file with nothing fetched, and Markdown."""

from harness.reports.evaluation import write_evaluation
from harness.reports.page import render
from harness.reports.sweep import write_sweep, write_sweep_folder

__all__ = ["render", "write_evaluation", "write_sweep", "write_sweep_folder"]
