"""The words of a query, fit for any searcher."""

from serving.pipeline.types import Query


def search_text(query: Query) -> str:
    """The question without white space around it; half characters, which no encoder takes, become question marks."""
    return query.text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").strip()
