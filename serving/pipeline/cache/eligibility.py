"""Cache eligibility: which questions are looked up, which answers may be cached, and whether a cached one is still valid."""

import asyncio
from collections.abc import Sequence

from serving.pipeline.cache.base import CacheEntry
from serving.pipeline.guard.advice import FAILED
from serving.pipeline.guard.chain import GuardResult
from serving.pipeline.index.base import Filter, Store
from serving.pipeline.types import Answer, Chunk, GuardAction, GuardVerdict, Query


def bypass_reason(query: Query, checked: GuardResult) -> str:
    """Why a question bypasses the cache, a key of `MISS_REASONS`; empty where it does not."""
    if query.history:
        return "history"
    if checked.action is GuardAction.MASK:  # the masked values are this caller's alone
        return "masked"
    return "" if checked.action is GuardAction.ALLOW else "flagged"


def is_cacheable(answer: Answer, verdicts: Sequence[GuardVerdict]) -> bool:
    """Whether an answer may be cached: it is complete, no output check found anything, and no check failed to run."""
    if answer.refused or answer.truncated or answer.degraded or answer.warnings:
        return False
    return all(
        verdict.rule not in FAILED and (verdict.side != "output" or verdict.action is GuardAction.ALLOW)  # a blocked passage was not read
        for verdict in verdicts
    )


async def is_still_valid(entry: CacheEntry, store: Store, where: Filter) -> bool:
    """Whether every passage that a cached answer was written from still exists unchanged and may be read by the caller."""
    by_document: dict[str, list[Chunk]] = {}
    for hit in entry.passages:
        by_document.setdefault(hit.chunk.document_id, []).append(hit.chunk)
    return all(await asyncio.gather(*(_readable(document, chunks, store, where) for document, chunks in by_document.items())))


async def _readable(document: str, chunks: Sequence[Chunk], store: Store, where: Filter) -> bool:
    ordinals = [chunk.ordinal for chunk in chunks]
    stored = await store.slice(document, min(ordinals), max(ordinals), where)
    by_ordinal = {chunk.ordinal: chunk for chunk in stored}
    return all(_same(chunk, by_ordinal.get(chunk.ordinal)) for chunk in chunks)


def _same(chunk: Chunk, stored: Chunk | None) -> bool:
    """Whether a passage is the stored chunk, or its beginning: the last passage of a prompt may have been cut to fit."""
    return (
        stored is not None
        and (chunk.id, chunk.start) == (stored.id, stored.start)
        and stored.text.startswith(chunk.text)
        and (chunk.tenant, chunk.groups) == (stored.tenant, stored.groups)
    )
