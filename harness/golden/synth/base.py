"""What a generator of proposals promises."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from harness.golden.candidate import Proposal, ReviewNote
from serving.pipeline.tenant_groups import groups_let_in
from serving.pipeline.types import PUBLIC, Document, Usage


@dataclass(frozen=True, slots=True)
class GeneratedProposal:
    """A proposal, the template or model that made it, and what a reviewer should know."""

    proposal: Proposal
    by: str
    document: str
    marks: tuple[ReviewNote, ...] = ()


@dataclass(frozen=True, slots=True)
class SynthesisStep:
    """What one step gave: proposals, what was left out and why, and what was paid."""

    proposed: tuple[GeneratedProposal, ...]
    skipped: tuple[str, ...] = ()
    usage: tuple[Usage, ...] = ()


def askers_groups(document: Document) -> tuple[str, ...]:
    """The groups with which a case asks for a document; a case asks as nobody's tenant."""
    return tuple(sorted(groups_let_in(document.groups, document.tenant, PUBLIC)))


class Generator(Protocol):
    """Proposes questions about documents, a few at a time, so that what came is kept when the rest fails."""

    def steps(self, documents: Sequence[Document], count: int, seed: int) -> AsyncIterator[SynthesisStep]: ...
