"""Promotion: from a winner that passed its gate to a release on a channel."""
