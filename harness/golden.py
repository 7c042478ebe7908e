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

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from serving.pipeline.digest import digest_text, sha256_file
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.registry import explain, near
from serving.pipeline.types import Principal, Query, Span

Kind = Literal["factoid", "multi-hop", "comparison", "aggregation", "exact-code", "temporal", "unanswerable", "paraphrase"]
SEALED = ("cases.jsonl", "CARD.md")


class Row(BaseModel):
    """Something read from a golden file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Evidence(Row):
    """The words in a source document that answer the question, and where they stand."""

    document: str
    quote: str = Field(min_length=1)
    start: int = Field(default=-1, ge=-1)  # -1: not located yet, `touchstone golden seal` fills it in
    end: int = Field(default=-1, ge=-1)

    @property
    def span(self) -> Span:
        """Where the words stand."""
        return Span(self.document, self.start, self.end)


class Case(Row):
    """One question with what is known about its answer."""

    id: str = Field(min_length=1)
    question: str = Field(min_length=1)
    answers: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    relevant_ids: tuple[str, ...] = ()  # documents, where no spans are known
    key_facts: tuple[str, ...] = ()  # what a right answer must contain, as the documents write it
    answerable: bool = True
    domain: str = "general"
    kind: Kind = "factoid"
    difficulty: Literal["easy", "hard"] = "easy"
    group: str = ""  # cases that ask the same thing in other words share it, and so share their split
    principal_groups: tuple[str, ...] = ()  # what the asker may read beyond the public
    provenance: str = ""
    reviewer: str = ""

    @model_validator(mode="after")
    def _flags_agree(self) -> "Case":
        if self.answerable and not self.answers:
            raise ValueError("an answerable case needs at least one reference in 'answers'")
        if self.answerable and not (self.evidence or self.relevant_ids):
            raise ValueError("an answerable case needs 'evidence' or 'relevant_ids'")
        if not self.answerable and (self.answers or self.evidence or self.key_facts):
            raise ValueError("an unanswerable case has no 'answers', 'evidence' or 'key_facts'")
        if (self.kind == "unanswerable") == self.answerable:
            raise ValueError("'kind' unanswerable and 'answerable' contradict each other")
        if any(not answer.strip() for answer in self.answers):
            raise ValueError("an empty reference in 'answers'")
        return self

    @property
    def documents(self) -> tuple[str, ...]:
        """The documents that hold the answer, each once, in order."""
        return tuple(dict.fromkeys([*(evidence.document for evidence in self.evidence), *self.relevant_ids]))

    @property
    def query(self) -> Query:
        """The case as its asker would put it."""
        return Query(self.question, Principal(id="golden", groups=frozenset(self.principal_groups)), id=self.id)


class Card(Row):
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

    def head(self, count: int | None) -> "Split":
        """The first cases in the split's own fixed order; all of them for `None`."""
        return self if count is None else type(self)(self.golden, self.name, self.cases[:count], self.golden_digest)


class TuneSplit(Split):
    """The cases a search may look at as often as it likes; a sweep takes nothing else."""

    __slots__ = ()


class HoldoutSplit(Split):
    """The cases that prove a winner; every look is written down."""

    __slots__ = ()


