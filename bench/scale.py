"""Building an index and sweeping over it by size: chunks a second, bytes a chunk, peak memory, and what a trial costs on top.

    python bench/scale.py [--sizes 1000 10000 100000] [--minilm 1000] [--out reports/bench]

Texts are drawn from an invented vocabulary, ten paragraphs a document, one paragraph a chunk. Vectors come from `local:hashing`, so that
100,000 chunks end in time; `--minilm` sizes are built with MiniLM as well. Each size runs in a process of its own, for its peak memory.
"""

import argparse
import asyncio
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _bench import machine, machine_line, table, write_report
from overhead import texts, vocabulary

from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.golden.case import Case
from harness.golden.sets import Split
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.config import RagConfig
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document

WORDS, PARAGRAPHS, QUESTIONS = 90, 10, 40
EMBEDDERS = {"hashing": {"name": "local:hashing", "dimensions": 384}, "minilm": {"name": "local:minilm"}}
CONFIG = {
    "index": {"chunker": {"name": "recursive", "size": 620, "overlap": 0}, "context": "none"},
    "answer": {"models": {"lite": {"name": "local:echo"}, "pro": {"name": "local:echo"}}},
}
MB = 2**20


def rss() -> int:
    """Bytes of this process in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def documents(chunks: int) -> tuple[Document, ...]:
    chance = random.Random(chunks)
    words = vocabulary(chance)
    chance.shuffle(words)
    found = texts(chunks, words, WORDS, chance)
    grouped = (found[start : start + PARAGRAPHS] for start in range(0, chunks, PARAGRAPHS))
    return tuple(Document(f"text-{number:06}", "\n\n".join(some)) for number, some in enumerate(grouped))


def cases(corpus: Corpus) -> Split:
    """Questions made of words of the documents that answer them."""
    chance = random.Random(1)
    rows = []
    for number, document in enumerate(chance.sample(corpus.documents, QUESTIONS)):
        asked = " ".join(chance.sample(document.text.split(), 8))
        rows.append(Case(id=f"c{number}", question=f"What is {asked}?", answers=("a",), relevant_ids=(document.id,)))
    return Split("invented/v1", "tune", tuple(rows), "d")


async def measure(chunks: int, embedder: str, home: Path) -> dict[str, Any]:
    corpus = Corpus.of("invented", documents(chunks))
    split, settings, stages = cases(corpus), PipelineSettings(home=home), SqliteStageStore(home / "stages")
    before, most, stored_s = rss(), 0, 0.0
    begin = time.perf_counter()

    def index_progress(done: int, total: int) -> None:
        nonlocal most, stored_s
        most, stored_s = max(most, rss()), time.perf_counter() - begin

    factory = PipelineFactory(settings, corpus, PromptLibrary(settings.prompts), index_progress, stages)
    config = RagConfig.parse(CONFIG).replace({"index.embedder.name": EMBEDDERS[embedder]["name"]})
    if embedder == "hashing":
        config = config.replace({"index.embedder.dimensions": 384})
    index = await factory.index(config)
    built_s = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    row: dict[str, Any] = {"chunks": index.manifest.chunks, "embedder": embedder, "built_s": built_s, "stored_s": stored_s}
    row |= {"before_mb": before / MB, "storing_mb": (most - before) / MB, "peak_mb": (peak - before) / MB}
    row |= {"index_bytes": size_of(Path(settings.index_root)), "store_bytes": size_of(home / "stages")}
    evaluator = Evaluator(("doc_recall@5",), stage_store=stages)
    again = PipelineFactory(settings, corpus, factory.prompts, None, stages)
    begin = time.perf_counter()
    await again.index(config)
    row["open_ms"] = 1000 * (time.perf_counter() - begin)
    for name, changes in (("searched", {}), ("fused", {"retrieve.fusion.weight": 0.3}), ("kept", {"retrieve.fusion.weight": 0.3})):
        begin = time.perf_counter()
        report = await again.evaluate(config.replace(changes), split, evaluator)
        row[f"{name}_ms"] = 1000 * (time.perf_counter() - begin) / len(split.cases)
        assert not report.errors
    row["recall"] = report.mean("doc_recall@5")
    return row


def in_a_process(chunks: int, embedder: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(chunks), embedder]
    found = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(Path.cwd())}, check=True, stdout=subprocess.PIPE, text=True)
    row: dict[str, Any] = json.loads(found.stdout.splitlines()[-1])
    print(row, flush=True)
    return row


def markdown(data: dict[str, Any]) -> str:
    build, sweep = [], []
    for row in data["rows"]:
        name, count = f"{row['chunks']:,} ({row['embedder']})", row["chunks"]
        memory = [f"{row[what]:.0f}" for what in ("before_mb", "storing_mb", "peak_mb")]
        per = [f"{row['index_bytes'] / count:,.0f}", f"{row['store_bytes'] / count:,.0f}"]
        build.append([name, f"{row['built_s']:.1f}", f"{count / row['stored_s']:,.0f}", f"{count / row['built_s']:,.0f}", *memory, *per])
        sweep.append([name, *(f"{row[f'{what}_ms']:.1f}" for what in ("open", "searched", "fused", "kept"))])
    head = ["chunks", "seconds", "chunks/s stored", "chunks/s in all", "MB before", "+ MB storing", "+ MB at most", "index B/chunk"]
    return "\n\n".join(
        [
            "# By size",
            f"Machine: {machine_line(data['machine'])}, shared with other work. Made by `python bench/scale.py`. Paragraphs of "
            f"{WORDS} invented words, one a chunk; vectors of 384 numbers by `local:hashing`, or by MiniLM where it says so; LanceDB, "
            "with a stage store.",
            "## Building",
            table([*head, "stage store B/chunk"], build),
            "“Before” is the process with all documents read and nothing built. “Storing” is what was added at most while chunks were "
            "embedded and stored, batch by batch; “at most” includes the database's own work at the end: the full-text index, and above "
            "200,000 chunks the vector index; and the file of the resident searcher.",
            "## What a trial costs on top",
            table(["chunks", "open the index, ms", "searched, ms a case", "other fusion, ms a case", "all kept, ms a case"], sweep),
            f"{QUESTIONS} questions, hybrid search, a chat model that answers at once. “Searched” is a first trial; “other fusion” "
            "reuses its searches; “all kept” is the same configuration again: what is left is the machinery around a case.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--minilm", type=int, nargs="*", default=[1000])
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        with tempfile.TemporaryDirectory() as home:
            print(json.dumps(asyncio.run(measure(int(options.one[0]), options.one[1], Path(home)))))
        return
    rows = [in_a_process(size, "hashing") for size in options.sizes] + [in_a_process(size, "minilm") for size in options.minilm]
    data = {"machine": machine("lancedb", "onnxruntime", "numpy"), "rows": rows}
    write_report("scale", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
