"""The query API in front of the pipeline."""