@dataclass(frozen=True)
class GoldenSet:
    """A version of a golden set, checked against itself; `check` holds it against its corpus."""

    folder: Path
    card: Card
    cases: tuple[Case, ...]
    lines: dict[str, int]  # case id → line of cases.jsonl
    digest: str

    @property
    def id(self) -> str:
        """Name and version: techcorp/v1."""
        return f"{self.card.name}/v{self.card.version}"

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

    @cached_property
    def _shuffled(self) -> tuple[Case, ...]:
        """Every case in an order that mixes kinds and stays when cases are added."""
        return tuple(sorted(self.cases, key=lambda case: self._hash("order", case.id)))

    def _held_out(self, case: Case) -> bool:
        return self._hash("split", case.group or case.id) / 2**64 < self.card.holdout_share

    def _hash(self, purpose: str, word: str) -> int:
        return int.from_bytes(hashlib.sha256(f"{self.card.salt}:{purpose}:{word}".encode()).digest()[:8], "big")

    def check(self, corpus: Corpus) -> list[str]:
        """What contradicts the corpus, a line each, with file and line number; empty when nothing does."""
        return list(self._problems(corpus))

    def _problems(self, corpus: Corpus) -> Iterator[str]:
        documents = {document.id: document for document in corpus.documents}
        for case in self.cases:
            where = f"{self.folder / 'cases.jsonl'}:{self.lines[case.id]}: case {case.id!r}"
            for name in case.documents:
                if name not in documents:
                    yield f"{where}: no document {name!r} in corpus {corpus.name!r}.{near(name, list(documents))}"
            for evidence in case.evidence:
                document = documents.get(evidence.document)
                if document is None:
                    continue
                if evidence.start < 0:
                    yield f"{where}: evidence without offsets. Run: touchstone golden seal {self.id}"
                elif document.text[evidence.start : evidence.end] != evidence.quote:
                    found = document.text[evidence.start : evidence.end]
                    place = f"{evidence.document}[{evidence.start}:{evidence.end}]"
                    yield f"{where}: {place} reads {found[:60]!r}, not {evidence.quote[:60]!r}."

    def counts(self, field: Literal["domain", "kind", "difficulty"]) -> dict[str, int]:
        """How many cases there are of each domain, kind or difficulty."""
        return dict(sorted(Counter(str(getattr(case, field)) for case in self.cases).items()))


def golden_sets(root: Path) -> list[str]:
    """The names of all golden sets below `datasets/`, as name/vN."""
    cards = sorted((root / "golden").glob("*/v*/cases.jsonl"))
    return [f"{card.parent.parent.name}/{card.parent.name}" for card in cards]


def load_golden(root: Path, name: str, *, sealed: bool = True) -> GoldenSet:
    """Load `datasets/golden/<name>/v<N>`; the newest version when `name` has none."""
    known = golden_sets(root)
    if "/" not in name:
        versions = [other for other in known if other.split("/")[0] == name]
        name = max(versions, key=lambda other: int(other.rsplit("/v", 1)[1]), default=name)
    folder = root / "golden" / name
    if not (folder / "cases.jsonl").is_file():
        raise DataError(f"No golden set {name!r}.{near(name, known)} Known: {', '.join(known) or 'none'}. A set is a folder {folder}/.")
    if sealed:
        _verify(folder, name)
    cases, lines = _read_cases(folder / "cases.jsonl")
    if not cases:
        raise DataError(f"{folder / 'cases.jsonl'}: no cases.")
    return GoldenSet(folder, _read_card(folder / "CARD.md"), tuple(cases), lines, sha256_file(folder / "cases.jsonl")[:16])


def _verify(folder: Path, name: str) -> None:
    mend = f"If the change is meant, run: touchstone golden seal {name}"
    sums = folder / "SHA256"
    if not sums.is_file():
        raise DataError(f"{folder} has no SHA256 file. Run: touchstone golden seal {name}")
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        digest, _, file = line.partition("  ")
        if file not in SEALED or not (folder / file).is_file():
            raise DataError(f"{sums}: {line!r} names no file of the set. {mend}")
        if sha256_file(folder / file) != digest:
            raise DataError(f"{folder / file} is not what {sums} says. {mend}")
    if missing := set(SEALED) - {line.partition("  ")[2] for line in lines}:
        raise DataError(f"{sums} has no sum of {', '.join(sorted(missing))}. {mend}")


def _read_cases(path: Path) -> tuple[list[Case], dict[str, int]]:
    cases: list[Case] = []
    lines: dict[str, int] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):  # quotes may hold other line separators, which JSON keeps
        if not line.strip():
            continue
        try:
            case = Case.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}.") from None
        except ValidationError as error:
            raise DataError(explain(error, f"{path}:{number}", list(Case.model_fields))) from None
        if case.id in lines:
            raise DataError(f"{path}:{number}: case id {case.id!r} stands in line {lines[case.id]} already.")
        cases.append(case)
        lines[case.id] = number
    return cases, lines


def _read_card(path: Path) -> Card:
    try:
        text = path.read_text(encoding="utf-8")
        _, head, _ = text.split("---\n", 2)
        return Card.model_validate(yaml.safe_load(head))
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}: a golden set needs a card that names its corpus.") from None
    except ValidationError as error:
        raise DataError(explain(error, str(path), list(Card.model_fields))) from None
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: front matter between two lines '---' is needed: {error}") from None
