"""Chunk vectors from one pass over long windows ("late chunking") against one pass for each chunking: what is found, and time.

    python bench/pooling.py [--golden techcorp/v1] [PATH …] [--out reports/bench]

MiniLM reads each document once in overlapping windows (of 256 tokens, and of 512, all that its positions allow); a chunk's vector is the
mean of its tokens' vectors, so that any chunking costs a mean. Beside it stand the usual vectors: each chunk read alone, with and
without its heading. Vector search only. Two questions: are pooled vectors as good (an embedder's option), and do they put chunkings in
the right order (a cheap first fidelity for a search)?

A PATH is a folder with `corpus.jsonl` and `golden.jsonl`, with evidence spans in the questions' metadata or `relevant_ids` that are
sections of a page (ids `page#number`; a sample of `--pages` pages is taken). Its questions are halved into tune and holdout.
"""

import argparse
import json
import random
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report
from numpy.typing import NDArray
from scipy import stats

from harness.evaluation.context import open_corpus
from harness.golden.case import Case, Evidence
from harness.golden.load import load_golden
from harness.metrics import metric
from harness.results.score import Metric
from harness.settings import read_settings
from harness.stats import compare_paired
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.context import indexed_text
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.types import Answer, Chunk, Document, Hit, Query, Trace

CHUNKINGS = tuple(
    Spec.model_validate({"name": name, "size": size, none: 0})
    for name, none, sizes in (
        ("recursive", "overlap", (200, 300, 450, 700, 1000)),
        ("sentence", "overlap_sentences", (200, 450, 900)),
        ("markdown", "overlap", (450, 900)),
    )
    for size in sizes
)
WINDOWS = (256, 512)  # tokens, the two special ones included
SHARED = 1 / 4  # of a window with the next
GOAL, METRICS = "ndcg@10", ("ndcg@10", "recall@5")
TRUTH = "alone, with heading"
POOLED = tuple(f"pooled, {window}" for window in WINDOWS)
WAYS = (TRUTH, "alone", *POOLED)
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
    settings = read_settings()
    golden = load_golden(settings.datasets, name)
    with tempfile.TemporaryDirectory() as folder:  # a bench of an embedder's option, not a look for a configuration
        holdout = golden.holdout(why="bench", ledger=Path(folder) / "looks.jsonl")
    splits = {"tune": golden.tune().cases, "holdout": holdout.cases}
    kept = {split: [case for case in cases if case.answerable and case.evidence] for split, cases in splits.items()}
    return Data(name, open_corpus(golden.card.corpus, settings).documents, kept)


def folder_of(path: Path, pages: int) -> Data:
    corpus, golden = ([json.loads(line) for line in (path / f"{name}.jsonl").open(encoding="utf-8")] for name in ("corpus", "golden"))
    if golden[0]["metadata"].get("evidence"):
        documents = {row["id"]: row["text"] for row in corpus}
        spans = {row["id"]: [(row["metadata"]["doc"], one["start"], one["end"]) for one in row["metadata"]["evidence"]] for row in golden}
    else:
        documents, settings = _pages(corpus)
        spans = {row["id"]: [settings[name] for name in row["relevant_ids"]] for row in golden}
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
    halves = {"tune": cases[::2], "holdout": cases[1::2]}
    return Data(path.name, tuple(Document(name, text) for name, text in documents.items()), halves)


def _pages(corpus: Sequence[dict[str, Any]]) -> tuple[dict[str, str], dict[str, tuple[str, int, int]]]:
    """Sections joined to the pages they are from, and where each one lies."""
    texts: dict[str, str] = {}
    settings: dict[str, tuple[str, int, int]] = {}
    for row in corpus:
        page = row["id"].rpartition("#")[0] or row["id"]
        start = len(texts.get(page, ""))
        texts[page] = texts.get(page, "") + row["text"] + "\n\n"
        settings[row["id"]] = (page, start, start + len(row["text"]))
    return texts, settings


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


