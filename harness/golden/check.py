"""The check of a golden set: problems, warnings, balance of its splits, and the smallest difference it can show."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.golden.case import Case
from harness.golden.sets import GoldenSet, SplitName
from harness.golden.similarity import SAME_MEANING_COSINE, SimilarPair, same_words, similar_words, split_leaks
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.tenant_groups import groups_let_in
from serving.pipeline.types import PUBLIC

INDEPENDENT = math.sqrt(0.5)  # standard deviation of the difference of two independent rates of one half
FIVE_POINTS = 0.05  # the difference for which the needed number of cases is reported
MIN_SLICE_CASES = 5  # cases of a domain or kind; a smaller slice says nothing
FIELDS: tuple[Literal["domain", "kind"], ...] = ("domain", "kind")
SPLITS: tuple[SplitName, ...] = ("tune", "holdout")


@dataclass(frozen=True, slots=True)
class SetFindings:
    """Problems make a set unusable; warnings are for its owner to judge."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DetectableDifference:
    """The smallest difference of a rate that a split shows with 80 % power."""

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


def check_set(golden: GoldenSet, corpus: Corpus, vectors: Vectors | None = None, *, alike: float = SAME_MEANING_COSINE) -> SetFindings:
    """Every check; without vectors of the questions the splits are not compared by meaning."""
    problems = [*set_problems(golden, corpus), *(f"{golden.id}: {problem}" for problem in _empty_splits(golden))]
    warnings = [_pair(golden, pair, f"shares {pair.similarity:.0%} of its words with") for pair in similar_words(golden.cases)]
    if vectors is not None:
        warnings += [
            _pair(golden, pair, f"is in the holdout and asks (cosine {pair.similarity:.3f}) what is asked in tune by")
            for pair in split_leaks(golden, vectors, alike)
        ]
    warnings += [f"{golden.id}: {warning}" for warning in _small_slices(golden)]
    return SetFindings(tuple(problems), tuple(warnings))


def set_problems(golden: GoldenSet, corpus: Corpus) -> list[str]:
    """Every problem except an empty split."""
    problems = [*_card(golden), *golden.check(corpus), *_unreadable(golden, corpus), *_groups(golden)]
    return problems + [_pair(golden, pair, "asks the same, word for word, as") for pair in same_words(golden.cases)]


def detectable_differences(golden: GoldenSet) -> list[DetectableDifference]:
    """The detectable difference of each split in the worst case: rates of one half, and two independent configurations."""
    from harness.stats import minimum_detectable

    differences: list[DetectableDifference] = []
    for split, count in split_sizes(golden).items():
        difference = minimum_detectable(INDEPENDENT, count, unseen=1.0)  # as a comparison of scores reckons
        differences.append(DetectableDifference(split, count, difference if difference <= 1.0 else None))
    return differences


def cases_for_five_points() -> int:
    """How many cases show a difference of five points in the worst case."""
    from harness.stats import cases_needed

    return cases_needed(INDEPENDENT, FIVE_POINTS, unseen=1.0)


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


def _pair(golden: GoldenSet, pair: SimilarPair, says: str) -> str:
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
    """Cases whose asker may not read the documents with the answer."""
    documents = {document.id: document for document in corpus.documents}
    for case in golden.cases:
        for name in case.documents if case.answerable else ():
            document = documents.get(name)
            if document is None:
                continue
            if document.tenant != PUBLIC:
                yield f"{_place(golden, case)}: {name!r} belongs to tenant {document.tenant!r}, which no case can ask as."
            elif document.groups and not (let_in := groups_let_in(document.groups, document.tenant, PUBLIC)) & set(case.principal_groups):
                names = ", ".join(sorted(let_in)) or "it has none but those of tenants, which no case can ask as"
                yield f"{_place(golden, case)}: the asker may not read {name!r}. Add one of its groups to 'principal_groups': {names}."


def _groups(golden: GoldenSet) -> Iterator[str]:
    """Cases of one group must be in one split, and answerable or not together for the same asker."""
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


def _small_slices(golden: GoldenSet) -> Iterator[str]:
    """Slices that are too small, or in one split only."""
    small: dict[tuple[str, str], list[str]] = defaultdict(list)
    for balance_row in balance(golden):
        count = balance_row.tune + balance_row.holdout
        if count < MIN_SLICE_CASES:
            small[balance_row.field, f"has fewer than {MIN_SLICE_CASES} cases"].append(f"{balance_row.value} ({count})")
        elif not (balance_row.tune and balance_row.holdout):
            small[balance_row.field, f"stands in {'tune' if balance_row.tune else 'holdout'} only"].append(f"{balance_row.value} ({count})")
    for (field, reason), values in small.items():
        yield f"{field} {', '.join(values)} {reason}: a figure of its own would say little."
    if all(case.answerable for case in golden.cases) and any(case.scope == "answer" for case in golden.cases):
        yield "no case is unanswerable: whether a configuration refuses when it should is not seen."
