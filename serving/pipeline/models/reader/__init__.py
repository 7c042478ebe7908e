"""A local chat model that answers by reading: it extracts, never invents; for machines without a hosted model."""

from serving.pipeline.models.reader.source import ReaderLite, ReaderPro

__all__ = ["ReaderLite", "ReaderPro"]
