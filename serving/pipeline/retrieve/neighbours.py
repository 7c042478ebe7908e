"""Widens hits by the chunks around them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from serving.pipeline.index.base import Filter, Store
from serving.pipeline.types import Chunk, Hit


@dataclass(frozen=True, slots=True)
class Widened:
    """Hits with their neighbours, and how many chunks those were."""

    hits: tuple[Hit, ...]
    added: int


async def widen(hits: Sequence[Hit], neighbours: int, store: Store, where: Filter) -> Widened:
    """Each hit joined with up to `neighbours` chunks on each side; what overlaps or touches within a document becomes one hit.

    A joined text is an exact slice of its document. Chunks are cut without the white space between them, so two that do
    not touch cannot be joined exactly; such a neighbour becomes a hit of its own, right after the one it belongs to.
    """
    if not neighbours or not hits:
        return Widened(tuple(hits), 0)

    async def near(chunk: Chunk) -> list[Chunk]:
        if not _placed(chunk):
            return []
        return await store.slice(chunk.document_id, chunk.ordinal - neighbours, chunk.ordinal + neighbours, where)

    around = await asyncio.gather(*(near(hit.chunk) for hit in hits))
    own = {hit.chunk.id for hit in hits}
    first: dict[str, Hit] = {hit.chunk.id: hit for hit in reversed(hits)}  # chunk → the best hit that brought it
    chunks: dict[str, Chunk] = {hit.chunk.id: hit.chunk for hit in hits}
    for hit, found in zip(hits, around, strict=True):
        for chunk in found:
            chunks.setdefault(chunk.id, chunk)
            first.setdefault(chunk.id, hit)
    place = {hit.chunk.id: number for number, hit in enumerate(hits)}

    def order(run: Sequence[Chunk]) -> tuple[int, bool, int]:
        best = min(place[first[chunk.id].chunk.id] for chunk in run)
        return best, hits[best].chunk.id not in {chunk.id for chunk in run}, run[0].start

    runs = sorted(_runs(list(chunks.values())), key=order)
    widened = [_join(run, hits[order(run)[0]]) for run in runs]
    return Widened(tuple(widened), len(chunks) - len(own))


def _runs(chunks: list[Chunk]) -> list[list[Chunk]]:
    """Chunks of one document that overlap or touch, in groups."""
    runs: list[list[Chunk]] = []
    end = 0
    for chunk in sorted(chunks, key=lambda one: (one.document_id, one.start, one.end, one.id)):
        joins = bool(runs) and runs[-1][0].document_id == chunk.document_id and chunk.start <= end
        if joins and _placed(chunk) and _placed(runs[-1][-1]):
            runs[-1].append(chunk)
            end = max(end, chunk.end)
        else:
            runs.append([chunk])
            end = chunk.end
    return runs


def _placed(chunk: Chunk) -> bool:
    """Whether a chunk is a slice of its document; what a retriever of another package found may have no place in one."""
    return chunk.end > chunk.start


def _join(run: Sequence[Chunk], hit: Hit) -> Hit:
    """One hit for a run: the text by offsets, the rest of the best chunk in it."""
    start, text = run[0].start, run[0].text
    for chunk in run[1:]:
        text += chunk.text[max(0, start + len(text) - chunk.start) :]
    end = start + len(text)
    kept = next((chunk for chunk in run if chunk.id == hit.chunk.id), run[0])
    if len(run) == 1:
        return replace(hit, chunk=kept)
    return replace(hit, chunk=replace(kept, id=f"{kept.document_id}#{start}-{end}", start=start, end=end, text=text))
