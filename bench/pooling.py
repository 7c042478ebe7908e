"""Chunk vectors from one pass over long windows ("late chunking") against one pass for each chunk size: what is found, and time.

    python bench/pooling.py [--golden techcorp/v1] [PATH …] [--out reports/bench]

MiniLM reads each document once in windows of 256 tokens that overlap; a chunk's vector is the mean of its tokens' vectors, so that any
chunk size costs a mean. Beside it stand the usual vectors: each chunk read alone, with and without its heading. Vector search only.
A PATH is a folder with `corpus.jsonl` and `golden.jsonl`, with evidence spans in the questions' metadata or `relevant_ids` that are
sections of a page (ids `page#number`; a sample of `--pages` pages is taken).
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report
from numpy.typing import NDArray

from harness.golden.case import Case, Evidence
from harness.golden.load import load_golden
from harness.metrics import metric
from harness.metrics.base import Metric
from harness.opening import open_corpus, read_settings
from harness.stats import compare
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.context import indexed_text
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.types import Answer, Chunk, Document, Hit, Query, Trace

SIZES = (250, 500, 900)
WINDOW, STRIDE = 254, 190  # tokens between the two special ones; how far the next window begins after this one
METRICS = ("recall@5", "ndcg@10")
WAYS = ("alone", "alone, with heading", "pooled")
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Data:
    """Documents, and questions by split."""

    name: str
    documents: tuple[Document, ...]
    splits: dict[str, list[Case]]


@dataclass
class Clock:
    """Seconds by what was done."""

    seconds: dict[str, float] = field(default_factory=dict)

    def add(self, what: str, begin: float) -> None:
        self.seconds[what] = self.seconds.get(what, 0.0) + time.perf_counter() - begin


# ---- data


def golden_set(name: str) -> Data:
    places = read_settings()
    golden = load_golden(places.datasets, name)
    with tempfile.TemporaryDirectory() as folder:  # a bench of an embedder's option, not a look for a configuration
        holdout = golden.holdout(why="bench", ledger=Path(folder) / "looks.jsonl")
    splits = {"tune": golden.tune().cases, "holdout": holdout.cases}
    kept = {split: [case for case in cases if case.answerable and case.evidence] for split, cases in splits.items()}
    return Data(name, open_corpus(golden.card.corpus, places).documents, kept)


def folder_of(path: Path, pages: int) -> Data:
    corpus, golden = ([json.loads(line) for line in (path / f"{name}.jsonl").open(encoding="utf-8")] for name in ("corpus", "golden"))
    if golden[0]["metadata"].get("evidence"):
        documents = {row["id"]: row["text"] for row in corpus}
        spans = {row["id"]: [(row["metadata"]["doc"], one["start"], one["end"]) for one in row["metadata"]["evidence"]] for row in golden}
    else:
        documents, places = _pages(corpus)
        spans = {row["id"]: [places[name] for name in row["relevant_ids"]] for row in golden}
        chance = random.Random(7)
        chance.shuffle(golden)
        wanted = {spans[row["id"]][0][0] for row in golden[: pages // 2]}
        others = sorted(set(documents) - wanted)
        wanted |= set(chance.sample(others, max(0, min(len(others), pages - len(wanted)))))
        documents = {name: text for name, text in documents.items() if name in wanted}
        golden = [row for row in golden if all(span[0] in wanted for span in spans[row["id"]])]
    cases = [
        Case(
            id=row["id"],
            question=row["question"],
            answers=("?",),
            evidence=tuple(
                Evidence(document=name, quote=documents[name][start:end], start=start, end=end) for name, start, end in spans[row["id"]]
            ),
        )
        for row in golden
    ]
    return Data(path.name, tuple(Document(name, text) for name, text in documents.items()), {"all": cases})


def _pages(corpus: Sequence[dict[str, Any]]) -> tuple[dict[str, str], dict[str, tuple[str, int, int]]]:
    """Sections joined to the pages they are from, and where each one lies."""
    texts: dict[str, str] = {}
    places: dict[str, tuple[str, int, int]] = {}
    for row in corpus:
        page = row["id"].rpartition("#")[0] or row["id"]
        start = len(texts.get(page, ""))
        texts[page] = texts.get(page, "") + row["text"] + "\n\n"
        places[row["id"]] = (page, start, start + len(row["text"]))
    return texts, places


# ---- vectors


@dataclass(frozen=True)
class Tokens:
    """A document's tokens: where each lies, and its vector."""

    spans: NDArray[np.int64]  # tokens × (start, end)
    vectors: Vectors

    def pooled(self, chunk: Chunk) -> Vectors:
        inside = (self.spans[:, 0] >= chunk.start) & (self.spans[:, 1] <= chunk.end)
        if not inside.any():
            inside = (self.spans[:, 0] < chunk.end) & (self.spans[:, 1] > chunk.start)
        mean = self.vectors[inside].mean(axis=0)
        return np.asarray(mean / np.linalg.norm(mean), dtype=np.float32)


