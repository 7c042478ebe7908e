"""What the harness says of a small model that writes, beside the readers that quote.

    python bench/models.py [--cases 40] [--streamed 10] [--models local:reader-lite local:smollm2 …]

The default configuration with a short context, tune cases of techcorp/v1. Scores come from an ordinary evaluation; the time to the
first word and the tokens a second from questions that are streamed one at a time afterwards. Writes reports/bench/models.{json,md}.
"""

import argparse
import asyncio
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path

import _bench

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.golden.load import load_golden
from harness.golden.sets import Split
from harness.judges.tools import Tools
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.types import Query

MODELS = ("local:reader-lite", "local:reader-pro", "local:smollm2")
METRICS = ("quality", "key_facts", "groundedness", "hallucination", "missed_refusal", "over_refusal", "citation_precision")
SHORT = {"retrieve.top_k": 4, "answer.context_tokens": 800, "answer.max_tokens": 120, "route.router.name": "always"}


@dataclass(frozen=True, slots=True)
class Measured:
    """One model's scores and pace."""

    scores: dict[str, float | None]
    scored: dict[str, int]
    first_token_ms: float | None
    tokens_a_second: float | None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=40)
    parser.add_argument("--streamed", type=int, default=10)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--out", type=Path, default=_bench.REPORTS)
    asked = parser.parse_args()
    measured = {name: asyncio.run(measure(name, asked.cases, asked.streamed)) for name in asked.models}
    facts = _bench.machine("onnxruntime", "xllamacpp")
    rows = [[metric, *(f"{_shown(one.scores[metric])} ({one.scored[metric]})" for one in measured.values())] for metric in METRICS]
    rows.append(["first word, ms (median)", *(_shown(one.first_token_ms, "{:.0f}") for one in measured.values())])
    rows.append(["tokens a second", *(_shown(one.tokens_a_second, "{:.0f}") for one in measured.values())])
    lines = [
        "# A model that writes, and readers that quote",
        "",
        f"Machine: {_bench.machine_line(facts)}. {asked.cases} tune cases of techcorp/v1, top 4 passages, 800 tokens of",
        "context; in brackets the cases a metric scored. `missed_refusal`: unanswerable questions that were answered;",
        f"`over_refusal`: answerable ones that were not. The pace is of {asked.streamed} questions streamed one at a time, tokens as each",
        "model counts them. SmolLM2 has 135 million parameters: it is here to be caught, not to be used. Made by `python bench/models.py`.",
        "",
        _bench.table(["", *measured], rows),
    ]
    _bench.write_report(
        "models", {"machine": facts, "models": {name: asdict(one) for name, one in measured.items()}}, "\n".join(lines), asked.out
    )
    print("\n".join(lines))


async def measure(name: str, cases: int, streamed: int) -> Measured:
    settings = HarnessSettings()
    golden = load_golden(settings.datasets, "techcorp/v1")
    factory = PipelineFactory(settings, load_corpus(settings.datasets / "corpora" / golden.card.corpus), PromptLibrary(settings.prompts))
    config = RagConfig.parse({}).replace({**SHORT, "answer.models.lite.name": name})
    split: Split = golden.tune().head(cases)
    report = await factory.evaluate(config, split, Evaluator(METRICS, tools=Tools(settings)))
    if report.errors:
        raise SystemExit(f"{name}: {len(report.errors)} of {cases} cases failed; first: {report.errors[0].error}")
    pipeline = await factory.pipeline(config)
    firsts, paces = [], []
    for case in list(split.cases)[:streamed]:
        trace = await pipeline.answer(Query(case.question), emit=lambda text: None)
        stage = next(stage for stage in trace.stages if stage.stage == "answer")
        if trace.first_token_ms is not None and trace.usage:
            firsts.append(trace.first_token_ms)
            writing_s = max(stage.milliseconds - trace.first_token_ms, 1.0) / 1000
            paces.append(trace.usage[0].output_tokens / writing_s)
    return Measured(
        {metric: report.mean(metric) for metric in METRICS},
        {metric: report.summary[metric].count for metric in METRICS},
        statistics.median(firsts) if firsts else None,
        statistics.median(paces) if paces else None,
    )


def _shown(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


if __name__ == "__main__":
    main()
