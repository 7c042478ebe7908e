"""Judges: who they are, by name."""
