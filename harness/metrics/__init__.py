"""What a trace is scored by: the table of metrics, and `metric("recall@5")`."""

import inspect

from typing_extensions import TypeIs

from harness.metrics.base import JudgedMetric, Metric
from harness.metrics.tools import Tools
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import Registry, Spec, near

METRICS = Registry[Metric | JudgedMetric](
    "metric",
    {
        "recall": "harness.metrics.ranking:Recall",
        "precision": "harness.metrics.ranking:Precision",
        "mrr": "harness.metrics.ranking:ReciprocalRank",
        "ndcg": "harness.metrics.ranking:Ndcg",
        "coverage": "harness.metrics.ranking:Coverage",
        "doc_recall": "harness.metrics.ranking:DocumentRecall",
        "doc_mrr": "harness.metrics.ranking:DocumentReciprocalRank",
        "doc_ndcg": "harness.metrics.ranking:DocumentNdcg",
        "token_f1": "harness.metrics.token_f1:TokenF1",
        "key_facts": "harness.metrics.key_facts:KeyFacts",
        "citation_precision": "harness.metrics.citations:CitationPrecision",
        "refusal": "harness.metrics.refusal:Refusal",
        "quality": "harness.metrics.quality:Quality",
    },
)

DEFAULT = (
    "recall@5",
    "precision@5",
    "mrr@10",
    "ndcg@10",
    "coverage@5",
    "doc_recall@5",
    "doc_ndcg@10",
    "token_f1",
    "key_facts",
    "citation_precision",
    "refusal",
    "quality",
)


def metric(name: str, tools: Tools | None = None) -> Metric | JudgedMetric:
    """A metric by name, with its cutoff where it takes one ("recall@5"); one that names `tools` in its constructor is given them."""
    base, at, cutoff = name.partition("@")
    if base not in METRICS.names():
        raise ConfigError(f"No metric {name!r}.{near(base, METRICS.names())} Known: {', '.join(METRICS.names())}.")
    kind = METRICS.load(base)
    takes_cutoff = "k" in kind.Params.model_fields
    if at and not (takes_cutoff and cutoff.isdigit()):
        example = f"{base}@5" if takes_cutoff else base
        raise ConfigError(f"Metric {name!r} is not understood; write {example!r}.")
    parts: dict[str, Tools] = {}
    if "tools" in inspect.signature(kind).parameters:
        if tools is None:
            raise ConfigError(f"Metric {name!r} needs an embedding model or a judge, and none was given.")
        parts["tools"] = tools
    return METRICS.build(Spec.model_validate({"name": base, **({"k": int(cutoff)} if at else {})}), **parts)


def judged(scorer: Metric | JudgedMetric) -> TypeIs[JudgedMetric]:
    """Whether a metric asks a judge."""
    return scorer.needs_judge
