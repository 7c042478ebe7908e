"""A reranking model of Bedrock reads question and passage together."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, ClassVar

from pydantic import Field

from serving.pipeline.errors import ModelError
from serving.pipeline.models.bedrock import bedrock_client
from serving.pipeline.models.prices import price_list
from serving.pipeline.models.retry import RetryPolicy
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.retrieve.query_text import search_text
from serving.pipeline.types import Hit, Query, Usage
from serving.pipeline.usage_meter import metered_calls

PASSAGE_CHARACTERS = 32_000  # characters of a passage that the service takes
PASSAGES_PER_QUERY = 100  # more count as further queries


class BedrockReranker:
    """Orders hits by the relevance that the model gives them; ties by chunk id."""

    class Params(PlugInParams):
        """Which model, and how far down it reads."""

        model: str = "amazon.rerank-v1:0"  # or cohere.rerank-v3-5:0, or an ARN
        depth: int = Field(default=20, ge=1, le=1000, description="hits compared; those after them keep their order")

    version: ClassVar[str] = "1"

    def __init__(self, params: Params, parts: Parts, *, retry: RetryPolicy | None = None) -> None:
        settings = parts.settings
        name = f"bedrock:{params.model}"
        region = settings.aws_region
        self._depth = params.depth
        self._arn = params.model if params.model.startswith("arn:") else f"arn:aws:bedrock:{region}::foundation-model/{params.model}"
        self._name = name
        self._retry = retry or RetryPolicy(name, settings)
        self._settings = settings
        self._prices = price_list(settings)
        self._client: Any = None

    async def rerank(self, query: Query, hits: Sequence[Hit], k: int) -> list[Hit]:
        """The k best by relevance; hits below `depth` follow in their order, with scores below 0."""
        head, tail = hits[: self._depth], hits[self._depth :]
        question = search_text(query)
        if not head or not question:
            return list(hits[:k])
        with metered_calls(self.usage(head)).watch():
            scores = await self._retry.run(lambda: run_in_thread(lambda: self._ask(question, [hit.chunk.text for hit in head])))
        scored = [replace(hit, score=score) for hit, score in zip(head, scores, strict=True)]
        scored.sort(key=lambda hit: (-hit.score, hit.chunk.id))
        return [*scored, *(replace(hit, score=-float(place)) for place, hit in enumerate(tail, start=1))][:k]

    def usage(self, hits: Sequence[Hit]) -> Usage:
        """The price of reranking these hits: by the query, not by tokens."""
        queries = -(-min(len(hits), self._depth) // PASSAGES_PER_QUERY)
        usd = self._prices.calls(self._name, queries)
        return Usage(self._name, usd=usd or 0.0, calls=queries, priced=usd is not None, stage="retrieve")

    def _ask(self, question: str, texts: list[str]) -> list[float]:
        """The relevance of each text, in their order."""
        if self._client is None:
            self._client = bedrock_client("bedrock-agent-runtime", self._name, self._settings)
        chosen = {"modelConfiguration": {"modelArn": self._arn}, "numberOfResults": len(texts)}
        request: dict[str, Any] = {
            "queries": [{"type": "TEXT", "textQuery": {"text": question}}],
            "sources": [{"type": "INLINE", "inlineDocumentSource": _inline(text)} for text in texts],
            "rerankingConfiguration": {"type": "BEDROCK_RERANKING_MODEL", "bedrockRerankingConfiguration": chosen},
        }
        scores: dict[int, float] = {}
        while True:
            page = self._client.rerank(**request)
            scores |= {int(result["index"]): float(result["relevanceScore"]) for result in page["results"]}
            if not page.get("nextToken"):
                break
            request["nextToken"] = page["nextToken"]
        if set(scores) != set(range(len(texts))):
            raise ModelError(f"{self._name} scored the passages {sorted(scores)}, and was given {len(texts)}.")
        return [scores[place] for place in range(len(texts))]


def _inline(text: str) -> dict[str, Any]:
    return {"type": "TEXT", "textDocument": {"text": text[:PASSAGE_CHARACTERS] or " "}}  # an empty one is refused
