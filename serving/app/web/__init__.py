"""The web pages: ask, documents, dashboard."""
