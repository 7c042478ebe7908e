"""Chunkers: each cuts a document into exact slices of its text; the table is in `serving.pipeline.index`."""
