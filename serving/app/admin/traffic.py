"""Counts traces: how many there are, their times, costs and routes."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

from serving.app.admin.wire import (
    BucketOut,
    CountOut,
    IncidentOut,
    PercentilesOut,
    ReleaseTrafficOut,
    ShareOut,
    StageTimeOut,
    TrafficOut,
)
from serving.app.traces.wire import FeedbackOut, time_text
from serving.traces.record import Feedback
from serving.traces.summary import CountedUsage, TraceSummary

K = TypeVar("K")
BUCKETS: Final = 24
SHOWN: Final = 50  # incidents, pieces of feedback
SHADOW: Final = "shadow"
STAGES: Final = ("guard", "cache", "retrieve", "route", "answer")


def traffic(summaries: Sequence[TraceSummary], feedback: Sequence[Feedback], *, since: float, until: float, complete: bool) -> TrafficOut:
    """What happened in a window, counted from its traces, which come the newest first."""
    if not complete and summaries:
        since = summaries[-1].at  # what is older was not read
    shown = [one for one in summaries if one.role != SHADOW]
    usage = [use for one in shown for use in one.usage]
    confidences = [one.confidence for one in shown if one.confidence is not None]
    return TrafficOut(
        since=time_text(since),
        until=time_text(until),
        traces=len(summaries),
        complete=complete,
        questions=len(shown),
        cached=sum(bool(one.cache) for one in shown),
        refused=sum(one.refused for one in shown),
        degraded=_degraded(shown),
        usd=sum(one.usd for one in shown),
        simulated=any(use.simulated for use in usage),
        input_tokens=sum(use.input_tokens for use in usage),
        output_tokens=sum(use.output_tokens for use in usage),
        times=percentiles(one.milliseconds for one in shown),
        first_token=percentiles(one.first_token_ms for one in shown if one.first_token_ms is not None),
        confidence=sum(confidences) / len(confidences) if confidences else None,
        buckets=_buckets(shown, since, until),
        stages=_stages(shown),
        routes=_shares(shown, lambda one: one.tier or "no model"),
        models=_models(shown),
        cache=_shares(shown, lambda one: one.cache or "written anew"),
        releases=_releases(summaries, feedback),
        incidents=tuple(_incidents(shown))[:SHOWN],
        incident_counts=_counts(f"{one.check}: {one.rule or 'unnamed'} → {one.action}" for one in _incidents(shown)),
        feedback=tuple(FeedbackOut.of(one) for one in feedback[:SHOWN]),
        feedback_counts=_counts(_feedback_label(one) for one in feedback),
    )


def percentiles(milliseconds: Iterable[float]) -> PercentilesOut | None:
    """The percentiles of some times (nearest rank); None of none."""
    ordered = sorted(milliseconds)
    if not ordered:
        return None

    def at(share: float) -> float:
        return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 3)

    return PercentilesOut(count=len(ordered), p50_ms=at(0.5), p95_ms=at(0.95), p99_ms=at(0.99))


def _buckets(shown: Sequence[TraceSummary], since: float, until: float) -> tuple[BucketOut, ...]:
    width = max(until - since, 1e-6) / BUCKETS
    inside: list[list[TraceSummary]] = [[] for _ in range(BUCKETS)]
    for one in shown:
        inside[min(BUCKETS - 1, max(0, int((one.at - since) / width)))].append(one)
    made = []
    for number, ones in enumerate(inside):
        times = percentiles(one.milliseconds for one in ones)
        made.append(
            BucketOut(
                at=time_text(since + number * width),
                questions=len(ones),
                cached=sum(bool(one.cache) for one in ones),
                refused=sum(one.refused for one in ones),
                degraded=_degraded(ones),
                usd=sum(one.usd for one in ones),
                p50_ms=times.p50_ms if times else None,
                p95_ms=times.p95_ms if times else None,
            )
        )
    return tuple(made)


def _stages(shown: Sequence[TraceSummary]) -> tuple[StageTimeOut, ...]:
    """Each stage's time in a question, its several turns (the guard has three) added up."""
    spent: dict[str, list[float]] = {}
    for one in shown:
        of: dict[str, float] = {}
        for stage in one.stages:
            of[stage.stage] = of.get(stage.stage, 0.0) + stage.milliseconds
        for name, milliseconds in of.items():
            spent.setdefault(name, []).append(milliseconds)
    ordered = sorted(spent, key=lambda name: (STAGES.index(name) if name in STAGES else len(STAGES), name))
    return tuple(StageTimeOut(stage=name, times=times) for name in ordered if (times := percentiles(spent[name])))


