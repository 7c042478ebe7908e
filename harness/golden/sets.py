"""Golden sets: questions whose answers and evidence are known, versioned, sealed and split."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field

from harness.golden.case import Case, GoldenModel
from serving.pipeline.digest import digest_text
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import near

SplitName = Literal["tune", "holdout"]
HINTS = 20  # unknown documents for which a like name is sought, each among all names of the corpus


class Card(GoldenModel):
    """The front matter of CARD.md: what the set is and how it is split."""

    name: str
    version: int = Field(ge=1)
    corpus: str
    licence: str = ""
    salt: str = "touchstone"
    holdout_share: float = Field(default=0.4, gt=0.0, lt=1.0)


@dataclass(frozen=True, slots=True)
class Split:
    """Some cases of a golden set; what a thing was scored on."""

    golden: str  # techcorp/v1
    name: str
    cases: tuple[Case, ...]
    golden_digest: str

    @property
    def digest(self) -> str:
        """Digest of the set and of which of its cases these are."""
        return digest_text("\n".join([self.golden_digest, self.name, *(case.id for case in self.cases)]))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.golden} {self.name}: {len(self.cases)} cases>"

    def head(self, count: int | None) -> "Split":
        """The first cases in the split's own fixed order; all of them for `None`."""
        if count is None:
            return self
        if not isinstance(count, int) or count < 1:
            raise ConfigError(f"cases is a whole number from 1, not {count!r}.")
        return type(self)(self.golden, self.name, self.cases[:count], self.golden_digest)


class TuneSplit(Split):
    """The cases a search may look at as often as it likes; a sweep takes nothing else."""

    __slots__ = ()


class HoldoutSplit(Split):
    """The cases that prove a winner; every look is written down."""

    __slots__ = ()


@dataclass(frozen=True)
class GoldenSet:
    """A version of a golden set, checked against itself; `check` checks it against its corpus."""

    folder: Path
    card: Card
    cases: tuple[Case, ...]
    lines: dict[str, int]  # case id → line of cases.jsonl
    digest: str

    @property
    def id(self) -> str:
        """Name and version: techcorp/v1."""
        return f"{self.card.name}/v{self.card.version}"

    def __repr__(self) -> str:
        return f"<GoldenSet {self.id} over {self.card.corpus}: {len(self.cases)} cases>"

    def tune(self) -> TuneSplit:
        """The cases for searching."""
        return TuneSplit(self.id, "tune", tuple(case for case in self._shuffled if not self._held_out(case)), self.digest)

    def holdout(self, *, why: str, ledger: Path) -> HoldoutSplit:
        """The cases for proving; the look is appended to the ledger."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        ledger.parent.mkdir(parents=True, exist_ok=True)
        with ledger.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"at": now, "golden": self.id, "digest": self.digest, "why": why}) + "\n")
        return HoldoutSplit(self.id, "holdout", tuple(case for case in self._shuffled if self._held_out(case)), self.digest)

    def all(self, *, why: str, ledger: Path) -> Split:
        """Every case; a look at the holdout like any other."""
        self.holdout(why=why, ledger=ledger)
        return Split(self.id, "all", self._shuffled, self.digest)

    def split(self, name: SplitName | Literal["all"], *, why: str, ledger: Path) -> Split:
        """The cases of this name; a look at the holdout is appended to the ledger."""
        if name == "tune":
            return self.tune()
        if name not in ("holdout", "all"):
            raise ConfigError(f"No split {name!r}. Known: tune, holdout, all.")
        look = self.holdout if name == "holdout" else self.all
        return look(why=why, ledger=ledger)

    def split_digest(self, name: str) -> str:
        """The digest of a split (tune, holdout, all); to know it is no look at the holdout."""
        cases = tuple(case for case in self._shuffled if name in ("all", self.split_of(case)))
        return Split(self.id, name, cases, self.digest).digest

    def split_of(self, case: Case) -> SplitName:
        """Which split a case falls into; to know it is no look at the holdout."""
        return "holdout" if self._held_out(case) else "tune"

    @cached_property
    def _shuffled(self) -> tuple[Case, ...]:
        """Every case in an order that mixes kinds and stays when cases are added."""
        return tuple(sorted(self.cases, key=lambda case: self._hash("order", case.id)))

    def _held_out(self, case: Case) -> bool:
        if case.pinned == "tune":
            return False
        return self._hash("split", case.group or case.id) / 2**64 < self.card.holdout_share

    def _hash(self, purpose: str, word: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.card.salt}:{purpose}:{word}".encode()).digest()[:8], "big")

    def check(self, corpus: Corpus) -> list[str]:
        """What contradicts the corpus, a line each, with file and line number; empty when nothing does."""
        return list(self._problems(corpus))

    def _problems(self, corpus: Corpus) -> Iterator[str]:
        documents = {document.id: document for document in corpus.documents}
        hints = HINTS
        for case in self.cases:
            where = f"{self.folder / 'cases.jsonl'}:{self.lines[case.id]}: case {case.id!r}"
            for name in case.documents:
                if name not in documents:
                    yield f"{where}: no document {name!r} in corpus {corpus.name!r}.{near(name, list(documents)) if hints > 0 else ''}"
                    hints -= 1
            for evidence in case.evidence:
                document = documents.get(evidence.document)
                if document is None:
                    continue
                if evidence.start < 0:
                    yield f"{where}: evidence without offsets. Run: touchstone golden seal {self.id}"
                elif document.text[evidence.start : evidence.end] != evidence.quote:
                    text = document.text[evidence.start : evidence.end]
                    place = f"{evidence.document}[{evidence.start}:{evidence.end}]"
                    yield f"{where}: {place} reads {text[:60]!r}, not {evidence.quote[:60]!r}."

    def counts(self, field: Literal["domain", "kind", "difficulty"]) -> dict[str, int]:
        """How many cases there are of each domain, kind or difficulty."""
        return dict(sorted(Counter(str(getattr(case, field)) for case in self.cases).items()))
