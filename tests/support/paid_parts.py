"""Hosted parts that are paid by the call and write down every bill: what a trace says that it cost is held against them."""

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.models.billed_embeddings import note_tokens
from serving.pipeline.models.hashing import Hashing
from serving.pipeline.models.prices import guardrail_usage
from serving.pipeline.models.question_vector import QuestionVectors
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Answer, GuardAction, Hit, Query, Route, Usage

HERE = "tests.support.paid_parts"
CHEAP, DEAR, VECTORS = f"{HERE}:CheapChat", f"{HERE}:DearChat", f"{HERE}:PaidEmbeddings"
USD = {CHEAP: (1.0, 4.0), DEAR: (10.0, 40.0), VECTORS: (0.5, 0.0)}  # of a million tokens, in and out
CHECK_USD, RERANK_USD = 0.00015, 0.001


class Bills(list[float]):
    """What the providers will ask for, and how the calls go."""

    chance: random.Random = random.Random(0)
    fails: str = ""  # the part that is out of order
    tells_tokens: bool = True


BILLS = Bills()


def prices(folder: Path) -> PipelineSettings:
    """Settings that name the price of each."""
    models = {
        name: {"valid_from": "2026-01-01", "usd_per_million_input": read, "usd_per_million_output": written}
        for name, (read, written) in USD.items()
    }
    path = folder / "prices.json"
    path.write_text(json.dumps({"date": "2026-11-01", "models": models}))
    return PipelineSettings(_env_file=None, prices=path, model_attempts=2)


def _out_of_order(part: str) -> None:
    if BILLS.fails == part:
        raise ConnectionError(f"{part} is away")


class CheapChat(BaseChatModel):
    """Writes by chance: an answer, or nothing at all, which is paid for too."""

    name_: ClassVar[str] = CHEAP

    @property
    def _llm_type(self) -> str:
        return "paid"

    def _generate(self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        _out_of_order(type(self).__name__)
        read, written = BILLS.chance.randint(1, 10_000), BILLS.chance.randint(1, 500)
        usd = USD[self.name_]
        BILLS.append((read * usd[0] + written * usd[1]) / 1_000_000)
        tokens: Any = {"input_tokens": read, "output_tokens": written, "total_tokens": read + written}
        text = BILLS.chance.choice(
            ["28 days [1].", "Everyone has 28 days of paid leave [1].", ""] if BILLS.fails == "words" else ["28 [1]."]
        )
        return ChatResult(generations=[ChatGeneration(message=AIMessage(text, usage_metadata=tokens))])


class DearChat(CheapChat):
    """The same, dearer."""

    name_: ClassVar[str] = DEAR


class PaidEmbeddings(Embeddings):
    """A vector of hashed words; the provider counts its words as tokens, and does not always tell."""

    def __init__(self) -> None:
        self._inner = Hashing(Hashing.Params(), name="local:hashing", settings=PipelineSettings(_env_file=None)).connect()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self._inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        _out_of_order("PaidEmbeddings")
        tokens = len(text.split()) if BILLS.tells_tokens else -(-len(text) // 4)
        if BILLS.tells_tokens:
            note_tokens(tokens)
        BILLS.append(tokens * USD[VECTORS][0] / 1_000_000)
        return self._inner.embed_query(text)


class PaidCheck:
    """A guardrail: it is paid for whatever it decides, and may be away."""

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input", "passages", "output")
    rewrites = False
    blocks = True

    class Params(PlugInParams):
        """What it decides."""

        blocks_every: int = 0  # so many-th text; 0: none
        fails: bool = False

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        if self._params.fails:
            from serving.pipeline.errors import ModelError

            raise ModelError("the guardrail is away")
        BILLS.append(CHECK_USD)
        use = guardrail_usage({"contentPolicyUnits": 1}, "bedrock:guardrail")
        every = self._params.blocks_every
        action = GuardAction.BLOCK if every and not BILLS.chance.randrange(every) else GuardAction.ALLOW
        return CheckVerdict(action, text, usage=(use,))


class PaidReranker:
    """Turns the order round, for money."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def rerank(self, query: Query, hits: Sequence[Hit], k: int) -> list[Hit]:
        _out_of_order("PaidReranker")
        if hits:
            BILLS.append(RERANK_USD)
        return list(hits[::-1][:k])

    def usage(self, hits: Sequence[Hit]) -> Usage:
        return Usage("reranker", usd=RERANK_USD, stage="retrieve")


class VectorRouter:
    """Asks for the question's vector, as a router of neighbours does."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        self._vectors = QuestionVectors(parts.embeddings)

    async def route(self, query: Query, hits: Sequence[Hit]) -> Route:
        vector = await self._vectors.vector(query.text)
        return Route("lite" if vector is not None else "pro", "by its vector")


class OnceMore:
    """Gives up every answer of the cheap tier."""

    version: ClassVar[str] = "1"
    withholds: ClassVar[bool] = True

    class Params(PlugInParams):
        """Nothing to set."""

    def __init__(self, params: Params, parts: Parts) -> None:
        pass

    async def escalate(self, query: Query, route: Route, answer: Answer, passages: Sequence[Hit]) -> Route | None:
        return Route("pro", "not sure enough") if route.tier == "lite" else None
