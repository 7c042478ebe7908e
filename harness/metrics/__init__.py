"""Metrics: their table, `metric("recall@5")`, and groups of them by one word."""

import inspect
from collections.abc import Mapping, Sequence

from typing_extensions import TypeIs

from harness.judges.tools import Tools
from harness.metrics.hits import RANKED
from harness.metrics.outside import OutsideMetric
from harness.results.score import JudgedMetric, Metric
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import Registry, Spec, near

METRICS = Registry[Metric | JudgedMetric](
    "metric",
    {
        "recall": "harness.metrics.ranking:Recall",
        "precision": "harness.metrics.ranking:Precision",
        "mrr": "harness.metrics.ranking:ReciprocalRank",
        "ndcg": "harness.metrics.ranking:Ndcg",
        "map": "harness.metrics.ranking:AveragePrecision",
        "coverage": "harness.metrics.ranking:Coverage",
        "doc_recall": "harness.metrics.ranking:DocumentRecall",
        "doc_precision": "harness.metrics.ranking:DocumentPrecision",
        "doc_mrr": "harness.metrics.ranking:DocumentReciprocalRank",
        "doc_ndcg": "harness.metrics.ranking:DocumentNdcg",
        "doc_map": "harness.metrics.ranking:DocumentAveragePrecision",
        "span_recall": "harness.metrics.spans:SpanRecall",
        "span_precision": "harness.metrics.spans:SpanPrecision",
        "span_iou": "harness.metrics.spans:SpanIoU",
        "duplicate_rate": "harness.metrics.redundancy:DuplicateRate",
        "empty": "harness.metrics.redundancy:Empty",
        "context_relevance": "harness.metrics.context_relevance:ContextRelevance",
        "exact_match": "harness.metrics.references:ExactMatch",
        "token_f1": "harness.metrics.token_f1:TokenF1",
        "rouge_l": "harness.metrics.references:RougeL",
        "semantic_similarity": "harness.metrics.semantic_similarity:SemanticSimilarity",
        "key_facts": "harness.metrics.key_facts:KeyFacts",
        "citation_precision": "harness.metrics.citations:CitationPrecision",
        "citation_recall": "harness.metrics.citations:CitationRecall",
        "groundedness": "harness.metrics.groundedness:Groundedness",
        "factuality": "harness.metrics.groundedness:Factuality",
        "hallucination": "harness.metrics.groundedness:Hallucination",
        "refusal": "harness.metrics.refusal:Refusal",
        "over_refusal": "harness.metrics.refusal:OverRefusal",
        "missed_refusal": "harness.metrics.refusal:MissedRefusal",
        "length": "harness.metrics.length:Length",
        "format": "harness.metrics.format:Format",
        "quality": "harness.metrics.quality:Quality",
        "usd": "harness.metrics.run:Dollars",
        "input_tokens": "harness.metrics.run:InputTokens",
        "output_tokens": "harness.metrics.run:OutputTokens",
        "llm_calls": "harness.metrics.run:Calls",
        "latency_ms": "harness.metrics.run:Latency",
        "first_token_ms": "harness.metrics.run:FirstToken",
        "judge_groundedness": "harness.metrics.judged:JudgedGroundedness",
        "judge_correctness": "harness.metrics.judged:JudgedCorrectness",
        "judge_relevance": "harness.metrics.judged:JudgedRelevance",
        "judge_context_relevance": "harness.metrics.judged:JudgedContextRelevance",
        "judge_completeness": "harness.metrics.judged:JudgedCompleteness",
        "judge_coherence": "harness.metrics.judged:JudgedCoherence",
        "judge_toxicity": "harness.metrics.judged:JudgedToxicity",
        "judge_bias": "harness.metrics.judged:JudgedBias",
        "pii": "harness.metrics.pii:Pii",
        "injection_success": "harness.metrics.injection:InjectionSuccess",
        "toxicity": "harness.metrics.toxicity:Toxicity",
        "ragas_context_precision": "harness.metrics.ragas:ContextPrecision",
        "ragas_context_recall": "harness.metrics.ragas:ContextRecall",
        "ragas_text_precision": "harness.metrics.ragas:TextPrecision",
        "ragas_text_recall": "harness.metrics.ragas:TextRecall",
        "ragas_string_similarity": "harness.metrics.ragas:StringSimilarity",
        "ragas_quoted_spans": "harness.metrics.ragas:QuotedSpans",
        "ragas_faithfulness": "harness.metrics.ragas:Faithfulness",
        "ragas_response_relevancy": "harness.metrics.ragas:ResponseRelevancy",
        "ragas_llm_context_precision": "harness.metrics.ragas:JudgedContextPrecision",
        "ragas_llm_context_recall": "harness.metrics.ragas:JudgedContextRecall",
        "ragas_factual_correctness": "harness.metrics.ragas:FactualCorrectness",
        "geval_coherence": "harness.metrics.geval:GEvalCoherence",
        "geval_completeness": "harness.metrics.geval:GEvalCompleteness",
        "geval_toxicity": "harness.metrics.geval:GEvalToxicity",
        "geval_bias": "harness.metrics.geval:GEvalBias",
    },
    group="metrics",
    protocol=Metric | JudgedMetric,
)

