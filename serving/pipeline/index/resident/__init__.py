"""The resident searcher: an index as one file that is mapped into memory."""
