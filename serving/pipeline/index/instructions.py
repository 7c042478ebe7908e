"""Scores each chunk once, when it is indexed: how surely it gives orders to the model that will read it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from serving.pipeline.checks.grounding.embedder import SentenceEmbedder
from serving.pipeline.checks.injection.detector import InjectionDetector, stored_score
from serving.pipeline.index.base import Vectors
from serving.pipeline.types import Chunk


class InstructionScores:
    """Gives chunks their scores, beside the event loop."""

    def __init__(self, embedder: SentenceEmbedder) -> None:
        self._detector = InjectionDetector(embedder)

    async def of(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[Chunk]:
        """The chunks with their scores; `vectors` are those of the index, so that only sentences are embedded again."""
        return await asyncio.to_thread(self._scored, chunks, vectors)

    def _scored(self, chunks: Sequence[Chunk], vectors: Vectors) -> list[Chunk]:
        return [
            replace(chunk, instruction_score=stored_score(self._detector.in_passage(chunk.text, vector)))
            for chunk, vector in zip(chunks, vectors, strict=True)
        ]
