"""Anything that is called with a question, as a subject."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from harness.evaluation.subject import SubjectIdentity
from harness.evaluation.subjects.code import facts_of
from harness.evaluation.subjects.reading import BadAnswer, read_answer, trace_of
from serving.pipeline.clock import Clock, SystemClock
from serving.pipeline.digest import digest_of
from serving.pipeline.models.threads import run_in_thread
from serving.pipeline.types import Query, Trace


@dataclass(frozen=True)
class FunctionSubject:
    """`answer(question)`, plain or async, that returns text, or a mapping with `answer` and, if it likes, `contexts` and `usage`.

    A plain function is called in threads, several at a time: `concurrency=1` where it does not bear that.
    """

    function: Callable[[str], Any]
    name: str = ""
    clock: Clock = field(default_factory=SystemClock)
    serial: bool = False

    @cached_property
    def identity(self) -> SubjectIdentity:
        """Its import path, with digests of its source and of the package it came with."""
        facts = dict(facts_of(self.function, self.name if ":" in self.name else ""))
        return SubjectIdentity({"app": {"kind": "function", **facts}}, digest_of(facts), self.name or facts["path"])

    async def answer(self, query: Query) -> Trace:
        """The function's answer."""
        started, start_s = self.clock.now().isoformat(timespec="milliseconds"), self.clock.seconds()
        if inspect.iscoroutinefunction(self.function) or inspect.iscoroutinefunction(getattr(self.function, "__call__", None)):  # noqa: B004 — an object may have an async __call__
            value = await self.function(query.text)
        else:
            value = await run_in_thread(lambda: self._call(query.text))
        if inspect.iscoroutine(value):  # a plain function that hands on an async one's answer
            value = await value
        elapsed = (self.clock.seconds() - start_s) * 1000
        return trace_of(read_answer(value, self.identity.name), query, self.identity.config_digest, started, elapsed)

    def _call(self, question: str) -> Any:
        """What a plain function gives; the end of the program is not for an app to say."""
        try:
            return self.function(question)
        except SystemExit as error:
            raise BadAnswer(f"it ended the program with sys.exit({error.code!r})") from None
