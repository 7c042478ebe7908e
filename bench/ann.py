"""Exact search, by LanceDB and by the resident searcher, against the HNSW graph: recall@10, median latency and build time by rows.

    python bench/ann.py [--full] [--out reports/bench]

Says from which size the graph pays, which is what the default of `LanceStore.Params.ann_above` stands on.
"""

import argparse
import asyncio
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from serving.pipeline.index.base import Filter, Store, Vectors
from serving.pipeline.index.resident.open import searchable
from serving.pipeline.index.stores.lance import LanceStore
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk

WIDTH, INNER, QUERIES, K = 384, 40, 60, 10
REFINES = (1, 5, 10)


def clustered(rows: int, rng: np.random.Generator) -> tuple[Vectors, Vectors]:
    """Unit vectors in overlapping clusters of about 50 within 40 true dimensions, as embeddings of texts lie; and queries like them."""
    centres = rng.standard_normal((max(rows // 50, 1), INNER))
    spread = rng.standard_normal((INNER, WIDTH))
    points = centres[rng.integers(len(centres), size=rows + QUERIES)] + rng.standard_normal((rows + QUERIES, INNER))
    outer = points @ spread
    units = np.asarray(outer / np.linalg.norm(outer, axis=1, keepdims=True), dtype=np.float32)
    return units[QUERIES:], units[:QUERIES]


async def built(folder: Path, vectors: Vectors, **params: Any) -> tuple[LanceStore, float]:
    store = LanceStore(LanceStore.Params(**params), uri=str(folder), dimensions=WIDTH, settings=PipelineSettings())
    started = time.perf_counter()
    for first in range(0, len(vectors), 5000):
        part = vectors[first : first + 5000]
        chunks = [Chunk(f"c{first + n:07}", f"d{(first + n) // 20}", 0, 4, "text") for n in range(len(part))]
        await store.add(chunks, [chunk.id for chunk in chunks], part)
    await store.finish()
    return store, time.perf_counter() - started


async def asked(store: Store, queries: Vectors) -> tuple[list[set[str]], float]:
    await store.search_vector(queries[0], K, Filter())
    found, times = [], []
    for query in queries:
        started = time.perf_counter()
        hits = await store.search_vector(query, K, Filter())
        times.append(1000 * (time.perf_counter() - started))
        found.append({hit.chunk.id for hit in hits})
    return found, statistics.median(times)


async def measure(rows: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(rows)
    vectors, queries = clustered(rows, rng)
    with tempfile.TemporaryDirectory() as folder:
        exact, seconds = await built(Path(folder) / "exact", vectors, ann_above=rows)
        truth, median = await asked(exact, queries)
        lines = [{"rows": rows, "search": "exact", "recall": 1.0, "p50_ms": round(median, 1), "build_s": round(seconds, 1)}]
        began = time.perf_counter()
        resident = await searchable(exact, folders=[Path(folder)], index="bench", data_version=await exact.data_version(), chunks=rows)
        made = seconds + time.perf_counter() - began
        found, median = await asked(resident, queries)
        assert found == truth
        lines.append({"rows": rows, "search": "resident", "recall": 1.0, "p50_ms": round(median, 2), "build_s": round(made, 1)})
        _, seconds = await built(Path(folder) / "graph", vectors, ann_above=rows - 1)
        for refine in REFINES:
            params = LanceStore.Params(ann_above=rows - 1, refine=refine)
            graph = LanceStore(params, uri=str(Path(folder) / "graph"), dimensions=WIDTH, settings=PipelineSettings())
            found, median = await asked(graph, queries)
            recall = statistics.mean(len(want & got) / K for want, got in zip(truth, found, strict=True))
            name = f"hnsw_sq, refine {refine}"
            lines.append(
                {"rows": rows, "search": name, "recall": round(recall, 3), "p50_ms": round(median, 1), "build_s": round(seconds, 1)}
            )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also 100,000 rows (some minutes)")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    options = parser.parse_args()
    lines: list[dict[str, Any]] = []
    for rows in [1000, 10_000, 20_000, *([100_000] if options.full else [])]:
        lines += asyncio.run(measure(rows))
        print(*lines[-2 - len(REFINES) :], sep="\n", flush=True)
    machine = f"{platform.machine()}, Python {platform.python_version()}, {platform.system()}"
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "ann.json").write_text(json.dumps({"machine": machine, "dimensions": WIDTH, "k": K, "lines": lines}, indent=2) + "\n")
    table = [f"| {' | '.join(str(value) for value in line.values())} |" for line in lines]
    head = f"# Exact search against the graph\n\n{WIDTH} dimensions, k = {K}, {QUERIES} queries, clustered vectors; {machine}.\n\n"
    text = head + "| rows | search | recall@10 | p50 ms | build s |\n|---|---|---|---|---|\n" + "\n".join(table) + "\n"
    (options.out / "ann.md").write_text(text)


if __name__ == "__main__":
    main()
