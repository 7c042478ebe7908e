"""What `/metrics` has, by name with its labels, and what PromQL asks for."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from prometheus_client.metrics_core import Metric

from serving.app.core.metrics import Metrics
from serving.app.release.added import CorpusState
from serving.pipeline.cache.answers import CacheState

SCRAPED: Final = frozenset({"environment", "instance", "job", "pod"})  # labels that the scrape adds
FROM_PROMETHEUS: Final = {"up": frozenset[str](), "ALERTS": frozenset({"alertname", "alertstate", "severity", "part"})}
# What kube-state-metrics 2.19 is asked for (infra/kubernetes/monitoring), with its labels; the scrape makes `environment` of `namespace`.
# All of these are stable in its documentation.
FROM_KUBERNETES: Final = {
    "kube_cronjob_created": frozenset({"namespace", "cronjob"}),
    "kube_cronjob_spec_suspend": frozenset({"namespace", "cronjob"}),
    "kube_cronjob_status_active": frozenset({"namespace", "cronjob"}),
    "kube_cronjob_status_last_successful_time": frozenset({"namespace", "cronjob"}),
    "kube_deployment_spec_replicas": frozenset({"namespace", "deployment"}),
    "kube_deployment_status_replicas_available": frozenset({"namespace", "deployment"}),
    "kube_job_failed": frozenset({"namespace", "job_name", "condition"}),
    "kube_job_owner": frozenset({"namespace", "job_name", "owner_kind", "owner_name", "owner_is_controller"}),
    "kube_job_status_start_time": frozenset({"namespace", "job_name"}),
    "kube_pod_container_status_restarts_total": frozenset({"namespace", "pod", "uid", "container"}),
    "kube_pod_status_phase": frozenset({"namespace", "pod", "uid", "phase"}),
    "kube_pod_status_ready": frozenset({"namespace", "pod", "uid", "condition"}),
}
SUFFIXES: Final = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "info": ("_info",)}


@dataclass(frozen=True)
class Family:
    """A metric of the app, as its text says it."""

    name: str
    kind: str
    about: str
    labels: tuple[str, ...]

    def series(self) -> dict[str, frozenset[str]]:
        """The names that it is asked for by, each with its labels."""
        names = [f"{self.name}{suffix}" for suffix in SUFFIXES.get(self.kind, ("",))]
        return {name: frozenset(self.labels) | ({"le"} if name.endswith("_bucket") else set()) for name in names}


class _Cache:
    def state(self) -> CacheState:
        return CacheState("full", 0, 0, 0, 0, 0)


def families() -> list[Family]:
    """Every metric of the app, in its own order; read from the registry that the server shows."""
    metrics = Metrics()
    metrics.watch_cache(_Cache)
    metrics.watch_documents(lambda: CorpusState("", 0, 0, 0.0, {"ready": 0}))
    return list(_families(metrics))


def _families(metrics: Metrics) -> Iterator[Family]:
    for collector in list(metrics.registry._collector_to_names):  # no public list, and labels without a value are not collected
        labels = tuple(getattr(collector, "_labelnames", ()))
        for family in collector.collect():
            told = labels or tuple(getattr(family, "_labelnames", ())) or _sampled(family)
            yield Family(family.name, family.type, family.documentation, told)


def _sampled(family: Metric) -> tuple[str, ...]:
    return tuple(sorted({name for sample in family.samples for name in sample.labels} - {"le"}))


def app_series() -> dict[str, frozenset[str]]:
    """Every series name of the app with its labels."""
    return {name: labels for family in families() for name, labels in family.series().items()}


NOT_NAMES: Final = frozenset({"and", "or", "unless", "offset", "bool", "inf", "nan"})
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'')
_MADE: Final = re.compile(r'"(\w+)"\s*,\s*"[^"]*"\s*,\s*"\w+"\s*,\s*"[^"]*"\s*\)')  # the end of a label_replace
_GROUPING: Final = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_SELECTOR: Final = re.compile(r"([a-zA-Z_:][\w:]*)?\s*\{([^}]*)\}")
_NAME: Final = re.compile(r"(?<![\w:.\[$])([a-zA-Z_:][\w:]*)(?!\s*\()(?![\w:])")


@dataclass(frozen=True)
class Asked:
    """What a PromQL expression asks for."""

    names: frozenset[str]
    matched: frozenset[tuple[str, str]]  # a series and a label that it is chosen by
    grouped: frozenset[str]  # labels that it is grouped by
    made: frozenset[str] = frozenset()  # labels that it makes of others


def asked(expression: str) -> Asked:
    """The series and labels that an expression names; it has to be one that Prometheus parses."""
    plain = _STRING.sub("''", expression)
    matched = {
        (selector[1] or "", label) for selector in _SELECTOR.finditer(plain) for label in re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector[2])
    }
    grouped = {label.strip() for group in _GROUPING.findall(plain) for label in group.split(",") if label.strip()}
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", _GROUPING.sub(" ", plain))
    bare = re.sub(r"\b(?:by|without|on|ignoring|group_left|group_right)\b", " ", bare)
    bare = re.sub(r"\boffset\s+\w+", " ", bare)
    names = {name for name in _NAME.findall(bare) if name.lower() not in NOT_NAMES}
    return Asked(frozenset(names), frozenset(matched), frozenset(grouped), frozenset(_MADE.findall(expression)))
