"""Documents that are added to, and removed from, the corpus of a proven release: what is wanted of them, and their bytes and texts."""
