"""Answers despite an outage of a model, where a client waits: by the fallback tier, else with the passages alone."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from serving.pipeline.answer.answerer import Answerer, AnswerResult, Emit
from serving.pipeline.answer.degraded import MOST_PASSAGES, degraded_answer
from serving.pipeline.deadline import current_deadline, within
from serving.pipeline.errors import ConfigError, ModelError
from serving.pipeline.types import Hit, ModelOutage, Query, Route, Usage

log = logging.getLogger(__name__)

SHARE_WITH_FALLBACK: Final = 0.6  # of the time left, for a model that has a fallback
SHARE_ALONE: Final = 0.9  # for the last one; the rest is for answering with the passages
GRACE: Final = 0.04  # of the time left, added to the outer time-out, so that the model's own client times out first
FALLBACK_WARNING: Final = "The model that usually answers did not; another one wrote this."


class WhenDown(IntEnum):
    """What to do when a model does not answer."""

    FAIL = 0  # raise the outage: for evaluations, which must not score anything else
    FALL_BACK = 1  # ask the fallback tier, where the configuration names one
    DEGRADE = 2  # then answer with the passages alone


@dataclass(frozen=True, slots=True)
class ResilientResult:
    """An answer with its final route, and the models that did not answer before."""

    result: AnswerResult
    route: Route
    outages: tuple[ModelOutage, ...] = ()


class _WatchedEmit:
    """Passes on the text of one attempt; once text was shown, no other attempt can replace it, so its time limit is lifted."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.begun = False
        self.limit: asyncio.Timeout | None = None

    def __call__(self, text: str) -> None:
        if not self.begun and self.limit is not None and not self.limit.expired():
            self.limit.reschedule(None)
        self.begun = True
        self._emit(text)


async def answer_resiliently(
    answerer: Answerer,
    query: Query,
    hits: Sequence[Hit],
    route: Route,
    *,
    fallback: str,
    when_down: WhenDown,
    emit: Emit | None = None,
    late: Callable[[Usage], None] | None = None,
) -> ResilientResult:
    """The answer of the route's tier, of the fallback's, or the passages; an error where `when_down` goes no further.

    Each model has a share of the time until the deadline. One whose first words were shown is not replaced any more: its failure is raised.
    """
    if when_down is WhenDown.FAIL:
        return ResilientResult(await answerer.answer(query, hits, route, emit=emit, late=late), route)
    outages: list[ModelOutage] = []
    routes = [route]
    if fallback not in ("", route.tier):
        routes.append(replace(route, tier=fallback, reason=f"fallback: {route.tier} did not answer"))
    for place, tried in enumerate(routes, start=1):
        watched = _WatchedEmit(emit) if emit else None
        try:
            share = SHARE_ALONE if place == len(routes) else SHARE_WITH_FALLBACK
            result = await _within_share(answerer, query, hits, tried, share, watched, late)
        except (ModelError, ConfigError) as error:  # also refused credentials or a refused request: the caller cannot mend either
            if watched and watched.begun:
                raise
            outages.append(ModelOutage(tried.tier, answerer.model_of(tried.tier), type(error).__name__))
            log.warning("The tier %s did not answer: %s", tried.tier, error)
            if place == len(routes) and when_down < WhenDown.DEGRADE:
                raise
        else:
            return ResilientResult(result, tried, tuple(outages))
    passages = tuple(hits[:MOST_PASSAGES])
    given = degraded_answer(query.text, passages)
    nothing_paid = Usage(answerer.model_of(route.tier), calls=0)
    result = AnswerResult(given, passages, len(hits) - len(passages), "", "", nothing_paid)
    return ResilientResult(result, replace(route, reason="degraded: no model answered"), tuple(outages))


async def _within_share(
    answerer: Answerer,
    query: Query,
    hits: Sequence[Hit],
    route: Route,
    share: float,
    emit: _WatchedEmit | None,
    late: Callable[[Usage], None] | None,
) -> AnswerResult:
    """One attempt within its share of the time left; without a deadline there is no limit."""
    deadline = current_deadline()
    if deadline is None:
        return await answerer.answer(query, hits, route, emit=emit, late=late)
    left_s = deadline.left_s
    try:
        with within(share * left_s, deadline.seconds):
            async with asyncio.timeout((share + GRACE) * left_s) as limit:
                if emit is not None:
                    emit.limit = limit
                return await answerer.answer(query, hits, route, emit=emit, late=late)
    except TimeoutError:
        raise ModelError(f"{answerer.model_of(route.tier)} did not answer within {share * left_s:.1f} s.") from None
