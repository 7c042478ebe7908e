"""From a winner that a gate let through to a release on a channel."""
