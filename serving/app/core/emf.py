"""Metrics for CloudWatch, where no Prometheus scrapes: a line a minute in its Embedded Metric Format.

CloudWatch bills each metric with each value of its dimensions, so there are few: those that alarms need, by channel alone. The line says
what happened since the one before, of this process; CloudWatch adds up those of all processes.
"""

import asyncio
import json
import logging
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from prometheus_client import CollectorRegistry

from serving.pipeline.errors import TouchstoneError

log = logging.getLogger(__name__)

NAMESPACE: Final = "Touchstone"
DIMENSION: Final = "Channel"
EVERY_S: Final = 60.0
Unit = Literal["Count", "Seconds", "None"]

QUESTIONS: Final = {"route": r"/v1/(query|query/stream|retrieve|chat/completions|responses|dify/retrieval)"}
SHOWN: Final = {"role": "stable|canary|interleave|other"}
NO_VERDICT: Final = {"rule": "error|timeout|outage"}


@dataclass(frozen=True, slots=True)
class CloudWatchMetric:
    """A number for CloudWatch: the sum of a series over the labels that match."""

    name: str
    series: str
    where: Mapping[str, str] = field(default_factory=dict)  # label: pattern of its whole value
    unit: Unit = "Count"
    reads: Literal["rise", "value", "age"] = "rise"  # since the line before; as it is; seconds since the moment that it tells


CLOUDWATCH: Final = (
    CloudWatchMetric("Requests", "touchstone_requests_total", QUESTIONS),
    CloudWatchMetric("Errors", "touchstone_requests_total", {**QUESTIONS, "status": "5.."}),
    CloudWatchMetric("FastRequests", "touchstone_request_seconds_bucket", {**QUESTIONS, "le": "2.5"}),
    CloudWatchMetric("RequestSeconds", "touchstone_request_seconds_sum", QUESTIONS, unit="Seconds"),
    CloudWatchMetric("Queries", "touchstone_query_seconds_count"),
    CloudWatchMetric("FailedQueries", "touchstone_failed_queries_total"),
    CloudWatchMetric("QueriesWaiting", "touchstone_queries_waiting", reads="value"),
    CloudWatchMetric("QueriesAbandoned", "touchstone_queries_abandoned", reads="value"),
    CloudWatchMetric("Answers", "touchstone_role_answers_total", SHOWN),
    CloudWatchMetric("UngroundedAnswers", "touchstone_role_answers_total", {**SHOWN, "outcome": "ungrounded"}),
    CloudWatchMetric("Refusals", "touchstone_role_answers_total", {**SHOWN, "outcome": "refused"}),
    CloudWatchMetric("DegradedAnswers", "touchstone_degraded_total"),
    CloudWatchMetric("ModelsLeftAlone", "touchstone_model_breaker", {"state": "open"}, reads="value"),
    CloudWatchMetric("Searches", "touchstone_hits_count"),
    CloudWatchMetric("EmptySearches", "touchstone_hits_bucket", {"le": r"0(\.0)?"}),
    CloudWatchMetric("CacheHits", "touchstone_cache_hits_total"),
    CloudWatchMetric("CacheMisses", "touchstone_cache_misses_total"),
    CloudWatchMetric("CacheAudits", "touchstone_cache_audits_total", {"outcome": "agreed|disagreed"}),
    CloudWatchMetric("CacheFalseHits", "touchstone_cache_audits_total", {"outcome": "disagreed"}),
    CloudWatchMetric("GuardBlocks", "touchstone_guard_incidents_total", {"action": "block"}),
    CloudWatchMetric("GuardFailures", "touchstone_guard_incidents_total", NO_VERDICT),
    CloudWatchMetric("PromptLeaks", "touchstone_answer_findings_total", {"finding": "prompt_leak|prompt_delimiters"}),
    CloudWatchMetric("Usd", "touchstone_usd_total", unit="None"),
    CloudWatchMetric("UnpricedCalls", "touchstone_unpriced_calls_total"),
    CloudWatchMetric("BudgetUsdPerDay", "touchstone_budget_usd_per_day", unit="None", reads="value"),
    CloudWatchMetric("ShadowPairs", "touchstone_shadow_pairs_total"),
    CloudWatchMetric("ShadowDisagreements", "touchstone_shadow_pairs_total", {"verdict": "disagreed|failed"}),
    CloudWatchMetric("TracesLost", "touchstone_traces_lost"),
    CloudWatchMetric("TracesWaiting", "touchstone_traces_waiting", reads="value"),
    CloudWatchMetric("Ready", "touchstone_ready", reads="value"),
    CloudWatchMetric("ReleaseCurrent", "touchstone_release_current", reads="value"),
    CloudWatchMetric("CandidateBroken", "touchstone_candidate_broken", reads="value"),
    CloudWatchMetric("KeysUnreadable", "touchstone_keys_unreadable", reads="value"),
    CloudWatchMetric("IndexAge", "touchstone_index_created_timestamp_seconds", unit="Seconds", reads="age"),
)


