"""Doors for clients that speak another protocol: each admits a question as /v1/query does."""
