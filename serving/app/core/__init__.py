"""What all requests share: middleware, keys, limits, problems, logs, metrics, health."""
