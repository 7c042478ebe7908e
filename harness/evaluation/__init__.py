"""Scoring: a configuration becomes a pipeline, a pipeline answers cases, metrics score the answers."""
