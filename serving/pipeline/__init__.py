"""The pipeline: one question in, one trace out."""
