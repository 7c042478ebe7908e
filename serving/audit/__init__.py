"""The audit trail: who did what to channels, documents and traces, written before the act and never changed."""
