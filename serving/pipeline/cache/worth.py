"""Which questions are looked up, which answers are worth keeping, and whether a kept one still stands."""

import asyncio
from collections.abc import Sequence

from serving.pipeline.cache.base import CacheEntry
from serving.pipeline.guard.advice import FAILED
from serving.pipeline.guard.chain import GuardResult
from serving.pipeline.index.base import Filter, Store
from serving.pipeline.types import Answer, Chunk, GuardAction, GuardVerdict, Query


def unfit_question(query: Query, checked: GuardResult) -> str:
    """Why a question is neither looked up nor its answer kept; empty where it may be: a word of `MISSES`."""
    if query.history:
        return "history"
    if checked.action is GuardAction.MASK:  # what stands in a mask's place is of this asker alone
        return "masked"
    return "" if checked.action is GuardAction.ALLOW else "flagged"


def worth_keeping(answer: Answer, verdicts: Sequence[GuardVerdict]) -> bool:
    """Whether an answer may be given again: a whole one that nothing was found against, and that no failed check left unchecked."""
    if answer.refused or answer.truncated or answer.degraded or answer.warnings:
        return False
    return all(
        verdict.rule not in FAILED and (verdict.side != "output" or verdict.action is GuardAction.ALLOW)  # a blocked passage was not read
        for verdict in verdicts
    )


async def still_stands(entry: CacheEntry, store: Store, where: Filter) -> bool:
    """Whether everything that an answer was written from is there, unchanged and readable for whoever asks now."""
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
    """Whether a passage is what is stored, or the beginning of it: the last one of a prompt may have been cut to fit."""
    return (
        stored is not None
        and (chunk.id, chunk.start) == (stored.id, stored.start)
        and stored.text.startswith(chunk.text)
        and (chunk.tenant, chunk.groups) == (stored.tenant, stored.groups)
    )
