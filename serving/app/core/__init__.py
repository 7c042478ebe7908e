"""What every request passes: middleware, keys, limits, problems, logs, metrics, health."""