def read_once(model: Any, text: str) -> Tokens:
    """Each token's vector from the window in whose middle it lies best."""
    session, encoded = model._model.session, model._model.tokenizer.encode(text)
    ids, offsets = np.array(encoded.ids, np.int64), np.array(encoded.offsets, np.int64)
    first, last, ids, offsets = ids[:1], ids[-1:], ids[1:-1], offsets[1:-1]
    vectors, depth = np.zeros((len(ids), 384), np.float32), np.full(len(ids), -1)
    for start in range(0, max(1, len(ids) - (WINDOW - STRIDE)), STRIDE):
        window = ids[start : start + WINDOW]
        [found] = session.run(["tokens"], {"input_ids": np.concatenate([first, window, last])})
        places = np.arange(len(window))
        inside = np.minimum(
            places + (10_000 if start == 0 else 0), len(window) - 1 - places + (10_000 if start + WINDOW >= len(ids) else 0)
        )
        better = inside > depth[start : start + len(window)]
        vectors[start : start + len(window)][better] = found[1:-1][better]
        depth[start : start + len(window)][better] = inside[better]
    return Tokens(offsets, vectors)


# ---- measuring


def search(vectors: Vectors, chunks: Sequence[Chunk], question: Vectors, k: int = 10) -> tuple[Hit, ...]:
    scores = vectors @ question
    best = sorted(np.argpartition(-scores, min(k, len(scores) - 1))[:k], key=lambda place: (-scores[place], chunks[place].id))
    return tuple(Hit(chunks[place], float(scores[place]), rank) for rank, place in enumerate(best, start=1))


def scores(data: Data, split: str, vectors: Vectors, chunks: Sequence[Chunk], asked: dict[str, Vectors]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    measures: dict[str, Metric] = {name: metric(name) for name in METRICS}  # type: ignore[misc]
    for case in data.splits[split]:
        hits = search(vectors, chunks, asked[case.id])
        trace = Trace("t", Query(case.question), "c", "i", hits=hits, passages=hits, answer=Answer(""))
        for name in METRICS:
            found[name].append(measures[name].score(trace, case).value or 0.0)
    return found


def measure(data: Data, model: Any, clock: Clock) -> list[dict[str, Any]]:
    cases = [case for some in data.splits.values() for case in some]
    asked = dict(zip([case.id for case in cases], model.vectors([case.question for case in cases]), strict=True))
    begin = time.perf_counter()
    tokens = {document.id: read_once(model, document.text) for document in data.documents}
    clock.add("one pass", begin)
    rows = []
    for size in SIZES:
        chunker = CHUNKERS.build(Spec(name="recursive", size=size, overlap=0))
        chunks = [chunk for document in data.documents for chunk in chunker.split(document)]
        vectors: dict[str, Vectors] = {}
        for way, context in (("alone", "none"), ("alone, with heading", "heading")):
            begin = time.perf_counter()
            vectors[way] = np.stack(model._compute([indexed_text(chunk, context) for chunk in chunks]))
            clock.add(f"{way}, {size}", begin)
        begin = time.perf_counter()
        vectors["pooled"] = np.stack([tokens[chunk.document_id].pooled(chunk) for chunk in chunks])
        clock.add(f"pooled, {size}", begin)
        for split in data.splits:
            found = {way: scores(data, split, vectors[way], chunks, asked) for way in WAYS}
            for name in METRICS:
                row: dict[str, Any] = {"data": data.name, "split": split, "size": size, "chunks": len(chunks), "metric": name}
                row |= {way: float(np.mean(found[way][name])) for way in WAYS} | {"cases": len(found["pooled"][name])}
                for way in WAYS[:2]:
                    held = compare(found[way][name], found["pooled"][name])
                    row[f"to {way}"] = [held.difference, held.low, held.high]
                rows.append(row)
                print(row, flush=True)
    return rows


def markdown(data: dict[str, Any]) -> str:
    def difference(one: Sequence[float]) -> str:
        return f"{one[0]:+.3f} [{one[1]:+.3f}, {one[2]:+.3f}]"

    rows = [
        [f"{row['data']} {row['split']}", row["size"], row["metric"], row["cases"], *(f"{row[way]:.3f}" for way in WAYS)]
        + [difference(row[f"to {way}"]) for way in WAYS[:2]]
        for row in data["rows"]
    ]
    times = [
        [name, f"{seconds['one pass']:.1f}", *(f"{seconds[f'{way}, {size}']:.1f}" for way in ("alone", "pooled") for size in SIZES)]
        for name, seconds in data["seconds"].items()
    ]
    head = ["documents", "one pass", *(f"{way}, {size}" for way in ("each chunk alone", "mean") for size in SIZES)]
    return "\n\n".join(
        [
            "# Late chunking",
            f"Machine: {machine_line(data['machine'])}, shared with other work. Made by `python bench/pooling.py`. Windows of {WINDOW + 2} "
            f"tokens, {WINDOW - STRIDE} of them shared with the next; no chunk overlap; vector search alone.",
            "## What is found",
            table(["questions", "characters", "metric", "cases", *WAYS, "pooled − alone", "pooled − with heading"], rows),
            "Differences are paired, with 95 % intervals.",
            "## Seconds",
            table(head, times),
            "One pass serves every size; the rest of its cost is the mean.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    model = connect_embeddings(Spec(name="local:minilm"), read_settings())
    rows: list[dict[str, Any]] = []
    seconds = {}
    for data in (golden_set(options.golden), *(folder_of(path, options.pages) for path in options.paths)):
        clock = Clock()
        rows += measure(data, model, clock)
        seconds[f"{data.name}, {len(data.documents)}"] = clock.seconds
    facts = {"machine": machine("onnxruntime", "numpy"), "rows": rows, "seconds": seconds}
    write_report("pooling", facts, markdown(facts), options.out)
    print(markdown(facts))


if __name__ == "__main__":
    main()
