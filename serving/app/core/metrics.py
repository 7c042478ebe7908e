"""Metrics for Prometheus, in a registry of the app's own."""

from collections.abc import Callable
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, PlatformCollector, ProcessCollector

from serving.app.core.breaker_metrics import BreakerCollector
from serving.app.core.cache_metrics import CacheCollector
from serving.app.core.document_metrics import DocumentCollector
from serving.app.core.limits import ConcurrencyLimit
from serving.app.release.added import CorpusState
from serving.app.release.manager import Readiness
from serving.app.server.connections import ConnectionGate
from serving.pipeline.cache.base import MISS_REASONS
from serving.pipeline.observer import NullObserver
from serving.pipeline.types import GuardAction, GuardVerdict, Query, StageRecord, Trace, Usage
from serving.traces.record import FeedbackKind

TIME_BUCKETS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
FINDINGS = frozenset({"low_confidence", "ungrounded", "wrong_citation", "prompt_leak", "prompt_delimiters", "error", "timeout"})
TOXIC = frozenset({"mild", "strong", "severe"})
ROLES = frozenset({"stable", "canary", "shadow", "interleave"})
OUTCOMES = ("answered", "refused", "ungrounded")
HIT_KINDS = ("exact", "semantic", "shared")
MOST_RULES = 200  # of all checks together
LONGEST_RULE = 60  # characters
SCORE_BUCKETS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0, 5.0, 10.0, 20.0)  # searches have no common scale
SPEED_BUCKETS = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 500, 1000, 10_000)
MOST_RELEASES = 20  # that are told apart; a process seldom serves more
HIT_BUCKETS = (0, 1, 2, 4, 6, 8, 12, 20, 50, 100)


