"""Documents added to, or removed from, the corpus of a proven release: their records, bytes and texts."""
