"""How hard techcorp/v1 is: recall@5 of each search by kind of question, with no answers made.

    python bench/techcorp.py [--golden techcorp/v1]

Not answerable by shared words alone is a promise of the set; this is where it is kept. Writes reports/bench/techcorp.{json,md}.
"""

import argparse
import asyncio
import tempfile
from pathlib import Path

import _bench

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.golden.load import load_golden
from harness.results.report import EvalReport
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.prompts import PromptLibrary

METRICS = ("recall@5", "coverage@5", "doc_recall@5")
SEARCHES = ("keyword", "vector", "hybrid")
ECHO = {"answer.models.lite.name": "local:echo", "answer.models.pro.name": "local:echo"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    asked = parser.parse_args()
    reports = asyncio.run(measure(asked.golden))
    kinds = list(next(iter(reports.values())).slices("kind", "recall@5"))
    rows = [kind for kind in kinds if kind != "unanswerable"]
    figures = {
        search: {"all": report.mean("recall@5"), **{kind: report.slices("kind", "recall@5")[kind].mean for kind in rows}}
        for search, report in reports.items()
    }
    counts = {kind: interval.count for kind, interval in reports["keyword"].slices("kind", "recall@5").items()}
    counts["all"] = sum(counts.values())
    facts = _bench.machine("lancedb", "onnxruntime")
    table = [[kind, counts[kind], *(f"{figures[search][kind]:.3f}" for search in SEARCHES)] for kind in [*rows, "all"]]
    lines = [
        f"# {asked.golden}: recall@5 by kind of question",
        "",
        f"Machine: {_bench.machine_line(facts)}. The default configuration but for the search; evidence spans, all answerable cases.",
        "Made by `python bench/techcorp.py`.",
        "",
        _bench.table(["kind", "cases", *SEARCHES], table),
    ]
    _bench.write_report("techcorp", {"machine": facts, "golden": asked.golden, "recall@5": figures}, "\n".join(lines), asked.out)
    print("\n".join(lines))


async def measure(name: str) -> dict[str, EvalReport]:
    settings = HarnessSettings()
    golden = load_golden(settings.datasets, name)
    factory = PipelineFactory(settings, load_corpus(settings.datasets / "corpora" / golden.card.corpus), PromptLibrary(settings.prompts))
    with tempfile.TemporaryDirectory() as folder:  # a description of the set, not a look at a holdout for a choice
        cases = golden.all(why="bench", ledger=Path(folder) / "looks.jsonl")
    base = RagConfig.parse({}).replace(ECHO)
    return {
        search: await factory.evaluate(base.replace({"retrieve.search.name": search}), cases, Evaluator(METRICS)) for search in SEARCHES
    }


if __name__ == "__main__":
    main()