class Metrics(NullObserver):
    """All that is counted; one process, one registry. Queries are counted as their observer."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(BreakerCollector())

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"touchstone_{name}", about, labels, registry=self.registry)

        def gauge(name: str, about: str, *labels: str) -> Gauge:
            return Gauge(f"touchstone_{name}", about, labels, registry=self.registry)

        def histogram(name: str, about: str, *labels: str, buckets: tuple[float, ...] = TIME_BUCKETS) -> Histogram:
            return Histogram(f"touchstone_{name}", about, labels, buckets=buckets, registry=self.registry)

        self._requests = counter("requests", "Requests by route and status", "route", "status")
        self._request_seconds = histogram("request_seconds", "Time of a request by route", "route")
        self._query_seconds = histogram("query_seconds", "Time of a query in the pipeline; a shadow's is not among them")
        self._stage_seconds = histogram("stage_seconds", "Time of a query's stage", "stage")
        self._first_token_seconds = histogram("first_token_seconds", "Time from asking a model to its first words, when streamed")
        self._tokens = counter("tokens", "Tokens read and written by models", "model", "direction")
        self._usd = counter("usd", "Money spent; simulated: that of a model a local one stands in for", "model", "stage", "simulated")
        self._unpriced = counter("unpriced_calls", "Model calls whose price or tokens are unknown", "model")
        self._escalated = counter("escalated", "Answers given up for one of a dearer tier, by the tier that wrote them", "tier")
        self._answers = counter("answers", "Queries answered, by tier", "tier")
        self._failed = counter("failed_queries", "Queries without an answer, by what went wrong", "error")
        self._outages = counter("model_outages", "Times a tier's model did not answer a query, by what went wrong", "tier", "error")
        self._degraded = counter("degraded", "Queries answered by passages alone, since no model answered")
        self._refused = counter("refused", "Queries answered by a refusal")
        self._cache_hits = counter("cache_hits", "Queries answered from the cache, or shared with an equal one", "kind")
        self._cache_misses = counter("cache_misses", "Queries looked up and not found, by why", "reason")
        self._guard = counter("guard_verdicts", "What checks decided", "side", "check", "action")
        self._answer_findings = counter("answer_findings", "Answers that a check of the output found fault with, by the finding", "finding")
        self._confidence = histogram("answer_confidence", "Probability that an answer is right, where a check tells it", buckets=DECILES)
        self._incidents = counter("guard_incidents", "What a rule of a check did other than allow", "side", "check", "rule", "action")
        self._rules: set[tuple[str, str]] = set()
        self._audit_failed = counter("audit_failures", "Entries and outcomes of the audit trail that could not be written", "part")
        self._feedback = counter("feedback", "What people said of answers", "kind", "value")
        self._traces_lost = gauge("traces_lost", "Traces that could not be kept")
        self._traces_waiting = gauge("traces_waiting", "Traces that are not in their store yet")
        self._traces_unjournaled = gauge("traces_unjournaled", "1 when traces wait in memory alone, since the journal cannot be written")
        self._traces_replayed = gauge("traces_replayed", "Traces that a killed process left in the journal, taken on to be stored")
        self._traces_dropped = gauge("traces_dropped", "Traces left in the journal that are torn, outdated or too many")
        self._scores_lost = gauge("scores_lost", "Scores that could not be sent")
        self._scores_waiting = gauge("scores_waiting", "Scores that are not sent yet")
        self._shadows_left_out = gauge("shadows_left_out", "Questions that a shadow release was not asked: too many at a time, or too dear")
        self._candidate_broken = gauge("candidate_broken", "1 when the channel has a candidate that cannot be tried")
        self._hits = histogram("hits", "Passages found for a query; a shadow's are not among them", buckets=HIT_BUCKETS)
        self._best_score = histogram("best_score", "Score of the best passage of a query, on its searcher's scale", buckets=SCORE_BUCKETS)
        self._duplicates = counter("duplicate_passages", "Passages left out because another one says the same")
        self._dropped = counter("dropped_passages", "Passages found that did not fit into the prompt")
        self._cited_share = histogram("cited_share", "Share of the passages in the prompt that the answer cites", buckets=(0.0, *DECILES))
        self._truncated = counter("truncated", "Answers that hit their model's output limit")
        self._speed = histogram("output_tokens_per_second", "Tokens that a model wrote a second of its stage", buckets=SPEED_BUCKETS)
        self._release_answers = counter("release_answers", "Queries answered, by release and its role", "release", "role")
        self._releases: set[str] = set()
        self._running = gauge("queries_in_flight", "Queries being worked on")
        self._waiting = gauge("queries_waiting", "Queries waiting for their turn")
        self._connections = gauge("connections", "Open connections")
        self._ended = counter("connections_ended", "Connections ended by the server, by the reason", "reason")
        self._abandoned = gauge("queries_abandoned", "Queries that nobody waits for, whose calls have not ended and hold their places")
        self._ready = gauge("ready", "1 when questions are answered")
        self._current = gauge("release_current", "1 when the release served is the one that the channel promotes")
        self._release = gauge("release_info", "The release being served", "digest", "index", "channel")
        self._candidate = gauge("candidate_info", "The release that is tried beside it", "digest", "mode", "channel")
        self._index_created = gauge("index_created_timestamp_seconds", "When the served release's index was built; 0: not known")
        self._keys_unreadable = gauge("keys_unreadable", "1 when the file of keys cannot be read, and nobody is let in")
        self._budget = gauge("budget_usd_per_day", "What all questions of a day may cost; 0: no budget")
        self._budget_spent = gauge("budget_spent_usd", "What all questions of today, in UTC, have cost, where there is a budget")
        self._role_answers = counter("role_answers", "Answers by the role of their release and what they are", "role", "outcome")
        self._role_seconds = histogram("role_query_seconds", "Time of a query in the pipeline, by the role of its release", "role")
        self._role_usd = counter("role_usd", "Money that answered queries cost, by the role of their release", "role")
        self._shadow_pairs = counter(
            "shadow_pairs", "Answers of a shadow beside those shown: they agree, they disagree, or it failed to give one", "verdict"
        )
        self._begin_at_zero()

    def _begin_at_zero(self) -> None:
        """Show what an alert counts before it first happens: a rate does not see a series that begins at 1."""
        for part in ("entry", "outcome"):
            self._audit_failed.labels(part)
        for verdict in ("agreed", "disagreed", "failed"):
            self._shadow_pairs.labels(verdict)
        for value in ("1", "-1"):
            self._feedback.labels("thumbs", value)
        for kind in (*HIT_KINDS, "other"):
            self._cache_hits.labels(kind)
        for reason in (*MISS_REASONS, "other"):
            self._cache_misses.labels(reason)
        for finding in (*sorted(FINDINGS), "toxic", "other"):
            self._answer_findings.labels(finding)
        for role in sorted(ROLES):
            for outcome in OUTCOMES:
                self._role_answers.labels(role, outcome)

    def watch(self, concurrency: ConcurrencyLimit) -> None:
        """Read the numbers of the concurrency limit at every scrape."""
        self._running.set_function(lambda: concurrency.running)
        self._waiting.set_function(lambda: concurrency.waiting)
        self._abandoned.set_function(lambda: concurrency.abandoned)

    def watch_cache(self, cache: Callable[[], object]) -> None:
        """Read the cache of the served release at every scrape."""
        self.registry.register(CacheCollector(cache))

    def watch_keys(self, unreadable: Callable[[], bool]) -> None:
        """Look at the file of keys at every scrape."""
        self._keys_unreadable.set_function(unreadable)

    def budget(self, usd_per_day: float | None) -> None:
        """Set what all questions of a day may cost."""
        self._budget.set(usd_per_day or 0)

    def budget_spent(self, usd: float) -> None:
        """Set what all questions of today have cost."""
        self._budget_spent.set(usd)

    def shadow_compared(self, agree: bool | None) -> None:
        """Count a shadow's answer that was compared with the one shown; `None`: it failed to give one."""
        self._shadow_pairs.labels("failed" if agree is None else "agreed" if agree else "disagreed").inc()

    def watch_documents(self, state: Callable[[], CorpusState]) -> None:
        """Read what is served beside the proven corpus at every scrape."""
        self.registry.register(DocumentCollector(state))

    def watch_traces(self, lost: Callable[[], float], waiting: Callable[[], float], left_out: Callable[[], float]) -> None:
        """Read the numbers of what happens beside the answers at every scrape."""
        self._traces_lost.set_function(lost)
        self._traces_waiting.set_function(waiting)
        self._shadows_left_out.set_function(left_out)

    def watch_journal(self, unjournaled: Callable[[], bool], replayed: Callable[[], float], dropped: Callable[[], float]) -> None:
        """Read the numbers of the journal of traces at every scrape."""
        self._traces_unjournaled.set_function(unjournaled)
        self._traces_replayed.set_function(replayed)
        self._traces_dropped.set_function(dropped)

    def watch_scores(self, lost: Callable[[], float], waiting: Callable[[], float]) -> None:
        """Read the numbers of what is sent to a receiver of scores at every scrape."""
        self._scores_lost.set_function(lost)
        self._scores_waiting.set_function(waiting)

    def audit_failed(self, part: str) -> None:
        """Count what could not be written into the audit trail."""
        self._audit_failed.labels(part).inc()

    def feedback(self, kind: FeedbackKind, value: float | None) -> None:
        """Count one piece of feedback."""
        self._feedback.labels(kind, f"{value:g}" if value is not None and kind in ("thumbs", "rating") else "").inc()

    def watch_connections(self, gate: ConnectionGate) -> None:
        """Read the number of connections at every scrape."""
        self._connections.set_function(lambda: gate.count)

    def connection_ended(self, reason: str) -> None:
        """Count a connection that the server ended."""
        self._ended.labels(reason).inc()

    def state(self, state: Readiness) -> None:
        """Set the gauges of the release that is served."""
        self._ready.set(state.ready)
        self._current.set(state.current)
        self._candidate_broken.set(state.candidate_broken)
        self._release.clear()
        if state.ready:
            self._release.labels(state.loaded, state.index, state.channel).set(1)
        self._candidate.clear()
        if state.candidate:
            self._candidate.labels(state.candidate, state.candidate_mode, state.channel).set(1)
        self._index_created.set(state.index_created_s)

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(route, str(status)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        """Count a stage of a query."""
        self._stage_seconds.labels(record.stage).observe(record.milliseconds / 1000)

    def failed(self, query: Query, error: BaseException) -> None:
        """Count a query without an answer."""
        self._failed.labels(type(error).__name__).inc()

    def spent(self, query: Query, usage: Usage) -> None:
        """Count what calls cost, of an answered query or of another."""
        self._tokens.labels(usage.model, "input").inc(usage.input_tokens)
        self._tokens.labels(usage.model, "output").inc(usage.output_tokens)
        self._usd.labels(usage.model, usage.stage, _bool_label(usage.simulated)).inc(usage.usd)
        if not usage.priced:
            self._unpriced.labels(usage.model).inc(usage.calls)

    def answered(self, trace: Trace) -> None:
        """Count a query by its trace; a shadow's is no query of anybody's, and counts by its role alone."""
        role = trace.role if trace.role in ROLES else "other"
        shown = role != "shadow"
        if shown:
            self._query_seconds.observe(trace.milliseconds / 1000)
        if trace.first_token_ms is not None:
            self._first_token_seconds.observe(trace.first_token_ms / 1000)
        for usage in trace.usage:
            self.spent(trace.query, usage)
        for attempt in trace.attempts:
            self._escalated.labels(attempt.route.tier).inc()
        for verdict in trace.guard:
            self._guard.labels(verdict.side, verdict.check, verdict.action.value).inc()
            for rule in _rules(verdict):
                self._incidents.labels(verdict.side, verdict.check, self._bounded(verdict.check, rule), verdict.action.value).inc()
        for finding in {_finding(verdict) for verdict in trace.guard if verdict.side == "output" and verdict.rule}:
            self._answer_findings.labels(finding).inc()
        if trace.answer.confidence is not None:
            self._confidence.observe(trace.answer.confidence)
        for outage in trace.outages:
            self._outages.labels(outage.tier, outage.error).inc()
        self._degraded.inc(trace.answer.degraded)
        searched = trace.route is not None and not trace.cached  # neither for a blocked question nor for a cached answer
        self._answers.labels(trace.route.tier if trace.route and searched and not trace.answer.degraded else "none").inc()
        self._refused.inc(trace.answer.refused)
        self._role_answers.labels(role, _outcome(trace)).inc()
        self._role_seconds.labels(role).observe(trace.milliseconds / 1000)
        self._release_answers.labels(self._bounded_release(trace.release_digest), role).inc()
        self._role_usd.labels(role).inc(trace.usd)
        if trace.cache is not None:
            record = trace.cache
            if record.hit:
                self._cache_hits.labels(record.kind if record.kind in HIT_KINDS else "other").inc()
            else:
                word = record.reason.partition(":")[0]
                self._cache_misses.labels(word if word in MISS_REASONS else "other").inc()
        if searched and shown:
            self._hits.observe(len(trace.hits))
            self._count_retrieval(trace)

    def _count_retrieval(self, trace: Trace) -> None:
        """Count what was found for a query, and what of it was used."""
        if trace.hits:
            self._best_score.observe(trace.hits[0].score)
        details = {record.stage: record.detail for record in trace.stages}
        self._duplicates.inc(details.get("retrieve", {}).get("duplicates", 0))
        self._dropped.inc(trace.dropped_passages)
        self._truncated.inc(trace.answer.truncated)
        if trace.passages and not trace.answer.refused:
            cited = {citation.marker for citation in trace.answer.citations}
            self._cited_share.observe(len(cited) / len(trace.passages))
        written = sum(usage.output_tokens for usage in trace.usage if usage.stage == "answer")
        milliseconds = sum(record.milliseconds for record in trace.stages if record.stage == "answer")
        if written and milliseconds:
            self._speed.observe(written * 1000 / milliseconds)

    def _bounded_release(self, digest: str) -> str:
        """A release as a label; beyond so many of them "other"."""
        if digest not in self._releases:
            if len(self._releases) >= MOST_RELEASES:
                return "other"
            self._releases.add(digest)
        return digest

    def _bounded(self, check: str, rule: str) -> str:
        """A rule as a label; beyond so many of them "other", since a part from outside may name rules as it likes."""
        if (check, rule) not in self._rules:
            if len(self._rules) >= MOST_RULES:
                return "other"
            self._rules.add((check, rule))
        return rule


def _rules(verdict: GuardVerdict) -> list[str]:
    """The rules that fired, none for what was allowed."""
    if verdict.action is GuardAction.ALLOW:
        return []
    return [rule.strip()[:LONGEST_RULE] for rule in verdict.rule.split(",") if rule.strip()] or ["unnamed"]


def _outcome(trace: Trace) -> str:
    """What an answer is, in one word; a refusal comes before a finding."""
    if trace.answer.refused:
        return "refused"
    return "ungrounded" if any(one.side == "output" and one.rule == "ungrounded" for one in trace.guard) else "answered"


def _finding(verdict: GuardVerdict) -> str:
    """The rule that fired; "other" for those of plug-ins, whose names nothing bounds."""
    return "toxic" if verdict.rule in TOXIC else verdict.rule if verdict.rule in FINDINGS else "other"


def _bool_label(value: Any) -> str:
    return "true" if value else "false"
