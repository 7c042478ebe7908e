"""nDCG@10 and recall@10 of every searcher, fusion and reranker on retrieval data of one's own.

    python bench/retrieval.py PATH [PATH…] [--stores memory lancedb resident] [--rerank] [--out reports/bench]

A PATH is a folder with `corpus.jsonl` ({id, title, text}) and `golden.jsonl` ({id, question, relevant_ids}); where there is
a `passages.jsonl`, the relevant ids point there and it is searched instead. Every text is one chunk, indexed with its
title; every relevant id counts the same. `lancedb` is asked itself, `resident` is its resident searcher. Cranfield and most of
BEIR are easily brought into this form.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import ir_measures
import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report
from ir_measures import Qrel, R, ScoredDoc, nDCG
from langchain_core.embeddings import Embeddings

from serving.pipeline.digest import digest_of
from serving.pipeline.index import STORES
from serving.pipeline.index.base import ScoredChunk, Store, Vectors
from serving.pipeline.index.context import indexed_text
from serving.pipeline.index.resident.open import searchable
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Spec
from serving.pipeline.retrieve import FUSIONS, RERANKERS, SEARCHERS
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Hit, Query
from serving.storage.files import write_bytes

CACHE = Path(".touchstone/bench")
BATCH = 256
MINILM = Spec(name="local:minilm")
FUSED = {"rrf": Spec(name="rrf")} | {f"weighted {tenth / 10:.1f}": Spec(name="weighted", weight=tenth / 10) for tenth in range(11)}
RERANKED = ("keyword", "vector", "rrf", "weighted 0.4", "weighted 0.6")
INT8 = "questions in int8"
MEASURES = (nDCG @ 10, R @ 10)


@dataclass(frozen=True)
class Data:
    """Texts, questions and which texts answer them."""

    name: str
    chunks: list[Chunk]
    questions: list[Query]
    qrels: list[Qrel]


def read(folder: Path) -> Data:
    def rows(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines() if line.strip()]

    texts = rows("passages.jsonl" if (folder / "passages.jsonl").exists() else "corpus.jsonl")
    golden = rows("golden.jsonl")
    chunks = [Chunk(row["id"], row["id"], 0, len(row["text"]), row["text"], title=row.get("title", "")) for row in texts]
    qrels = [Qrel(row["id"], relevant, 1) for row in golden for relevant in sorted(set(row["relevant_ids"]))]
    return Data(folder.name, chunks, [Query(row["question"], id=row["id"]) for row in golden], qrels)


class Cached(Embeddings):
    """MiniLM with token vectors kept, since every reranking asks for the same ones."""

    def __init__(self, inner: Any) -> None:
        self.inner, self._tokens = inner, dict[str, np.ndarray]()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.inner.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.inner.embed_query(text)

    def at_precision(self, precision: Literal["int8"]) -> Embeddings:
        return self.inner.at_precision(precision)

    def token_vectors(self, text: str) -> Vectors:
        if text not in self._tokens:
            self._tokens[text] = self.inner.token_vectors(text).astype(np.float16)
        return self._tokens[text].astype(np.float32)


def embedded(model: Any, texts: Sequence[str]) -> Vectors:
    """The vectors of texts, from an earlier run where there was one."""
    path = CACHE / f"{digest_of([EMBEDDINGS.complete(MINILM).model_dump(), EMBEDDINGS.version(MINILM), list(texts)])}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False)
    parts = []
    for start in range(0, len(texts), BATCH):
        parts.append(model.vectors(texts[start : start + BATCH]))
        print(f"\r  embedded {min(start + BATCH, len(texts)):,} of {len(texts):,}", end="", flush=True)
    print()
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile() as file:
        np.save(file, np.concatenate(parts), allow_pickle=False)
        file.seek(0)
        write_bytes(path, file.read())
    return np.concatenate(parts)


async def filled(name: str, folder: str, data: Data, vectors: Vectors) -> Store:
    settings = PipelineSettings(home=Path(folder))
    kind = "lancedb" if name == "resident" else name
    store = STORES.build(Spec(name=kind), uri=f"{folder}/{name}", dimensions=vectors.shape[1], settings=settings)
    for start in range(0, len(data.chunks), 1000):
        chunks = data.chunks[start : start + 1000]
        await store.add(chunks, [indexed_text(chunk, "title") for chunk in chunks], vectors[start : start + 1000])
    await store.finish()
    return (
        await searchable(store, folders=[Path(folder)], index=name, data_version="1", chunks=len(data.chunks))
        if name == "resident"
        else store
    )


@dataclass
class Runs:
    """What every method returned for every question."""

    scored: dict[str, list[ScoredDoc]] = field(default_factory=dict)

    def add(self, method: str, query: Query, hits: Sequence[Hit]) -> None:
        # The place counts, not the score: of equal scores trec_eval would take the last id first, and copies of a text are common.
        run = self.scored.setdefault(method, [])
        run.extend(ScoredDoc(query.id, hit.chunk.id, -float(place)) for place, hit in enumerate(hits))

    def measured(self, qrels: list[Qrel]) -> dict[str, dict[str, float]]:
        found = {}
        for method, run in self.scored.items():
            values = ir_measures.calc_aggregate(MEASURES, qrels, run)
            found[method] = {str(measure): round(values[measure], 4) for measure in MEASURES}
        return found


async def search(data: Data, store: Store, embeddings: Cached, candidates: int, rerank: bool) -> Runs:
    parts = Parts(PipelineSettings(), store, embeddings)
    keyword = SEARCHERS.build(Spec(name="keyword"), parts=parts)
    every_word = SEARCHERS.build(Spec(name="keyword", stop_words="keep"), parts=parts)
    vector = SEARCHERS.build(Spec(name="vector"), parts=parts)
    quick = SEARCHERS.build(Spec(name="vector", precision="int8"), parts=parts)
    fusions = {name: FUSIONS.build(spec, parts=parts) for name, spec in FUSED.items()}
    rerankers = {name: RERANKERS.build(Spec(name=name), parts=parts) for name in ("mmr", "maxsim")}
    runs = Runs()
    for number, query in enumerate(data.questions, start=1):
        lists = {"keyword": await keyword.search(query, candidates), "vector": await vector.search(query, candidates)}
        found = {name: [ScoredChunk(hit.chunk, hit.score) for hit in hits] for name, hits in lists.items()}
        methods = {**lists, **{name: fusion.join(found, candidates) for name, fusion in fusions.items()}}
        runs.add("keyword, stop words kept", query, await every_word.search(query, candidates))
        in_int8 = await quick.search(query, candidates)
        found["vector"] = [ScoredChunk(hit.chunk, hit.score) for hit in in_int8]
        runs.add(f"vector, {INT8}", query, in_int8)
        runs.add(f"weighted 0.6, {INT8}", query, fusions["weighted 0.6"].join(found, candidates))
        for name, hits in methods.items():
            runs.add(name, query, hits)
            for label, reranker in rerankers.items() if rerank and name in RERANKED else ():
                runs.add(f"{name} + {label}", query, await reranker.rerank(query, hits, 10))
        print(f"\r  {number:,} of {len(data.questions):,} questions", end="", flush=True)
    print()
    return runs


async def measure(folder: Path, stores: Sequence[str], candidates: int, rerank: bool) -> dict[str, Any]:
    data = read(folder)
    model = EMBEDDINGS.build(MINILM, settings=PipelineSettings()).connect()
    vectors = embedded(model, [indexed_text(chunk, "title") for chunk in data.chunks])
    figures = {}
    cached = Cached(model)
    for name in stores:
        print(f"{data.name}, {name}: {len(data.chunks):,} texts, {len(data.questions):,} questions", flush=True)
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as place:
            store = await filled(name, place, data, vectors)
            figures[name] = (await search(data, store, cached, candidates, rerank)).measured(data.qrels)
        print(f"  {time.perf_counter() - begin:.0f} s")
    return {"texts": len(data.chunks), "questions": len(data.questions), "relevant": len(data.qrels), "stores": figures}


def markdown(report: dict[str, Any]) -> str:
    lines = ["# Retrieval: every searcher, fusion and reranker", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += [
        f"nDCG@10 / recall@10 by ir-measures, every relevant text counted the same; {report['candidates']} candidates from each",
        "search; texts indexed with their titles, one chunk each; MiniLM fp32. `weighted .w` gives the vector list the share w;",
        "rerankers as configured by default. Made by `python bench/retrieval.py PATH…`.",
        "",
    ]
    for name, data in report["data"].items():
        methods = list(next(iter(data["stores"].values())))
        rows = [
            [method, *(" / ".join(f"{value:.3f}" for value in figures[method].values()) for figures in data["stores"].values())]
            for method in methods
        ]
        lines += [f"## {name}", "", f"{data['texts']:,} texts, {data['questions']:,} questions, {data['relevant']:,} relevant pairs.", ""]
        lines += [table(["method", *data["stores"]], rows), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    stores = ["memory", "lancedb", "resident"]
    parser.add_argument("--stores", nargs="+", choices=stores, default=stores)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument("--rerank", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    packages = ("lancedb", "numpy", "onnxruntime", "ir-measures")
    report: dict[str, Any] = {"machine": machine(*packages), "candidates": arguments.candidates, "data": {}}
    for path in arguments.paths:
        report["data"][path.name] = asyncio.run(measure(path, arguments.stores, arguments.candidates, arguments.rerank))
        write_report("retrieval", report, markdown(report), arguments.out)  # after each, so that a long run leaves what it has
    print((arguments.out / "retrieval.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
