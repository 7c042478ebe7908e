"""Groundedness: how well passages support a claim, by lexical features and sentence similarity."""
