"""Answers a brief: finds the units that answer, says them in the prompt's manner, or refuses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from serving.pipeline.models.reader.brief import Brief
from serving.pipeline.models.reader.doubt import answers
from serving.pipeline.models.reader.evidence import Rarity, Scales, UnitEvidence, total, weigh
from serving.pipeline.models.reader.meaning import Meaning
from serving.pipeline.models.reader.parts import QuestionPart, split_question
from serving.pipeline.models.reader.pick import pick, same
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.say import Statement, say, state
from serving.pipeline.models.reader.tally import aggregate
from serving.pipeline.models.reader.units import Unit, units_of

_EMBEDDED: Final = 48  # candidates whose meaning is looked at
_LONGEST: Final = 600  # characters embedded; more would be cut by the model anyway
_TABLES_OF: Final = 5  # units whose tables may be added up
_PART: Final = 0.8  # worth of the part's cosine against the whole question's


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads passages for an answer; with `meaning` it is the larger of the two sizes."""

    meaning: Meaning | None = None

    def read(self, brief: Brief) -> str:
        """The answer in words, or the prompt's refusal."""
        units = units_of(brief.passages)
        if not units or not brief.question:
            return brief.refusal
        rarity = Rarity(units)
        parts = split_question(brief.question)
        found = self._one(
            brief, QuestionPart(brief.question), units, rarity, brief.sentences, compound=len(parts) > 1 or " and " in brief.question
        )
        if self.meaning and len(parts) > 1:
            sides = [statement for part in parts for statement in self._one(brief, part, units, rarity, 1, compound=False)]
            every = [*found[:1], *sides, *found[1:]]
            found = [new for at, new in enumerate(every) if not _repeats(new, every[:at])]
        return say(found[: brief.sentences], brief) if found else brief.refusal

    def _one(
        self, brief: Brief, part: QuestionPart, units: Sequence[Unit], rarity: Rarity, room: int, *, compound: bool
    ) -> list[Statement]:
        """Statements for one part of the question."""
        question = ParsedQuestion.of(part.text)
        if part.about:
            lent = ParsedQuestion.of(part.about)
            question = replace(question, terms=tuple(dict.fromkeys([*question.terms, *lent.names, *lent.codes])))
        if not question.terms:
            return []
        scales = Scales.of(question, brief.passages, rarity)
        weighed = weigh(scales, units, deep=self.meaning is not None)
        if self.meaning:
            weighed = _deeper(part.text, brief, weighed, self.meaning)
        ranked = sorted(weighed, key=lambda evidence: (-evidence.score, evidence.unit.place))
        if not answers(question, ranked, deep=self.meaning is not None):
            return []
        if self.meaning:
            over = aggregate(question, _of_tables(ranked))
            if over:
                return [Statement(over.text, over.unit)]
        picked = pick(scales, ranked, brief.style, room, compound=compound)
        return [state(scales, evidence, lists=self.meaning is not None) for evidence in picked]


def _of_tables(ranked: Sequence[UnitEvidence]) -> list[Unit]:
    """The rows of the tables that the best evidence stands in."""
    headers = {evidence.unit.table.header for evidence in ranked[:_TABLES_OF] if evidence.unit.table is not None}
    return [evidence.unit for evidence in ranked if evidence.unit.table is not None and evidence.unit.table.header in headers]


def _deeper(asked: str, brief: Brief, weighed: list[UnitEvidence], meaning: Meaning) -> list[UnitEvidence]:
    """The best candidates by words (with their neighbours) weighed again by meaning."""
    looked = _candidates(weighed)
    texts = [_in_context(evidence.unit) for evidence in looked]
    closeness = meaning.closeness(asked, texts)
    if asked != brief.question:  # a part alone has lost what the whole is about
        whole = meaning.closeness(brief.question, texts)
        closeness = [round(_PART * part + (1 - _PART) * all_of_it, 4) for part, all_of_it in zip(closeness, whole, strict=True)]
    topic: dict[int, float] = {}
    for evidence, close in zip(looked, closeness, strict=True):
        topic[evidence.unit.passage.number] = max(close, topic.get(evidence.unit.passage.number, -1.0))
    deeper = []
    for evidence, close in zip(looked, closeness, strict=True):
        marks = {**evidence.marks, "close": close, "topic": topic[evidence.unit.passage.number]}
        deeper.append(replace(evidence, score=total(marks, deep=True), marks=marks, close=close))
    return deeper


def _candidates(weighed: Sequence[UnitEvidence]) -> list[UnitEvidence]:
    """The best units by their words, and the neighbours of the very best."""
    ranked = sorted(weighed, key=lambda evidence: (-evidence.score, evidence.unit.place))
    places = {evidence.unit.place for evidence in ranked[: _EMBEDDED * 3 // 4]}
    for number, index in [evidence.unit.place for evidence in ranked[: _EMBEDDED // 8]]:
        places |= {(number, index + 1), (number, index - 1)}
    return [evidence for evidence in weighed if evidence.unit.place in places]


def _in_context(unit: Unit) -> str:
    """What is embedded: the unit below its document's title and nearest heading; a row as its bare cells."""
    said = ", ".join(cell for cell in unit.row.cells if cell) if unit.row else unit.text
    above = unit.context.split(" > ")[-1] or unit.passage.section.split(" > ")[-1]
    return f"{', '.join(part for part in (unit.passage.title, above) if part)}: {said}"[:_LONGEST]


def _repeats(statement: Statement, earlier: Sequence[Statement]) -> bool:
    return any(statement.unit.place == other.unit.place or same(statement.text, other.text) for other in earlier)
