"""Adds the documents of a folder, a bucket or a git repository to those that are served."""
