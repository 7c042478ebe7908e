"""Who did what to channels, documents and traces: written before it is done, and never changed."""