def _grouped(ones: Iterable[TraceSummary], key: Callable[[TraceSummary], K]) -> dict[K, list[TraceSummary]]:
    found: dict[K, list[TraceSummary]] = {}
    for one in ones:
        found.setdefault(key(one), []).append(one)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def _shares(shown: Sequence[TraceSummary], name: Callable[[TraceSummary], str]) -> tuple[ShareOut, ...]:
    return tuple(
        ShareOut(
            name=key,
            questions=len(ones),
            usd=sum(one.usd for one in ones),
            simulated=any(use.simulated for one in ones for use in one.usage),
        )
        for key, ones in _grouped(shown, name).items()
    )


def _models(shown: Sequence[TraceSummary]) -> tuple[ShareOut, ...]:
    """Every model that was called, embedding models and checks too."""
    calls: dict[str, list[tuple[str, CountedUsage]]] = {}
    for one in shown:
        for use in one.usage:
            calls.setdefault(use.model, []).append((one.id, use))
    made = [
        ShareOut(
            name=model,
            questions=len({ident for ident, _ in of}),
            usd=sum(use.usd for _, use in of),
            simulated=any(use.simulated for _, use in of),
        )
        for model, of in calls.items()
    ]
    return tuple(sorted(made, key=lambda share: (-share.usd, share.name)))


def _releases(summaries: Sequence[TraceSummary], feedback: Sequence[Feedback]) -> tuple[ReleaseTrafficOut, ...]:
    thumbs = {(one.trace_id, one.principal): one.value for one in reversed(feedback) if one.kind == "thumbs"}
    of = {one.id: (one.release, one.role) for one in summaries}
    thumbs_by_release = Counter((of[trace], value) for (trace, _), value in thumbs.items() if trace in of)
    return tuple(
        ReleaseTrafficOut(
            release=release,
            role=role,
            questions=len(ones),
            refused=sum(one.refused for one in ones),
            cached=sum(bool(one.cache) for one in ones),
            usd=sum(one.usd for one in ones),
            times=percentiles(one.milliseconds for one in ones),
            thumbs_up=thumbs_by_release[(release, role), 1.0],
            thumbs_down=thumbs_by_release[(release, role), -1.0],
        )
        for (release, role), ones in _grouped(summaries, lambda one: (one.release, one.role)).items()
    )


def _incidents(shown: Sequence[TraceSummary]) -> Iterable[IncidentOut]:
    for one in shown:
        for found in one.incidents:
            yield IncidentOut(
                at=time_text(one.at),
                trace_id=one.id,
                release=one.release,
                side=found.side,
                check=found.check,
                rule=found.rule,
                action=found.action,
            )


def _degraded(ones: Iterable[TraceSummary]) -> int:
    return sum(one.degraded and not one.refused for one in ones)


def _feedback_label(one: Feedback) -> str:
    """A piece of feedback in a word or two."""
    if one.kind == "thumbs":
        return "thumbs up" if one.value == 1.0 else "thumbs down"
    return f"rating {one.value:g}" if one.kind == "rating" and one.value is not None else one.kind


def _counts(names: Iterable[str]) -> tuple[CountOut, ...]:
    return tuple(CountOut(name=name, count=count) for name, count in Counter(names).most_common(SHOWN))
