"""Stores: each keeps chunks with their vectors and words; the table is in `serving.pipeline.index`."""