def read_once(model: Any, text: str, window: int) -> Tokens:
    """Each token's vector from the window in whose middle it lies best."""
    session, encoded = model._model.session, model._model.tokenizer.encode(text)
    ids, offsets = np.array(encoded.ids, np.int64), np.array(encoded.offsets, np.int64)
    first, last, ids, offsets = ids[:1], ids[-1:], ids[1:-1], offsets[1:-1]
    size = window - 2
    stride = int(size * (1 - SHARED))
    vectors, depth = np.zeros((len(ids), 384), np.float32), np.full(len(ids), -1)
    for start in range(0, max(1, len(ids) - (size - stride)), stride):
        some = ids[start : start + size]
        [found] = session.run(["tokens"], {"input_ids": np.concatenate([first, some, last])})
        settings = np.arange(len(some))
        whole = 10_000  # an end of the document is no edge of a window
        inside = np.minimum(settings + whole * (start == 0), len(some) - 1 - settings + whole * (start + size >= len(ids)))
        better = inside > depth[start : start + len(some)]
        vectors[start : start + len(some)][better] = found[1:-1][better]
        depth[start : start + len(some)][better] = inside[better]
    return Tokens(offsets, vectors)


def read_all(model: Any, documents: Sequence[Document], window: int) -> dict[str, Tokens]:
    """Two documents at a time, as the model embeds chunks."""
    with ThreadPoolExecutor(model._threads) as pool:
        read = pool.map(lambda document: read_once(model, document.text, window), documents)
        return {document.id: tokens for document, tokens in zip(documents, read, strict=True)}


# ---- measuring


def search(vectors: Vectors, chunks: Sequence[Chunk], question: Vectors, k: int = 10) -> tuple[Hit, ...]:
    scores = vectors @ question
    best = sorted(np.argpartition(-scores, min(k, len(scores) - 1))[:k], key=lambda place: (-scores[place], chunks[place].id))
    return tuple(Hit(chunks[place], float(scores[place]), rank) for rank, place in enumerate(best, start=1))


def scores(cases: Sequence[Case], vectors: Vectors, chunks: Sequence[Chunk], asked: dict[str, Vectors]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in METRICS}
    measures: dict[str, Metric] = {name: metric(name) for name in METRICS}  # type: ignore[misc]
    for case in cases:
        hits = search(vectors, chunks, asked[case.id])
        trace = Trace("t", Query(case.question), "c", "i", hits=hits, passages=hits, answer=Answer(""))
        for name in METRICS:
            found[name].append(measures[name].score(trace, case).value or 0.0)
    return found


Scores = dict[tuple[str, str, str, str], list[float]]  # chunking, way, split, metric → a score per case


def measure(data: Data, model: Any, clock: Clock) -> Scores:
    cases = [case for some in data.splits.values() for case in some]
    asked = dict(zip([case.id for case in cases], model.vectors([case.question for case in cases]), strict=True))
    tokens = {}
    for way, window in zip(POOLED, WINDOWS, strict=True):
        begin = time.perf_counter()
        tokens[way] = read_all(model, data.documents, window)
        clock.add(way, begin)
    found: Scores = {}
    for spec in CHUNKINGS:
        chunker = CHUNKERS.build(spec)
        chunks = [chunk for document in data.documents for chunk in chunker.split(document)]
        vectors: dict[str, Vectors] = {}
        for way, context in (("alone", "none"), (TRUTH, "heading")):
            begin = time.perf_counter()
            vectors[way] = np.stack(model._compute([indexed_text(chunk, context) for chunk in chunks]))
            clock.add(way, begin)
        for way in POOLED:
            begin = time.perf_counter()
            vectors[way] = np.stack([tokens[way][chunk.document_id].pooled(chunk) for chunk in chunks])
            clock.add(way, begin)
        for split, some in data.splits.items():
            for way in WAYS:
                for name, values in scores(some, vectors[way], chunks, asked).items():
                    found[words(spec), way, split, name] = values
        print(data.name, words(spec), {way: round(float(np.mean(found[words(spec), way, "holdout", GOAL])), 3) for way in WAYS}, flush=True)
    return found


def words(spec: Spec) -> str:
    return f"{spec.name} {spec.params['size']}"


def found_rows(name: str, found: Scores) -> list[dict[str, Any]]:
    """What each way finds on the holdout, and what pooling loses there."""
    rows = []
    for spec in CHUNKINGS:
        chunking = words(spec)
        for goal in METRICS:
            values = {way: found[chunking, way, "holdout", goal] for way in WAYS}
            row: dict[str, Any] = {"data": name, "chunking": chunking, "metric": goal, "cases": len(values[TRUTH])}
            row |= {way: float(np.mean(values[way])) for way in WAYS}
            for way in WAYS[1:]:
                held = compare_paired(values[TRUTH], values[way])
                row[f"{way} - {TRUTH}"] = [held.difference, held.low, held.high]
            rows.append(row)
    return rows


