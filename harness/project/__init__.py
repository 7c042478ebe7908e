"""A project: a folder of documents, golden sets, prompts and experiments, and everything that can be done with them."""

from harness.project.project import Project

__all__ = ["Project"]
