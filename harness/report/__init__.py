"""Reports that one can open: HTML in one file with nothing fetched, and Markdown."""

from harness.report.evaluation import write_evaluation
from harness.report.page import render
from harness.report.sweep import write_kept_sweep, write_sweep

__all__ = ["render", "write_evaluation", "write_kept_sweep", "write_sweep"]
