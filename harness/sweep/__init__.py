"""Searching the configuration space, and proving what was found."""
