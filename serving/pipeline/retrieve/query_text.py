"""The text of a query as searchers take it."""

from serving.pipeline.types import Query


def search_text(query: Query) -> str:
    """The question without white space around it; lone surrogates, which no encoder takes, become question marks."""
    return query.text.encode("utf-8", "replace").decode("utf-8").replace("\0", " ").strip()
