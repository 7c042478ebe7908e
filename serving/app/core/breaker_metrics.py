"""The circuit breakers of hosted models, as metrics for Prometheus."""

from collections.abc import Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.pipeline.breaker import BREAKER_STATES
from serving.pipeline.models.breakers import breaker_states


class BreakerCollector(Collector):
    """Reads the circuit breakers of this process's models at each scrape."""

    def collect(self) -> Iterator[Metric]:
        """One gauge for each model and state; 1 for the state that it is in."""
        states = GaugeMetricFamily(
            "touchstone_model_breaker", "1 for the state of a hosted model: open while it is left alone", labels=["model", "state"]
        )
        for model, now in breaker_states().items():
            for state in BREAKER_STATES:
                states.add_metric([model, state], now == state)
        yield states

    def describe(self) -> Iterator[Metric]:
        """Nothing: no model is connected yet when it is registered."""
        return iter(())
