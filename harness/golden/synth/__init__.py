"""Proposing cases from documents: by templates without a model, or with a chat model; always into the queue."""
