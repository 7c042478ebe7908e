"""What is served beside the proven corpus, as numbers for Prometheus."""

from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from serving.app.release.added import CorpusState


class DocumentCollector(Collector):
    """Reads the state of added documents once at each scrape."""

    def __init__(self, state: Callable[[], CorpusState]) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """The numbers."""
        state = self._state()
        documents = GaugeMetricFamily("touchstone_documents", "Added documents by state", labels=["state"])
        for word, count in state.states.items():
            documents.add_metric([word], count)
        yield documents
        removed = "Documents of the proven corpus that were removed since"
        yield GaugeMetricFamily("touchstone_documents_removed", removed, value=state.removed)
        behind = "Age of the oldest change to documents that is not served yet"
        yield GaugeMetricFamily("touchstone_documents_behind_seconds", behind, value=state.behind_s)

    def describe(self) -> Iterator[Metric]:
        """Nothing: nothing was read yet when it is registered."""
        return iter(())
