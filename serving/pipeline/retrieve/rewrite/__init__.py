"""Rewrites follow-ups as standalone questions, before retrieval."""
