"""Documents added beside a proven index: the time from an upload to its being found, and what searching two layers costs.

    python bench/additions.py [--full | --behind] [--out reports/bench]

Search: an index of 10,000 chunks with 0, 100 or 10,000 chunks beside it, and one index of all of them, timed in turn on the same
questions (random vectors of 384 numbers, words by Zipf's law). Upload: a Markdown file of three paragraphs is put into the store in a
folder, indexed with MiniLM by one replica and found by another that polls every second. With `--behind`: a Markdown file of 2 MB and,
after it, 20 small ones, in the order of arrival and by turns; then the large one again with one sentence more.
"""

import argparse
import asyncio
import os
import random
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, paired, table, write_report

from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.documents.order import IndexingLimits
from serving.documents.record import DocumentRecord, NewDocument
from serving.documents.store import Addition
from serving.pipeline.config import RagConfig
from serving.pipeline.index.base import Filter, Store, StoredRow
from serving.pipeline.index.build import ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.layered.segment import IndexedDocument, LiveSegment, Segment, SegmentRecipe, pack_segment
from serving.pipeline.index.layered.store import LayeredStore
from serving.pipeline.index.layered.view import LayeredView
from serving.pipeline.index.parse import Parser
from serving.pipeline.index.resident.open import searchable
from serving.pipeline.index.stores.lance import LanceStore
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk, Document

WIDTH, K, PROVEN, CHUNKS_OF_ONE = 384, 20, 10_000, 10
QUESTIONS = 20
WORDS = [f"word{number}" for number in range(20_000)]
EVERYONE = Filter()