class MetricLines:
    """Writes what the registry holds, once in a while, beside the requests."""

    def __init__(
        self,
        registry: CollectorRegistry,
        channel: str,
        *,
        write: Callable[[str], object] | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._channel = channel
        self._write = write or _to_stdout
        self._wall = wall
        self._before: dict[str, float] = {}

    async def run(self, prepare: Callable[[], Awaitable[object]], sleep: Callable[[float], Awaitable[object]] = asyncio.sleep) -> None:
        """A line a minute until cancelled, and a last one then; `prepare` brings the gauges up to date."""
        try:
            while True:
                await sleep(EVERY_S)
                try:
                    await prepare()
                except TouchstoneError:  # an outage, which its own part has logged: the gauges stay as they were
                    pass
                except Exception:  # a line a minute, whatever fails
                    log.exception("The metrics are not up to date; this line has what is known.")
                self._write(self.line())
        finally:
            self._write(self.line())

    def line(self) -> str:
        """What happened since the line before, as one line of JSON."""
        now = self._wall()
        found = self._sums()
        values: dict[str, float] = {}
        for metric in CLOUDWATCH:
            value = found[metric.name]
            if metric.reads == "rise":
                before = self._before.get(metric.name, 0.0)
                self._before[metric.name] = value
                values[metric.name] = value - before if value >= before else value  # it began anew, as the cache's do with a release
            elif metric.reads == "value":
                values[metric.name] = value
            elif value:
                values[metric.name] = max(0.0, now - value)
        named = [{"Name": metric.name, "Unit": metric.unit} for metric in CLOUDWATCH if metric.name in values]
        head = {
            "Timestamp": round(now * 1000),
            "CloudWatchMetrics": [{"Namespace": NAMESPACE, "Dimensions": [[DIMENSION]], "Metrics": named}],
        }
        facts = {"event": "metrics", "host": socket.gethostname(), DIMENSION: self._channel}
        return json.dumps({"_aws": head, **facts, **{name: round(value, 9) for name, value in values.items()}}) + "\n"

    def _sums(self) -> dict[str, float]:
        sums = dict.fromkeys((metric.name for metric in CLOUDWATCH), 0.0)
        wanted: dict[str, list[CloudWatchMetric]] = {}
        for metric in CLOUDWATCH:
            wanted.setdefault(metric.series, []).append(metric)
        for family in self._registry.collect():
            for sample in family.samples:
                for metric in wanted.get(sample.name, ()):
                    if all(re.fullmatch(pattern, sample.labels.get(label, "")) for label, pattern in metric.where.items()):
                        sums[metric.name] += sample.value
        return sums


def _to_stdout(line: str) -> None:
    sys.stdout.write(line)
    sys.stdout.flush()
