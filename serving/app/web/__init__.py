"""The page at the root."""
