"""The paired comparison of two evaluations."""