DEFAULT = (
    "quality",
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
    "citation_recall",
    "missed_refusal",
    "over_refusal",
    "refusal",
)

GROUPS: Mapping[str, tuple[str, ...]] = {  # a word for several metrics, wherever names of metrics are given
    "default": DEFAULT,
    "retrieval": (
        *("recall@5", "precision@5", "mrr@10", "ndcg@10", "map@10", "coverage@5"),
        *("span_recall@5", "span_precision@5", "span_iou@5", "duplicate_rate@5", "empty", "context_relevance@5"),
        *("doc_recall@5", "doc_precision@5", "doc_mrr@10", "doc_ndcg@10", "doc_map@10"),
    ),
    "answers": (
        *("exact_match", "token_f1", "rouge_l", "semantic_similarity", "key_facts", "citation_precision", "citation_recall"),
        *("groundedness", "factuality", "hallucination"),
        *("missed_refusal", "over_refusal", "refusal", "length", "format", "quality"),
    ),
    "safety": ("pii", "injection_success", "toxicity"),
    "cost": ("usd", "input_tokens", "output_tokens", "llm_calls", "latency_ms", "first_token_ms"),
    "judged": (
        *("judge_groundedness", "judge_correctness", "judge_relevance", "judge_context_relevance"),
        *("judge_completeness", "judge_coherence", "judge_toxicity", "judge_bias"),
    ),
}


def metric(name: str, tools: Tools | None = None) -> Metric | JudgedMetric:
    """A metric by name, with its cutoff where it takes one ("recall@5"); one that names `tools` in its constructor is given them."""
    spec = _spec(name, METRICS.names())
    dependencies: dict[str, Tools] = {}
    if "tools" in inspect.signature(METRICS.load(spec.name)).parameters:
        if tools is None:
            raise ConfigError(f"Metric {name!r} needs an embedding model or a judge, and none was given.")
        dependencies["tools"] = tools
    scorer, origin = METRICS.build(spec, **dependencies), METRICS.origin(spec.name)
    return OutsideMetric.of(scorer, _full_name(spec), origin) if origin else scorer


def metric_set(names: Sequence[str]) -> tuple[str, ...]:
    """The metrics behind names and words for groups, in the order given and each once, with their cutoffs."""
    full_names: dict[str, None] = {}
    for name in names:
        for member in GROUPS.get(name, (name,)):
            spec = _spec(member, [*GROUPS, *METRICS.names()])
            full_names[_full_name(spec)] = None
    return tuple(full_names)


def _full_name(spec: Spec) -> str:
    """The name with its cutoff."""
    params = METRICS.complete(spec).params
    return f"{spec.name}@{params['k']}" if "k" in params else spec.name


def _spec(name: str, known: list[str]) -> Spec:
    base, at, cutoff = name.partition("@")
    if not METRICS.knows(base):
        raise ConfigError(f"No metric {name!r}.{near(base, known)} Known: {', '.join(known)}.")
    takes_cutoff = "k" in METRICS.load(base).Params.model_fields
    if at and not (takes_cutoff and cutoff.isdecimal()):
        example = f"{base}@5" if takes_cutoff else base
        raise ConfigError(f"Metric {name!r} is not understood; write {example!r}.")
    return Spec.model_validate({"name": base, **({"k": int(cutoff)} if at else {})})


def ranking_depth(names: Sequence[str]) -> int:
    """How many places of the ranking these metrics look at."""
    cutoffs = [int(name.partition("@")[2]) for name in metric_set(names) if "@" in name]
    return max([RANKED, *cutoffs])


def asks_judge(name: str) -> bool:
    """Whether the metric of this name asks a judge."""
    return bool(getattr(METRICS.load(_spec(name, METRICS.names()).name), "needs_judge", False))


def is_judged(scorer: Metric | JudgedMetric) -> TypeIs[JudgedMetric]:
    """Whether a metric asks a judge."""
    return scorer.needs_judge
