"""Proposals without a model: plain facts of documents turned into questions of several kinds, the same for the same seed."""

import random
import re
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence

from harness.golden.candidate import Proposal, ReviewNote
from harness.golden.case import Evidence
from harness.golden.synth.base import GeneratedProposal, SynthesisStep, askers_groups
from harness.golden.synth.facts import Fact, sentence_facts
from harness.golden.synth.tables import leading_number, numeric_pairs, row_facts
from harness.golden.synth.wording import CODE, common_words, document_names, upper_first
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.types import Document

BY = "template"
PER_ROW = 1  # questions about one row, so that a wide table does not fill the queue
YEAR = re.compile(r"(?<![\w-])20\d{2}(?![\w-])")


class Templates:
    """Offers the templates as a generator."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    async def steps(self, documents: Sequence[Document], count: int, seed: int) -> AsyncIterator[SynthesisStep]:
        """All proposals in one turn: they take no time."""
        yield SynthesisStep(tuple(propose(self._corpus, documents, count, seed)))


def propose(corpus: Corpus, documents: Sequence[Document], count: int, seed: int) -> list[GeneratedProposal]:
    """At most `count` proposals: kinds take turns, and within a kind the documents do."""
    rng = random.Random(seed)  # noqa: S311  a seed, not a secret
    names = document_names(corpus.documents)
    common = common_words(document.text for document in corpus.documents)
    from_sentences = [
        fact for document in documents if document.id in names for fact in sentence_facts(document, names[document.id], common)
    ]
    from_rows = [fact for document in documents if document.id in names for fact in row_facts(document, names[document.id])]
    from_rows = _sample_rows(from_rows, rng)
    by_kind = {
        "sentence": [_direct_question(fact) for fact in from_sentences],
        "row": [_direct_question(fact) for fact in from_rows],
        "unanswerable": list(_swapped([*from_sentences, *from_rows], corpus, rng)),
        "comparison": [*_between_documents([*from_sentences, *_all_rows(documents, names)]), *_between_rows(documents, names)],
    }
    for proposals in by_kind.values():
        rng.shuffle(proposals)
    return _in_turn(by_kind, count)


def _in_turn(by_kind: dict[str, list[GeneratedProposal]], count: int) -> list[GeneratedProposal]:
    """One of each pile in turn; within a pile the document that was used least, and no question twice."""
    used: Counter[str] = Counter()
    chosen: dict[str, GeneratedProposal] = {}
    while len(chosen) < count and any(by_kind.values()):
        for proposals in by_kind.values():
            if proposals and len(chosen) < count:
                place = min(range(len(proposals)), key=lambda index: used[proposals[index].document])
                proposed = proposals.pop(place)
                used[proposed.document] += 1
                chosen.setdefault(proposed.proposal.question.casefold(), proposed)
    return list(chosen.values())


def _sample_rows(facts: Sequence[Fact], rng: random.Random) -> list[Fact]:
    by_row: dict[tuple[str, int], list[Fact]] = defaultdict(list)
    for fact in facts:
        by_row[fact.document.id, fact.start].append(fact)
    return [fact for row in by_row.values() for fact in rng.sample(row, min(PER_ROW, len(row)))]


def _all_rows(documents: Sequence[Document], names: dict[str, str]) -> Iterator[Fact]:
    for document in documents:
        if document.id in names:
            yield from row_facts(document, names[document.id])


def _evidence(fact: Fact) -> Evidence:
    return Evidence(document=fact.document.id, quote=fact.quote, start=fact.start, end=fact.start + len(fact.quote))


def _direct_question(fact: Fact) -> GeneratedProposal:
    proposal = Proposal(
        question=fact.question,
        answers=(fact.answer,),
        evidence=(_evidence(fact),),
        key_facts=(fact.value,),
        domain=fact.document.domain,
        kind=fact.kind,
        principal_groups=askers_groups(fact.document),
    )
    return GeneratedProposal(proposal, f"{BY}:{fact.template}", fact.document.id)


def _swapped(facts: Sequence[Fact], corpus: Corpus, rng: random.Random) -> Iterator[GeneratedProposal]:
    """Questions about a code, or an edition of a document, that no document knows."""
    texts = [f"{document.title}\n{document.text}" for document in corpus.documents]
    for fact in facts:
        for pattern, where in ((CODE, fact.stem), (YEAR, fact.named)):
            match = pattern.search(where)
            if match is None or (pattern is YEAR and match[0] in fact.stem) or not (other := _unused_value(match[0], where, texts, rng)):
                continue
            swapped = where[: match.start()] + other + where[match.end() :]
            named, stem = (fact.named, swapped) if where is fact.stem else (swapped, fact.stem)
            proposal = Proposal(
                question=f"According to {named}, {stem}?",
                answerable=False,
                kind="unanswerable",
                domain=fact.document.domain,
                principal_groups=askers_groups(fact.document),
            )
            mark = ReviewNote(name="swapped", reason=f"{match[0]!r} became {other!r}, which no document has in this place")
            yield GeneratedProposal(proposal, f"{BY}:swap", fact.document.id, (mark,))
            break


def _unused_value(word: str, where: str, texts: Sequence[str], rng: random.Random) -> str:
    """A code or year like this one that stands in no document; for a year, no document of that name has it. Empty if none is found."""
    for _ in range(20):
        if YEAR.fullmatch(word):
            other, sought = (
                (year := str(int(word) + rng.choice([-4, -3, -2, -1, 1, 2, 3, 4]))),
                where.replace(word, year).removeprefix("the ").strip('"'),
            )
        else:
            digits = [place for place, letter in enumerate(word) if letter.isdigit()]
            place = rng.choice(digits[-2:])
            other = sought = word[:place] + rng.choice([digit for digit in "123456789" if digit != word[place]]) + word[place + 1 :]
        if not any(sought in text for text in texts):
            return other
    return ""


def _between_documents(facts: Sequence[Fact]) -> Iterator[GeneratedProposal]:
    """The same thing said in two documents with another value each."""
    by_stem: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_stem[fact.stem].append(fact)
    for same in by_stem.values():
        first, second = same[0], next((fact for fact in same if fact.document.id != same[0].document.id), same[0])
        if len({fact.document.id for fact in same}) != 2 or first.value == second.value or first.document.domain != second.document.domain:
            continue
        question = f"Comparing {first.named} with {second.named}: {first.stem} in each of them?"
        answer = f"{upper_first(first.named)}: {first.answer} {upper_first(second.named)}: {second.answer}"
        yield _comparison(question, answer, (first.value, second.value), first, second, "between-documents")


def _between_rows(documents: Sequence[Document], names: dict[str, str]) -> Iterator[GeneratedProposal]:
    """Two rows of a table, and which of them has the higher number."""
    for document in documents:
        if document.id not in names:
            continue
        facts = {(fact.row, fact.column): fact for fact in row_facts(document, names[document.id])}
        for first_row, second_row, heading, left, right in numeric_pairs(document):
            first, second = facts.get((first_row.key, heading)), facts.get((second_row.key, heading))
            if first is None or second is None:
                continue
            higher = first_row.key if leading_number(left) > leading_number(right) else second_row.key
            choices = f'"{first_row.key}" or "{second_row.key}"'
            question = f'According to {names[document.id]}, which has the higher figure under "{heading}": {choices}?'
            answer = f"{higher}: {first_row.key} has {left}, {second_row.key} has {right}."
            yield _comparison(question, answer, (higher, left if higher == first_row.key else right), first, second, "between-rows")
            break


def _comparison(question: str, answer: str, values: tuple[str, ...], first: Fact, second: Fact, template: str) -> GeneratedProposal:
    proposal = Proposal(
        question=question,
        answers=(answer,),
        evidence=(_evidence(first), _evidence(second)),
        key_facts=values,
        domain=first.document.domain,
        kind="comparison",
        difficulty="hard",
        principal_groups=tuple(sorted({*askers_groups(first.document), *askers_groups(second.document)})),
    )
    return GeneratedProposal(proposal, f"{BY}:{template}", first.document.id)
