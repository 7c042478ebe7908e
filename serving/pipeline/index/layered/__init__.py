"""Added chunks beside a proven index: kept as immutable segments, searched together with it."""
