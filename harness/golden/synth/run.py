"""From a generator into the queue: every proposal is measured, written down with where it came from, and kept at once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from harness.golden.candidate import Candidate, Provenance
from harness.golden.queue import Queue
from harness.golden.synth.base import Generator
from harness.golden.synth.trivial import KeywordSearch
from serving.pipeline.types import Document, Usage

Progress = Callable[[int, int], None]  # proposals so far, proposals wanted


@dataclass(slots=True)
class Harvest:
    """What a run gave."""

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

    async def run(self, documents: Sequence[Document], count: int, seed: int, harvest: Harvest, progress: Progress | None = None) -> None:
        """Fill the harvest; what an interruption finds there is in the queue as well."""
        done = 0
        async for turn in self.generator.turns(documents, count, seed):
            made = [
                Candidate.of(
                    one.proposal,
                    Provenance(source="synth", made_at=self.clock(), by=one.by, document=one.document, golden=self.golden),
                    (*one.marks, *await self.search.marks(one.proposal)),
                )
                for one in turn.proposed
            ]
            added = self.queue.add(made) if self.queue else None
            harvest.candidates += added.new if added else made
            harvest.known += added.known if added else ()
            harvest.skipped += turn.skipped
            harvest.usage += turn.usage
            done += len(made)
            if progress:
                progress(done, count)
