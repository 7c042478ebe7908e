"""Reads this process's own metrics back, as Prometheus would."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from prometheus_client import CollectorRegistry

from serving.app.admin.wire import BudgetOut, CountOut, PercentilesOut, ReplicaOut, RouteTrafficOut, SpendingOut, StageTimeOut
from serving.app.core.budget import EVERYBODY, Account
from serving.app.core.service import Service
from serving.app.release.wire import ReadyOut
from serving.keys import Caller
from serving.pipeline.errors import InfrastructureError

OWN_ROUTES = ("/livez", "/readyz", "/metrics")  # polled by machines: their numbers say nothing of people


@dataclass(frozen=True, slots=True)
class Reading:
    """One number with its labels."""

    labels: Mapping[str, str]
    value: float


class Readings:
    """Every sample of a registry, by name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._found: dict[str, list[Reading]] = {}
        for metric in registry.collect():
            for sample in metric.samples:
                self._found.setdefault(sample.name, []).append(Reading(sample.labels, sample.value))

    def of(self, name: str) -> list[Reading]:
        """The samples of a name, with or without the project's prefix."""
        return self._found.get(f"touchstone_{name}") or self._found.get(name, [])

    def number(self, name: str) -> int:
        """The sum of a name's samples; 0 of none."""
        return int(sum(reading.value for reading in self.of(name)))

    def counts(self, name: str, label: str) -> tuple[CountOut, ...]:
        """A counter by one of its labels, the largest first."""
        found: dict[str, float] = {}
        for reading in self.of(name):
            found[reading.labels.get(label, "")] = found.get(reading.labels.get(label, ""), 0.0) + reading.value
        ordered = sorted(found.items(), key=lambda item: (-item[1], item[0]))
        return tuple(CountOut(name=name, count=int(count)) for name, count in ordered if count)

    def times(self, name: str, label: str) -> dict[str, PercentilesOut]:
        """A histogram of seconds by one of its labels."""
        buckets: dict[str, list[tuple[float, float]]] = {}
        for reading in self.of(f"{name}_bucket"):
            buckets.setdefault(reading.labels.get(label, ""), []).append((float(reading.labels["le"]), reading.value))
        return {key: times for key, found in buckets.items() if (times := estimated(found))}


def estimated(buckets: Iterable[tuple[float, float]]) -> PercentilesOut | None:
    """Percentiles of a histogram's cumulative buckets (upper end in seconds, count), evenly spread within each; None of an empty one."""
    ordered = sorted(buckets)
    count = ordered[-1][1] if ordered else 0.0
    if not count:
        return None

    def at(share: float) -> float:
        wanted, low, below = share * count, 0.0, 0.0
        for high, cumulative in ordered:
            if cumulative >= wanted:
                if math.isinf(high):
                    return low * 1000  # beyond the last end nothing is known
                within = (wanted - below) / (cumulative - below) if cumulative > below else 0.0
                return round((low + (high - low) * within) * 1000, 3)
            low, below = high, cumulative
        return low * 1000

    return PercentilesOut(count=int(count), p50_ms=at(0.5), p95_ms=at(0.95), p99_ms=at(0.99))


async def replica(service: Service, caller: Caller, version: str) -> ReplicaOut:
    """The numbers of this process since it began, and the budgets that the caller may know of."""
    readings = Readings(service.metrics.registry)
    started = readings.of("process_start_time_seconds")
    memory = readings.of("process_resident_memory_bytes")
    return ReplicaOut(
        started_at=datetime.fromtimestamp(started[0].value, UTC).isoformat(timespec="seconds") if started else "",
        version=version,
        memory_bytes=int(memory[0].value) if memory else None,
        running=service.concurrency.running,
        waiting=service.concurrency.waiting,
        connections=readings.number("connections"),
        routes=_routes(readings),
        failed=readings.counts("failed_queries_total", "error"),
        stages=tuple(StageTimeOut(stage=name, times=times) for name, times in readings.times("stage_seconds", "stage").items()),
        spending=_spending(readings),
        cache_hits=readings.counts("cache_hits_total", "kind"),
        cache_misses=readings.counts("cache_misses_total", "reason"),
        traces_waiting=readings.number("traces_waiting"),
        traces_lost=readings.number("traces_lost"),
        shadows_left_out=readings.number("shadows_left_out"),
        budgets=await _budgets(service, caller),
        ready=ReadyOut.of(await service.release_manager.probed_readiness(), whole=True),
    )


def _routes(readings: Readings) -> tuple[RouteTrafficOut, ...]:
    times = readings.times("request_seconds", "route")
    statuses: dict[str, dict[int, float]] = {}
    for reading in readings.of("requests_total"):
        if reading.labels["route"] not in OWN_ROUTES:
            statuses.setdefault(reading.labels["route"], {})[int(reading.labels["status"])] = reading.value
    made = [
        RouteTrafficOut(
            route=route,
            requests=int(sum(of.values())),
            errors=int(sum(count for status, count in of.items() if status >= 500)),
            refused=int(sum(count for status, count in of.items() if 400 <= status < 500)),
            times=times.get(route),
        )
        for route, of in statuses.items()
    ]
    return tuple(sorted(made, key=lambda one: (-one.requests, one.route)))


def _spending(readings: Readings) -> tuple[SpendingOut, ...]:
    found: dict[tuple[str, bool], float] = {}
    for reading in readings.of("usd_total"):
        key = reading.labels["model"], reading.labels["simulated"] == "true"
        found[key] = found.get(key, 0.0) + reading.value
    ordered = sorted(found.items(), key=lambda item: -item[1])
    return tuple(SpendingOut(model=model, usd=usd, simulated=simulated) for (model, simulated), usd in ordered)


async def _budgets(service: Service, caller: Caller) -> tuple[BudgetOut, ...]:
    """The server's own budget, and those of the keys of the caller's tenant."""
    callers = service.keys.callers() if service.keys is not None else ()
    accounts = {account for one in callers if one.tenant == caller.tenant for account in service.budgets.accounts(one)}
    accounts |= set(service.budgets.accounts(caller))
    ordered = sorted(accounts, key=lambda account: (account.name != EVERYBODY, account.name))
    return tuple([BudgetOut(account=one.name, limit_usd=one.limit_usd, spent_usd=await _spent(service, one)) for one in ordered])


async def _spent(service: Service, account: Account) -> float | None:
    try:
        return await service.budgets.spent(account.name)
    except InfrastructureError:
        return None
