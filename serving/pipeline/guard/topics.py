"""Denied topics: questions that resemble their examples are flagged or blocked."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from serving.pipeline.guard.base import CheckContext, CheckVerdict, Side
from serving.pipeline.guard.excerpt import redacted_excerpt
from serving.pipeline.guard.windows import SHORT
from serving.pipeline.index.base import Vectors
from serving.pipeline.models.connect import LOCAL
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.text.folding import caseless
from serving.pipeline.types import GuardAction

_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")


class Topic(BaseModel):
    """A denied topic: its definition, examples, and keywords of which a text must have one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    definition: str = Field(min_length=1, max_length=200)
    examples: tuple[str, ...] = Field(min_length=1)
    keywords: tuple[str, ...] = Field(default=(), description="one of them has to be said; `*` is any ending; empty: any text may be meant")
    action: Literal["flag", "block"] | None = None  # None: the action of the check


class TopicsCheck:
    """Compares a question, and each of its sentences, with examples of denied topics and of allowed questions.

    The score is the similarity to the nearest example of a topic whose keywords occur, if no allowed example is nearer.
    """

    version: ClassVar[str] = "1"
    sides: ClassVar[tuple[Side, ...]] = ("input",)
    rewrites = False

    class Params(PlugInParams):
        """Which topics, and how like their examples a question must be; the thresholds are fitted to local:minilm."""

        action: Literal["flag", "block"] = "block"
        topics: Mapping[str, Topic] = Field(default_factory=dict, description="by name: definition, examples, keywords, action")
        allowed: tuple[str, ...] = Field(default=(), description="questions of the same words that are answered")
        threshold: float = Field(default=0.4, ge=0.0, le=1.0, description="the least similarity to an example")
        margin: float = Field(default=0.0, ge=-1.0, le=1.0, description="by how much it must be nearer than to what is allowed")
        domains: tuple[str, ...] = Field(default=(), description="only for questions that may look there; empty: always")

    def __init__(self, params: Params, parts: Parts) -> None:
        self._params = params
        self._question = parts.question
        self._parts = parts
        self._actions = {name: topic.action or params.action for name, topic in params.topics.items()}
        self._keywords = {name: _pattern(topic.keywords) for name, topic in params.topics.items()}
        self._examples: dict[str, Vectors] | None = None
        self.domains = params.domains
        self.blocks = "block" in self._actions.values()
        if params.topics and parts.embedder.startswith(LOCAL):
            self._examples = self._embedded()

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        """Whether the question is about a denied topic."""
        best = CheckVerdict.allow(text, 0.0)
        for part, name in self._candidates(text) if len(text) <= SHORT else await run_in_thread(lambda: self._candidates(text)):
            score = await self._similarity(name, part)
            if score >= self._params.threshold and score > (best.score or 0.0):
                place = text.find(part)
                excerpt = redacted_excerpt(text, place, place + len(part))
                best = CheckVerdict(GuardAction(self._actions[name]), text, score, name, f"asks for {name}", excerpt=excerpt)
        return best

    def _candidates(self, text: str) -> list[tuple[str, str]]:
        """The parts of a text with the topics whose keywords they contain: most have none, and need no vector."""
        folded = {part: caseless(part) for part in _parts_of(text)}
        return [(part, name) for part, plain in folded.items() for name, pattern in self._keywords.items() if pattern.search(plain)]

    async def _similarity(self, topic: str, text: str) -> float:
        """The similarity to the nearest example; 0 where an allowed example is nearer."""
        vector = await self._question.vector(text)
        if vector is None:
            return 0.0
        if self._examples is None:
            self._examples = await run_in_thread(self._embedded)
        near = float(np.max(self._examples[topic] @ vector))
        allowed = float(np.max(self._examples[""] @ vector)) if self._params.allowed else -1.0
        return min(1.0, max(0.0, near)) if near - allowed >= self._params.margin else 0.0

    def _embedded(self) -> dict[str, Vectors]:
        """The unit vectors of each topic's examples, and under "" those of the allowed ones."""
        texts: dict[str, Sequence[str]] = {name: topic.examples for name, topic in self._params.topics.items()}
        return {name: _directions(self._parts.embeddings, chosen) for name, chosen in {**texts, "": self._params.allowed}.items() if chosen}


def _directions(embeddings: Any, texts: Sequence[str]) -> Vectors:
    vectors = np.asarray([embeddings.embed_query(text) for text in texts], dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    directions: Vectors = np.divide(vectors, lengths, out=vectors, where=lengths > 0)
    return directions


def _parts_of(text: str) -> list[str]:
    """The whole question, and each of several sentences: a denied one may be among others."""
    sentences = [sentence for sentence in _SENTENCE_END.split(text.strip()) if sentence.strip()]
    return list(dict.fromkeys([text, *sentences] if len(sentences) > 1 else [text]))


def _pattern(keywords: Sequence[str]) -> re.Pattern[str]:
    words = (
        re.escape(caseless(word).removesuffix("*")).replace(r"\ ", r"\s{1,3}") + (r"\w{0,12}" if word.endswith("*") else "")
        for word in keywords
    )
    return re.compile(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)" if keywords else "")
