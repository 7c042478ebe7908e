"""What is wrong with a golden set, what is doubtful, and what difference it can show."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.golden.case import Case
from harness.golden.check_alike import SAME_MEANING, AlikePair, leaks, same_words, similar_words
from harness.golden.sets import GoldenSet, SplitName
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.types import PUBLIC

INDEPENDENT = math.sqrt(0.5)  # deviation of the difference of two rates of one half when neither run tells of the other
POINTS = 0.05  # the difference whose price in cases is told
FEW = 5  # cases of a domain or kind below which its slice says nothing
FIELDS: tuple[Literal["domain", "kind"], ...] = ("domain", "kind")
SPLITS: tuple[SplitName, ...] = ("tune", "holdout")


@dataclass(frozen=True, slots=True)
class Findings:
    """Problems make a set unfit; warnings are for its owner to judge."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sight:
    """How small a difference of a rate a split shows, four times in five."""

    split: str
    cases: int
    detectable: float | None  # None: the split is too small for any; up to 1


@dataclass(frozen=True, slots=True)
class Balance:
    """How many cases of a domain or kind fall into each split."""

    field: str
    value: str
    tune: int
    holdout: int


def examine_set(golden: GoldenSet, corpus: Corpus, vectors: Vectors | None = None, *, alike: float = SAME_MEANING) -> Findings:
    """Everything that is checked; without vectors of the questions the splits are not compared by meaning."""
    problems = [*unfit(golden, corpus), *(f"{golden.id}: {problem}" for problem in _empty_splits(golden))]
    warnings = [_pair(golden, pair, f"shares {pair.alike:.0%} of its words with") for pair in similar_words(golden.cases)]
    if vectors is not None:
        warnings += [
            _pair(golden, pair, f"is in the holdout and asks (cosine {pair.alike:.3f}) what is asked in tune by")
            for pair in leaks(golden, vectors, alike)
        ]
    warnings += [f"{golden.id}: {warning}" for warning in _thin(golden)]
    return Findings(tuple(problems), tuple(warnings))


def unfit(golden: GoldenSet, corpus: Corpus) -> list[str]:
    """Every problem but an empty split, which more cases may mend."""
    problems = [*_card(golden), *golden.check(corpus), *_unreadable(golden, corpus), *_groups(golden)]
    return problems + [_pair(golden, pair, "asks the same, word for word, as") for pair in same_words(golden.cases)]


def sights(golden: GoldenSet) -> list[Sight]:
    """What each split can show of a rate, at the worst: one half right, and two configurations that are right independently."""
    from harness.stats import minimum_detectable

    found: list[Sight] = []
    for split, count in split_sizes(golden).items():
        size = minimum_detectable(INDEPENDENT, count)
        found.append(Sight(split, count, size if size <= 1.0 else None))
    return found


def cases_for_five_points() -> int:
    """How many cases show a difference of five points at the worst."""
    from harness.stats import cases_needed

    return cases_needed(INDEPENDENT, POINTS)


def split_sizes(golden: GoldenSet) -> dict[str, int]:
    """How many cases each split has."""
    sizes = Counter(golden.split_of(case) for case in golden.cases)
    return {split: sizes[split] for split in SPLITS}


def balance(golden: GoldenSet) -> list[Balance]:
    """How domains and kinds fall into the splits."""
    counts = Counter((field, str(getattr(case, field)), golden.split_of(case)) for case in golden.cases for field in FIELDS)
    values = sorted({(FIELDS.index(field), field, value) for field, value, _ in counts})
    return [Balance(field, value, counts[field, value, "tune"], counts[field, value, "holdout"]) for _, field, value in values]


def _place(golden: GoldenSet, case: Case) -> str:
    return f"{golden.folder / 'cases.jsonl'}:{golden.lines[case.id]}: case {case.id!r}"


def _pair(golden: GoldenSet, pair: AlikePair, says: str) -> str:
    other = f"{pair.first.id!r} (line {golden.lines[pair.first.id]})"
    mend = f"If they ask the same, give both one 'group': {pair.first.group or pair.first.id!r}."
    return f"{_place(golden, pair.second)} {says} {other}: {_short(pair.second)} / {_short(pair.first)}. {mend}"


def _short(case: Case) -> str:
    return repr(case.question if len(case.question) <= 70 else f"{case.question[:69]}…")


def _card(golden: GoldenSet) -> Iterator[str]:
    place = f"{golden.folder.parent.name}/{golden.folder.name}"
    if golden.id != place:
        yield f"{golden.folder / 'CARD.md'}: says {golden.id}, but stands in {place}. Mend 'name' and 'version', then seal it."


def _unreadable(golden: GoldenSet, corpus: Corpus) -> Iterator[str]:
    """Answers that the asker may never find: the documents are closed to them."""
    documents = {document.id: document for document in corpus.documents}
    for case in golden.cases:
        for name in case.documents if case.answerable else ():
            document = documents.get(name)
            if document is None:
                continue
            if document.tenant != PUBLIC:
                yield f"{_place(golden, case)}: {name!r} belongs to tenant {document.tenant!r}, which no case can ask as."
            elif document.groups and not set(document.groups) & set(case.principal_groups):
                names = ", ".join(document.groups)
                yield f"{_place(golden, case)}: the asker may not read {name!r}. Add one of its groups to 'principal_groups': {names}."


def _groups(golden: GoldenSet) -> Iterator[str]:
    """Cases of one group ask the same thing: one split holds them all, and the same asker gets an answer to all or to none."""
    first: dict[tuple[str, ...], Case] = {}
    for case in golden.cases:
        if not case.group:
            continue
        other = first.setdefault((case.group,), case)
        if golden.split_of(other) != golden.split_of(case):
            yield f"{_place(golden, case)}: {other.id!r} of its group {case.group!r} is in the other split; one of them is pinned."
        other = first.setdefault((case.group, *case.principal_groups, ""), case)
        if other.answerable != case.answerable:
            yield f"{_place(golden, case)}: only one of it and {other.id!r} is answerable, and both are of group {case.group!r}."


def _empty_splits(golden: GoldenSet) -> Iterator[str]:
    for split, count in split_sizes(golden).items():
        if not count:
            yield f"the {split} split has no cases. Add cases, or split anew: touchstone golden split {golden.id} --salt … --write"


def _thin(golden: GoldenSet) -> Iterator[str]:
    """Slices that a split cannot speak of."""
    thin: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in balance(golden):
        count = one.tune + one.holdout
        if count < FEW:
            thin[one.field, f"has fewer than {FEW} cases"].append(f"{one.value} ({count})")
        elif not (one.tune and one.holdout):
            thin[one.field, f"stands in {'tune' if one.tune else 'holdout'} only"].append(f"{one.value} ({count})")
    for (field, what), values in thin.items():
        yield f"{field} {', '.join(values)} {what}: a figure of its own would say little."
    if all(case.answerable for case in golden.cases) and any(case.scope == "answer" for case in golden.cases):
        yield "no case is unanswerable: whether a configuration refuses when it should is not seen."
