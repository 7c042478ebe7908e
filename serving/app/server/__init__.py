"""The HTTP server in front of the app: connections and their limits, logs of repeated events, the event loop."""
