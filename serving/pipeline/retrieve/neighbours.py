"""Expands hits by their neighbouring chunks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.pipeline.index.base import Filter, Store
from serving.pipeline.types import Chunk, Hit


@dataclass(frozen=True, slots=True)
class ExpandedHits:
    """Hits with their neighbours, and the number of chunks added."""

    hits: tuple[Hit, ...]
    added: int


async def add_neighbours(hits: Sequence[Hit], neighbours: int, store: Store, where: Filter) -> ExpandedHits:
    """Each hit joined with up to `neighbours` chunks on each side; what overlaps or touches within a document becomes one hit.

    A joined text is an exact slice of its document. Chunks are cut without the white space between them, so two that do
    not touch cannot be joined exactly; such a neighbour becomes a hit of its own, right after the one it belongs to.
    """
    if not neighbours or not hits:
        return ExpandedHits(tuple(hits), 0)

    async def neighbours_of(chunk: Chunk) -> list[Chunk]:
        if not _has_span(chunk):
            return []
        return await store.slice(chunk.document_id, chunk.ordinal - neighbours, chunk.ordinal + neighbours, where)

    neighbour_lists = await asyncio.gather(*(neighbours_of(hit.chunk) for hit in hits))
    hit_ids = {hit.chunk.id for hit in hits}
    source_hit: dict[str, Hit] = {hit.chunk.id: hit for hit in reversed(hits)}  # chunk id → the best hit that it belongs to
    chunks: dict[str, Chunk] = {hit.chunk.id: hit.chunk for hit in hits}
    for hit, neighbour_list in zip(hits, neighbour_lists, strict=True):
        for chunk in neighbour_list:
            chunks.setdefault(chunk.id, chunk)
            source_hit.setdefault(chunk.id, hit)
    position = {hit.chunk.id: number for number, hit in enumerate(hits)}

    def order(run: Sequence[Chunk]) -> tuple[int, bool, int]:
        best = min(position[source_hit[chunk.id].chunk.id] for chunk in run)
        return best, hits[best].chunk.id not in {chunk.id for chunk in run}, run[0].start

    runs = sorted(_runs(list(chunks.values())), key=order)
    expanded = [_join(run, hits[order(run)[0]]) for run in runs]
    return ExpandedHits(tuple(expanded), len(chunks) - len(hit_ids))


def _runs(chunks: list[Chunk]) -> list[list[Chunk]]:
    """Chunks of one document that overlap or touch, in groups."""
    runs: list[list[Chunk]] = []
    end = 0
    for chunk in sorted(chunks, key=lambda chunk: (chunk.document_id, chunk.start, chunk.end, chunk.id)):
        same_document = bool(runs) and runs[-1][0].document_id == chunk.document_id and chunk.start <= end
        if same_document and _has_span(chunk) and _has_span(runs[-1][-1]):
            runs[-1].append(chunk)
            end = max(end, chunk.end)
        else:
            runs.append([chunk])
            end = chunk.end
    return runs


def _has_span(chunk: Chunk) -> bool:
    """Whether a chunk is a slice of its document; one found by a retriever of another package may not be."""
    return chunk.end > chunk.start


def _join(run: Sequence[Chunk], hit: Hit) -> Hit:
    """One hit for a run: the text by offsets, the rest of the best chunk in it."""
    start, text = run[0].start, run[0].text
    for chunk in run[1:]:
        text += chunk.text[max(0, start + len(text) - chunk.start) :]
    end = start + len(text)
    base = next((chunk for chunk in run if chunk.id == hit.chunk.id), run[0])
    if len(run) == 1:
        return replace(hit, chunk=base)
    worst = max(chunk.instruction_score for chunk in run)  # an order in any of them is one in the whole
    joined = replace(base, id=f"{base.document_id}#{start}-{end}", start=start, end=end, text=text, instruction_score=worst)
    return replace(hit, chunk=joined)
