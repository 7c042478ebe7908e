"""A LangChain Runnable as a subject; tokens are read off its own calls."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.load import dumpd
from langchain_core.messages import AIMessage
from langchain_core.outputs import LLMResult
from langchain_core.runnables import Runnable

from harness.evaluation.subject import SubjectIdentity
from harness.evaluation.subjects.code import facts_of, source_of
from harness.evaluation.subjects.reading import read_answer, trace_of
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.prices import PACKAGE, PriceList, usage_of
from serving.pipeline.types import Query, Trace, Usage

KEYS = ("question", "input", "query")


@dataclass(frozen=True)
class RunnableSubject:
    """A chain, a graph or a chat model. It is given the question as text, or under `input_key` where it takes a mapping."""

    runnable: Runnable[Any, Any]
    name: str = ""
    input_key: str = ""  # default: what its input's schema names, else the question itself
    clock: Clock = field(default_factory=SystemClock)
    serial: bool = False
    prices: PriceList = PACKAGE

    @cached_property
    def identity(self) -> SubjectIdentity:
        """Its import path where it has one, its structure, with digests of its source and of the package it came with."""
        facts = dict(facts_of(self.runnable, self.name if ":" in self.name else ""))
        facts["structure"] = digest_of(_structure(self.runnable))
        name = self.name or self.runnable.get_name()
        return SubjectIdentity({"app": {"kind": "runnable", "name": name, **facts}}, digest_of(facts), name)

    @cached_property
    def _key(self) -> str:
        if self.input_key:
            return self.input_key
        schema = self.runnable.get_input_jsonschema()
        names = list(schema.get("properties") or ()) if schema.get("type") == "object" else []
        names = [name for name in names if name != "root"]
        if not names:
            return ""
        known = [name for name in KEYS if name in names] or (names if len(names) == 1 else [])
        if not known:
            raise ConfigError(f"{self.identity.name} takes {', '.join(names)}: say which is the question, RunnableSubject(…, input_key=…).")
        return known[0]

    async def answer(self, query: Query) -> Trace:
        """The Runnable's answer, with the tokens of every chat model that it called."""
        started, start_s = self.clock.now().isoformat(timespec="milliseconds"), self.clock.seconds()
        call_usage, key = _CallUsage(self.prices), self._key
        value = await self.runnable.ainvoke({key: query.text} if key else query.text, {"callbacks": [call_usage]})
        elapsed = (self.clock.seconds() - start_s) * 1000
        app_answer = read_answer(value, self.identity.name)
        app_answer = replace(app_answer, usage=tuple(call_usage.usage) or app_answer.usage)
        return trace_of(app_answer, query, self.identity.config_digest, started, elapsed)


class _CallUsage(AsyncCallbackHandler):
    """Collects the usage of every chat model call inside a Runnable."""

    def __init__(self, prices: PriceList) -> None:
        self.usage: list[Usage] = []
        self._prices = prices

    async def on_llm_end(self, response: LLMResult, **kwargs: Any) -> None:
        """Count a call; one that tells no tokens is counted as unknown."""
        for generations in response.generations:
            for generation in generations:
                self.usage.append(_of_message(getattr(generation, "message", None), self._prices))


@dataclass(slots=True)
class _Named:
    """A model whose price is that of its name."""

    price_model: str
    simulated: bool = False


def _of_message(message: Any, prices: PriceList) -> Usage:
    meta = getattr(message, "response_metadata", None) or {}
    provider, model = meta.get("model_provider", ""), str(meta.get("model_name") or meta.get("model") or "unknown")
    name = f"{provider}:{model}" if provider else model
    return usage_of(message, _Named(name), name, prices) if isinstance(message, AIMessage) else Usage(name, priced=False)


def _structure(runnable: Any) -> Any:
    """The steps of a Runnable: prompts and models as LangChain writes them down, functions by their source."""
    if function := getattr(runnable, "func", None) or getattr(runnable, "afunc", None):
        return facts_of(function)["path"], source_of(function)
    for inner in ("bound", "mapper"):
        if hasattr(runnable, inner):
            return [type(runnable).__qualname__, _structure(getattr(runnable, inner))]
    if isinstance(steps := getattr(runnable, "steps", getattr(runnable, "steps__", None)), Mapping):
        return {str(name): _structure(step) for name, step in steps.items()}
    return [_structure(step) for step in steps] if steps else _plain(dumpd(runnable))


def _plain(value: Any) -> Any:
    """Without the places in memory that LangChain writes beside what it cannot write down."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items() if name != "repr"}
    return [_plain(item) for item in value] if isinstance(value, list) else value if isinstance(value, str | int | float) else str(value)
