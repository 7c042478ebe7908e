"""Builds an index on several machines: parts of a corpus are loaded, chunked and embedded by workers, into one table."""
