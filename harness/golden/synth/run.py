"""From a generator into the queue: each proposal is marked, gets its provenance, and is queued at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.golden.candidate import Candidate, Provenance
from harness.golden.queue import Queue
from harness.golden.synth.base import Generator
from harness.golden.synth.trivial import KeywordSearch
from serving.pipeline.progress import Progress
from serving.pipeline.types import Document, Usage


@dataclass(slots=True)
class SynthesisResult:
    """The candidates, skipped proposals and usage of a run."""

    candidates: list[Candidate] = field(default_factory=list)
    known: list[Candidate] = field(default_factory=list)  # in the queue already
    skipped: list[str] = field(default_factory=list)
    usage: list[Usage] = field(default_factory=list)

    @property
    def usd(self) -> float:
        """What the calls cost, as far as prices are known."""
        return sum(usage.usd for usage in self.usage)

    @property
    def priced(self) -> bool:
        """Whether `usd` is the whole cost."""
        return all(usage.priced for usage in self.usage)


@dataclass(frozen=True)
class Synthesis:
    """Where proposals come from and go to; without a queue they are only shown."""

    generator: Generator
    search: KeywordSearch
    queue: Queue | None
    golden: str
    clock: Callable[[], str]

    async def run(
        self, documents: Sequence[Document], count: int, seed: int, result: SynthesisResult, progress: Progress | None = None
    ) -> None:
        """Fill the result step by step; after an interruption, everything in it is in the queue as well."""
        done = 0
        async for step in self.generator.steps(documents, count, seed):
            candidates = [
                Candidate.of(
                    proposed.proposal,
                    Provenance(source="synth", made_at=self.clock(), by=proposed.by, document=proposed.document, golden=self.golden),
                    (*proposed.marks, *await self.search.marks(proposed.proposal)),
                )
                for proposed in step.proposed
            ]
            added = self.queue.add(candidates) if self.queue else None
            result.candidates += added.new if added else candidates
            result.known += added.known if added else ()
            result.skipped += step.skipped
            result.usage += step.usage
            done += len(candidates)
            if progress:
                progress(done, count)