def rows_of(count: int, prefix: str, rng: np.random.Generator) -> list[StoredRow]:
    """Rows of random texts and directions."""
    vectors = rng.standard_normal((count, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = []
    for number in range(count):
        ranks = np.minimum(rng.zipf(1.3, 80), len(WORDS)) - 1
        text = " ".join(WORDS[rank] for rank in ranks)
        name = f"{prefix}{number // CHUNKS_OF_ONE:06}"
        rows.append(StoredRow.of(Chunk(f"{name}#{number % 10}", name, 0, len(text), text, number % 10), text, vectors[number]))
    return rows


async def one_index(folder: Path, rows: Sequence[StoredRow]) -> Store:
    """All rows in one proven index."""
    store = LanceStore(LanceStore.Params(), uri=str(folder), dimensions=WIDTH, settings=PipelineSettings())
    for first in range(0, len(rows), 5000):
        part = rows[first : first + 5000]
        await store.add([row.chunk for row in part], [row.text for row in part], np.stack([row.vector for row in part]))
    await store.finish()
    return await searchable(store, folders=[folder], index="bench", data_version=await store.data_version(), chunks=len(rows))


RECIPE = SegmentRecipe("bench", "random", "1", "1", "none", "drop")


def segments_of(rows: Sequence[StoredRow], sizes: Iterable[int]) -> list[Segment]:
    """Rows in segments of these sizes, as merging leaves them."""
    segments, first = [], 0
    for size in sizes:
        part = rows[first : first + size]
        first += size
        names = sorted({row.chunk.document_id for row in part})
        segments.append(Segment.of("s", pack_segment(RECIPE, [IndexedDocument(name, "c", 1) for name in names], part), RECIPE))
    return segments


def layers(proven: Store, segments: Sequence[Segment]) -> LayeredStore:
    """A proven index and segments beside it."""
    store = LayeredStore(proven, WIDTH)
    if segments:
        live = tuple(LiveSegment(segment, None) for segment in segments)
        store.show(LayeredView(live, version="v", added=1, added_chunks=sum(map(len, segments))))
    return store


def searches(store: Store, questions: Sequence[tuple[np.ndarray, str]], kind: str) -> Any:
    """Every question once, as one call."""

    async def run() -> None:
        for vector, text in questions:
            if kind == "vector":
                await store.search_vector(vector, K, EVERYONE)
            else:
                await store.search_text(text, K, EVERYONE)

    return lambda: LOOP.run_until_complete(run())


LOOP = asyncio.new_event_loop()


def search_costs(folder: Path, full: bool, rounds: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng(1)
    rows = rows_of(PROVEN, "p", rng)
    questions = [(row.vector, " ".join(row.text.split()[:6])) for row in rows_of(QUESTIONS, "q", rng)]
    proven = LOOP.run_until_complete(one_index(folder / "proven", rows))
    lines = []
    for added, sizes in {
        0: [],
        100: [64, 16, 16, 4],
        10_000: [8192, 1024, 512, 256, 16],
        **({100_000: [16_384] * 6 + [1600, 96]} if full else {}),
    }.items():
        more = rows_of(added, "a", rng)
        segments = segments_of(more, sizes)
        whole = proven if not added else LOOP.run_until_complete(one_index(folder / f"whole{added}", rows + more))
        layered = layers(proven, segments)
        for kind in ("vector", "keyword"):
            found = paired(searches(whole, questions, kind), searches(layered, questions, kind), rounds=rounds, warm_up=2)
            line = {"proven": PROVEN, "added": added, "segments": len(segments), "search": kind}
            line |= {"one_index_ms": round(found.first_ms / QUESTIONS, 3), "layered_ms": round(found.second_ms / QUESTIONS, 3)}
            lines.append(line | {"layered_to_one": round(1 / found.ratio, 2)})
            print(lines[-1], flush=True)
    return lines


MINILM = RagConfig.parse({"index": {"embedder": {"name": "local:minilm"}}})
NOTE = "# Note {number}\n\n" + "\n\n".join(
    f"Paragraph {part} of note {{number}} says that the kiosk opens at {part + 7} in the morning." for part in range(3)
)


async def upload_times(home: Path, added: int, uploads: int) -> dict[str, Any]:
    settings = PipelineSettings(home=home, documents=str(home / f"documents{added}"), _env_file=None)
    index = await ensure_index(Corpus.of("bench", [Document("a.md", "# A\n\nThe proven corpus.", "A")]), MINILM, settings=settings)
    one, other = (IndexedDocuments(open_documents(settings), MINILM, index) for _ in range(2))
    await filled(one, added)
    await one.refresh(), await other.refresh()
    assert other.view.added_chunks == added
    woken, ended = asyncio.Event(), asyncio.Event()

    async def index_when_woken() -> None:
        with Parser() as parser:
            while not ended.is_set():
                await woken.wait()
                woken.clear()
                await one.step(parser)

    async def poll() -> None:
        while not ended.is_set():
            await other.refresh()
            await asyncio.sleep(1.0)

    tasks = [asyncio.create_task(index_when_woken()), asyncio.create_task(poll())]
    here, there, chance = [], [], random.Random(1)
    for number in range(uploads):
        await asyncio.sleep(chance.uniform(0, 1))  # uploads come at any moment between two polls
        began = time.perf_counter()
        about = NewDocument(name=f"{number}.md", media_type="text/markdown")
        added_one = await asyncio.to_thread(one.documents.put, about, NOTE.format(number=number).encode())
        woken.set()
        for replica, times in ((one, here), (other, there)):
            while not await replica.store.slice(added_one.record.id, 0, 9, EVERYONE):  # noqa: ASYNC110 — that is what is timed
                await asyncio.sleep(0.005)
            times.append(time.perf_counter() - began)
    ended.set()
    woken.set()
    await asyncio.gather(*tasks)
    line = {"added_chunks": added, "uploads": uploads}
    line |= {"same_replica_p50_s": round(statistics.median(here), 2), "other_replica_p50_s": round(statistics.median(there), 2)}
    line |= {"other_replica_max_s": round(max(there), 2)}
    print(line, flush=True)
    return line


ARRIVAL = IndexingLimits(*[2**62] * 4)  # as it was: all that is missing, one after the other
LARGE_BYTES, SMALL = 2_000_000, 20


NOUNS = ("invoice", "kiosk", "ledger", "badge", "contract", "shipment", "refund", "audit", "policy", "warehouse", "licence", "meter")
VERBS = ("closes", "replaces", "approves", "follows", "covers", "confirms", "repeats", "delays", "cancels", "updates")


def large_text(seed: int, size: int) -> str:
    """Markdown of sections of sentences of made-up facts, no two alike."""
    chance = random.Random(seed)
    parts, length = [], 0
    while length < size:
        sentences = [
            f"The {chance.choice(NOUNS)} of {chance.choice(NOUNS)} {chance.randint(1, 10**6)} "
            f"{chance.choice(VERBS)} the {chance.choice(NOUNS)} within {chance.randint(2, 90)} days."
            for _ in range(chance.randint(4, 9))
        ]
        parts.append(f"## Section {len(parts)}\n\n" + " ".join(sentences) + "\n\n")
        length += len(parts[-1])
    return "".join(parts)


async def behind_times(home: Path, limits: IndexingLimits | None, seed: int, size: int) -> dict[str, float]:
    """Seconds until a large document, and small ones that came right after it, are found; and the large one again, a little changed."""
    settings = PipelineSettings(home=home, documents=str(home / f"behind{seed}"), _env_file=None)
    index = await ensure_index(Corpus.of("bench", [Document("a.md", "# A\n\nThe proven corpus.", "A")]), MINILM, settings=settings)
    served = IndexedDocuments(open_documents(settings), MINILM, index, limits=limits)
    large = NewDocument(id="wiki/large.md", name="large.md", collection="wiki")
    text = large_text(seed, size)
    waiting: dict[str, tuple[DocumentRecord, float]] = {}  # with when they were uploaded
    times: dict[str, float] = {}

    async def put(about: NewDocument, words: str) -> None:
        record = (await asyncio.to_thread(served.documents.put, about, words.encode())).record
        waiting[record.id] = (record, time.perf_counter())

    async def upload() -> None:
        for number in range(SMALL):
            await asyncio.sleep(0.5)
            await put(NewDocument(name=f"{number}.md"), NOTE.format(number=f"{number} of {seed}"))

    async def watch() -> None:
        while len(times) <= SMALL:
            for ident in [ident for ident, (record, _) in waiting.items() if served.holds(record)]:
                times[ident] = time.perf_counter() - waiting.pop(ident)[1]
            await asyncio.sleep(0.005)

    await put(large, text)
    began = time.process_time()
    with Parser() as parser:
        tasks = [asyncio.create_task(work) for work in (upload(), watch())]
        while len(times) <= SMALL:
            if not (await served.step(parser)).anything:
                await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        whole = times.pop(large.id)
        found = {"small_p50": statistics.median(times.values()), "small_max": max(times.values()), "large": whole}
        found["processor"] = time.process_time() - began
        if limits is None:  # as it was, each chunk was embedded again, which takes as long as the first time
            again = time.perf_counter()
            served.documents.put(large, text.replace("## Section 100\n\n", "## Section 100\n\nA new sentence. ").encode())
            await served.catch_up(parser)
            found["changed"] = time.perf_counter() - again
    return found


def behind_lines(home: Path, rounds: int, size: int) -> list[dict[str, Any]]:
    found: dict[str, list[dict[str, float]]] = {"arrival": [], "turns": []}
    for number in range(rounds):
        for place, (name, limits) in enumerate([("arrival", ARRIVAL), ("turns", None)]):
            found[name].append(LOOP.run_until_complete(behind_times(home, limits, 10 * number + place, size)))
            print(name, found[name][-1], flush=True)
    lines = []
    for name, runs in found.items():
        median = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        line = {"order": name, "rounds": rounds, "small_p50_s": round(median["small_p50"], 2), "small_max_s": round(median["small_max"], 2)}
        line |= {"large_s": round(median["large"], 1), "large_changed_s": round(median["changed"], 1) if "changed" in median else None}
        pairs = list(zip(runs, found["arrival"], strict=True))
        line |= {"small_p50_to_arrival": round(statistics.median(a["small_p50"] / b["small_p50"] for a, b in pairs), 3)}
        line |= {"large_to_arrival": round(statistics.median(a["large"] / b["large"] for a, b in pairs), 2)}
        lines.append(line | {"processor_to_arrival": round(statistics.median(a["processor"] / b["processor"] for a, b in pairs), 2)})
        print(lines[-1], flush=True)
    return lines


async def filled(served: IndexedDocuments, chunks: int) -> None:
    """A store with so many chunks of random directions, which is quicker than embedding them."""
    rows = rows_of(chunks, "bulk/", np.random.default_rng(2))
    names = sorted({row.chunk.document_id for row in rows})
    abouts = [NewDocument(id=name, name=f"{name}.md", collection="bulk") for name in names]
    for first in range(0, len(abouts), 200):
        served.documents.put_all([Addition(about, about.id.encode(), "text") for about in abouts[first : first + 200]])
    records = [served.documents.current.records[name] for name in names]
    documents = [IndexedDocument(record.id, record.content, CHUNKS_OF_ONE) for record in records]
    served.additions.replace((), pack_segment(served.additions.recipe, documents, rows))
    served.documents.advance([record.model_copy(update={"state": "ready", "chunks": CHUNKS_OF_ONE}) for record in records])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="also 100,000 added chunks (some minutes)")
    parser.add_argument("--behind", action="store_true", help="small documents behind a large one instead (minutes; a report of its own)")
    parser.add_argument("--bytes", type=int, default=LARGE_BYTES, help="of the large document")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--uploads", type=int, default=12)
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    if options.behind:
        write_behind(options.rounds or 1, options.bytes, options.out)
    else:
        write_additions(options.full, options.rounds or 30, options.uploads, options.out)


def write_behind(rounds: int, size: int, out: Path) -> None:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        lines = behind_lines(Path(folder), rounds, size)
    facts = machine("numpy", "onnxruntime")
    markdown = f"""# Small documents behind a large one

`python bench/additions.py --behind`; {machine_line(facts)}; load average before: {load:.1f}.

A Markdown file of {size / 1e6:g} MB and, every half second after it, one of three paragraphs, {SMALL} in all, embedded by MiniLM: seconds
from the upload of each until it is found, medians of the rounds, which take turns. `arrival`: everything in the order in which it came,
as it was before there were turns. `large_changed_s`: the large file again with one sentence more. The last three columns are ratios to
`arrival` in the same round; the last one, of the processor's time for all of it, does not depend on what else the machine does.

{table(list(lines[0]), [["–" if value is None else value for value in line.values()] for line in lines])}
"""
    write_report("additions_behind", {"machine": facts, "load_before": round(load, 1), "bytes": size, "behind": lines}, markdown, out)


def write_additions(full: bool, rounds: int, uploads: int, out: Path) -> None:
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        found = [LOOP.run_until_complete(upload_times(Path(folder), added, uploads)) for added in (100, 10_000)]
        costs = search_costs(Path(folder), full, rounds)
    facts = machine("lancedb", "numpy", "onnxruntime")
    data = {"machine": facts, "load_before": round(load, 1), "uploads": found, "search": costs}
    command = "python bench/additions.py" + (" --full" if full else "")
    markdown = f"""# Documents added beside a proven index

`{command}`; {machine_line(facts)}; load average before: {load:.1f}.

## From an upload to its being found

A Markdown file of three paragraphs, put into a store in a folder that has so many added chunks already; embedded by MiniLM. The other
replica looks at the store every second.

{table(list(found[0]), [list(line.values()) for line in found])}

## What a search in two layers costs

Milliseconds a question, medians of {rounds} rounds in which both answer the same {QUESTIONS} questions in turn; the last
column is the median of the ratios. With nothing added the layered store hands every call on.

{table(list(costs[0]), [list(line.values()) for line in costs])}
"""
    write_report("additions", data, markdown, out)


if __name__ == "__main__":
    main()
