"""Releases, what proves them, and the channels that point at them."""
