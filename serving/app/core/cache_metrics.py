"""Metrics of the answer cache, for Prometheus."""

from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.pipeline.cache.answers import CacheState, ReportsState

REACHES: Final = ("full", "raised", "exact", "off")


class CacheCollector(Collector):
    """Reads the cache of the served release at each scrape; counters restart with a new release."""

    def __init__(self, cache: Callable[[], object]) -> None:
        self._cache = cache

    def collect(self) -> Iterator[Metric]:
        """The metrics of a cache that has any."""
        cache = self._cache()
        state = cache.state() if isinstance(cache, ReportsState) else None
        if not isinstance(state, CacheState):  # of a cache from elsewhere, `state` may be something else
            return
        audits = CounterMetricFamily("touchstone_cache_audits", "Cached answers compared with fresh ones, by outcome", labels=["outcome"])
        for outcome in ("agreed", "disagreed", "unjudged"):
            audits.add_metric([outcome], getattr(state, outcome))
        yield audits
        reach = GaugeMetricFamily("touchstone_cache_reach", "1 for how far the cache reaches; disagreements lower it", labels=["reach"])
        for word in REACHES:
            reach.add_metric([word], word == state.reach)
        yield reach
        yield CounterMetricFamily("touchstone_cache_backend_errors", "Failed round trips to Redis", value=state.errors)
        yield CounterMetricFamily("touchstone_cache_broken_entries", "Entries on Redis whose seal did not hold", value=state.broken)

    def describe(self) -> Iterator[Metric]:
        """Nothing: there is no cache yet when it is registered."""
        return iter(())
