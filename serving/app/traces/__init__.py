"""Traces and feedback: the writer behind the API, and the routes that read them."""