def fidelity_rows(name: str, found: Scores, seconds: dict[str, float]) -> list[dict[str, Any]]:
    """How well a way ranks the chunkings on tune, and what its choice is worth on the holdout, by the vectors that would be used."""
    chunkings = [words(spec) for spec in CHUNKINGS]

    def means(way: str) -> list[float]:
        return [float(np.mean(found[chunking, way, "tune", GOAL])) for chunking in chunkings]

    rows = []
    own = found[chunkings[int(np.argmax(means(TRUTH)))], TRUTH, "holdout", GOAL]
    for way in WAYS:
        chosen = chunkings[int(np.argmax(means(way)))]
        held = compare_paired(own, found[chosen, TRUTH, "holdout", GOAL])
        row = {"data": name, "way": way, "tau": float(stats.kendalltau(means(TRUTH), means(way)).statistic), "chosen": chosen}
        rows.append(row | {"lost": [held.difference, held.low, held.high], "faster": seconds[TRUTH] / seconds[way]})
    return rows


def difference(one: Sequence[float]) -> str:
    return f"{one[0]:+.3f} [{one[1]:+.3f}, {one[2]:+.3f}]"


def markdown(data: dict[str, Any]) -> str:
    parts = [
        "# Late chunking",
        f"Machine: {machine_line(data['machine'])}, shared with other work. Made by `python bench/pooling.py PATH …`. "
        "Documents are read once in windows of 256 or 512 tokens, a quarter of them shared with the next, "
        "and a chunk's vector is the mean of its tokens' vectors "
        "(“pooled”); or each chunk is read alone, with its heading (the default) or without. No overlap of chunks; vector search alone; "
        f"`{GOAL}`, recall beside it in the JSON.",
        "## As an embedder: what is found on the holdout",
    ]
    rows = [row for row in data["found"] if row["metric"] == GOAL]
    for name in data["documents"]:
        some = [row for row in rows if row["data"] == name]
        parts += [
            f"{name}: {data['documents'][name]} documents, {some[0]['cases']} questions.",
            table(
                ["chunks, characters", *WAYS, *(f"{way} − {TRUTH}" for way in POOLED)],
                [
                    [row["chunking"], *(f"{row[way]:.3f}" for way in WAYS), *(difference(row[f"{way} - {TRUTH}"]) for way in POOLED)]
                    for row in some
                ],
            ),
        ]
    parts += [
        f"Differences are paired, with 95 % intervals. {verdict(rows)}",
        "## As a first fidelity: which chunking is best?",
        table(
            ["questions", "ranked by", "Kendall's tau", "its choice", "choice − own choice, holdout", "times as fast"],
            [
                [row["data"], row["way"], f"{row['tau']:.2f}", row["chosen"], difference(row["lost"]), f"{row['faster']:.1f}"]
                for row in data["fidelity"]
            ],
        ),
        f"The {len(CHUNKINGS)} chunkings are ranked on tune by vectors of one kind. Tau says how like that order is to the order by "
        "vectors of chunks read alone with their headings, which are what would be used; the choice is scored on the holdout by these. "
        f"“Times as fast” compares the seconds for vectors of all {len(CHUNKINGS)}.",
    ]
    return "\n\n".join(parts)


def verdict(rows: Sequence[dict[str, Any]]) -> str:
    """How often pooling is surely worse or better, in words."""
    said = []
    for way in POOLED:
        differences = [row[f"{way} - {TRUTH}"] for row in rows]
        worse, better = sum(one[2] < 0 for one in differences), sum(one[1] > 0 for one in differences)
        said.append(f"{way}: the interval lies below 0 in {worse} of {len(rows)} rows, above in {better}")
    return "; ".join(said) + "."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", type=Path, nargs="*")
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    model = connect_embeddings(Spec(name="local:minilm"), read_settings())
    facts: dict[str, Any] = {"machine": machine("onnxruntime", "numpy"), "documents": {}, "found": [], "fidelity": [], "seconds": {}}
    for data in (golden_set(options.golden), *(folder_of(path, options.pages) for path in options.paths)):
        clock = Clock()
        found = measure(data, model, clock)
        facts["documents"][data.name] = len(data.documents)
        facts["seconds"][data.name] = clock.seconds
        facts["found"] += found_rows(data.name, found)
        facts["fidelity"] += fidelity_rows(data.name, found, clock.seconds)
    write_report("pooling", facts, markdown(facts), options.out)
    print(markdown(facts))


if __name__ == "__main__":
    main()
