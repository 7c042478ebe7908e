"""Releases, their evidence, and the channels that point at them."""
