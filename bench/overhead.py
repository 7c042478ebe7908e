"""What the pipeline itself costs: milliseconds by stage with a chat model that answers at once, by size of the index.

    python bench/overhead.py [--sizes 1000 10000 100000] [--questions 100] [--out reports/bench]

Texts are drawn from an invented vocabulary in which few words are frequent and most are rare; vectors come from
`local:hashing`, so embedding a question costs next to nothing here (MiniLM adds its own few milliseconds, see embed.md).
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report

from serving.pipeline.build import build_pipeline
from serving.pipeline.config import RagConfig
from serving.pipeline.index.build import ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document, Query, Trace

WORDS, PER_TEXT, PER_QUESTION = 20_000, 90, 8
CONFIG = {
    "index": {"embedder": {"name": "local:hashing", "dimensions": 384}},
    "retrieve": {"search": {"name": "hybrid"}},
    "answer": {"models": {"lite": {"name": "local:echo"}, "pro": {"name": "local:echo"}}},
}


def vocabulary(chance: random.Random) -> list[str]:
    syllables = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
    return sorted({"".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(WORDS)})


def texts(count: int, words: Sequence[str], length: int, chance: random.Random) -> list[str]:
    weights = [1 / (place + 10) for place in range(len(words))]  # Zipf's law, its head made flatter
    return [" ".join(chance.choices(words, weights, k=length)) for _ in range(count)]


async def measure(size: int, questions: int) -> dict[str, Any]:
    chance = random.Random(size)
    words = vocabulary(chance)
    chance.shuffle(words)
    documents = tuple(Document(f"text-{number:06}", text) for number, text in enumerate(texts(size, words, PER_TEXT, chance)))
    asked = [f"What is {text}?" for text in texts(questions, words, PER_QUESTION, chance)]
    with tempfile.TemporaryDirectory() as place:
        settings = PipelineSettings(home=Path(place))
        config = RagConfig.parse(CONFIG)
        begin = time.perf_counter()
        index = await ensure_index(Corpus.of("invented", documents), config, settings=settings)
        built_s = time.perf_counter() - begin
        pipeline = build_pipeline(config, index, PromptLibrary(settings.prompts), settings)
        for text in asked[:5]:
            await pipeline.answer(Query(text))
        traces = [await pipeline.answer(Query(text)) for text in asked]
        return {"chunks": index.manifest.chunks, "build_s": round(built_s, 1), "p50_ms": by_stage(traces)}


def by_stage(traces: Sequence[Trace]) -> dict[str, float]:
    """Median milliseconds of each stage in the order of the flow, and of the whole."""
    stages: dict[str, list[float]] = {}
    for trace in traces:
        passed: set[str] = set()
        for stage in trace.stages:
            name = f"{stage.stage} (output)" if stage.stage in passed else stage.stage
            passed.add(stage.stage)
            stages.setdefault(name, []).append(stage.milliseconds)
        stages.setdefault("in all", []).append(trace.milliseconds)
    total = stages.pop("in all")
    medians = {name: round(statistics.median(times), 2) for name, times in stages.items()}
    ordered = sorted(total)
    return medians | {"in all": round(statistics.median(total), 2), "in all, p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2)}


def markdown(report: dict[str, Any]) -> str:
    sizes = report["sizes"]
    lines = ["# What the pipeline itself costs", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += [
        f"Median milliseconds of {report['questions']} questions, one after another, from their traces: hybrid search by the resident",
        "searcher, a chat model that answers at once, hashed vectors of 384 numbers. Made by `python bench/overhead.py`.",
        "",
        table(
            ["stage", *(f"{size['chunks']:,} chunks" for size in sizes)],
            [[stage, *(f"{size['p50_ms'].get(stage, 0):.2f}" for size in sizes)] for stage in sizes[0]["p50_ms"]]
            + [["(index built, s)", *(f"{size['build_s']:.1f}" for size in sizes)]],
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": machine("lancedb", "numpy", "langchain-core"), "questions": arguments.questions, "sizes": []}
    for size in arguments.sizes:
        report["sizes"].append(asyncio.run(measure(size, arguments.questions)))
        print(report["sizes"][-1], flush=True)
        write_report("overhead", report, markdown(report), arguments.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
