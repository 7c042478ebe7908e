"""Answers a prompt's question: scores units, selects and words the best ones, or refuses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from serving.pipeline.models.reader.aggregation import aggregate
from serving.pipeline.models.reader.answerability import is_answerable
from serving.pipeline.models.reader.calculation import calculate, multipliers
from serving.pipeline.models.reader.entities import vocabulary
from serving.pipeline.models.reader.evidence import ScoringContext, TermRarity, UnitEvidence, score_units, total_score
from serving.pipeline.models.reader.orders import without_orders
from serving.pipeline.models.reader.prompt_task import PromptTask
from serving.pipeline.models.reader.question import ParsedQuestion
from serving.pipeline.models.reader.selection import same_content, select_units
from serving.pipeline.models.reader.similarity import SentenceSimilarity
from serving.pipeline.models.reader.spelling import corrected
from serving.pipeline.models.reader.subquestions import Subquestion, split_question
from serving.pipeline.models.reader.units import Unit, units_of
from serving.pipeline.models.reader.wording import Statement, compose_answer, statement_of

_EMBEDDED: Final = 48  # candidates that are embedded
_LONGEST: Final = 600  # characters embedded; more would be cut by the model anyway
_TABLE_CANDIDATES: Final = 5  # units whose tables may be added up
_SUBQUESTION_WEIGHT: Final = 0.8  # of a subquestion's own cosine; the rest is the whole question's


@dataclass(frozen=True, slots=True)
class Reader:
    """The extractive reader; with `similarity` it is the larger of the two sizes."""

    similarity: SentenceSimilarity | None = None

    def answer(self, task: PromptTask) -> str:
        """The answer's text, or the prompt's refusal."""
        task = replace(task, passages=tuple(replace(passage, text=without_orders(passage.text)) for passage in task.passages))
        task = replace(task, question=corrected(task.question, vocabulary(task.passages)))
        units = units_of(task.passages)
        if not units or not task.question:
            return task.refusal
        rarity = TermRarity(units)
        parts = split_question(task.question)
        statements = self._statements(
            task, Subquestion(task.question), units, rarity, task.sentences, compound=len(parts) > 1 or " and " in task.question
        )
        if self.similarity and len(parts) > 1:
            details = [statement for part in parts for statement in self._statements(task, part, units, rarity, 1, compound=False)]
            combined = [*statements[:1], *details, *statements[1:]]
            statements = [statement for position, statement in enumerate(combined) if not _repeats(statement, combined[:position])]
        return compose_answer(statements[: task.sentences], task) if statements else task.refusal

    def _statements(
        self, task: PromptTask, part: Subquestion, units: Sequence[Unit], rarity: TermRarity, most: int, *, compound: bool
    ) -> list[Statement]:
        """Statements for one part of the question."""
        question = ParsedQuestion.of(part.text)
        if part.refers_to:
            context = ParsedQuestion.of(part.refers_to)
            question = replace(question, terms=tuple(dict.fromkeys([*question.terms, *context.names, *context.codes])))
        counts = multipliers(question.text)
        question = replace(question, terms=tuple(term for term in question.terms if term not in counts or rarity.knows(term)))
        if not question.terms:
            return []
        scoring = ScoringContext.of(question, task.passages, rarity)
        scored = score_units(scoring, units, with_similarity=self.similarity is not None)
        if self.similarity:
            scored = _rescored_by_similarity(part.text, task, scored, self.similarity)
        ranked = sorted(scored, key=lambda evidence: (-evidence.score, evidence.unit.place))
        if scoring.entities.missing or not ranked:
            return []
        answerable = is_answerable(question, ranked, with_similarity=self.similarity is not None)
        if answerable or question.codes:
            rank = partial(_ranked_by_words, task=task, units=units, rarity=rarity)
            calculation = calculate(scoring, ranked, rank, answerable=answerable)
            if calculation:
                worked_out = Statement(calculation.text, calculation.sources[0], calculation.sources[1:])
                lists = self.similarity is not None
                return [worked_out, statement_of(scoring, ranked[0], lists=lists)] if calculation.quoted else [worked_out]
        if not answerable:
            return []
        result = aggregate(question, _table_units(ranked)) if len(question.codes) < 2 else None  # items by name are no whole table
        if result:
            return [Statement(result.text, result.unit)]
        selected = select_units(scoring, ranked, task.style, most, compound=compound)
        return [statement_of(scoring, evidence, lists=self.similarity is not None) for evidence in selected]


def _ranked_by_words(wording: str, *, task: PromptTask, units: Sequence[Unit], rarity: TermRarity) -> list[UnitEvidence]:
    """The evidence in force for a part of a comparison, best first."""
    question = replace(ParsedQuestion.of(wording), change=False)
    scored = score_units(ScoringContext.of(question, task.passages, rarity), units, with_similarity=False)
    return sorted(scored, key=lambda evidence: (-evidence.score, evidence.unit.place))


def _table_units(ranked: Sequence[UnitEvidence]) -> list[Unit]:
    """The rows of the tables that the best evidence stands in."""
    headers = {evidence.unit.table.header for evidence in ranked[:_TABLE_CANDIDATES] if evidence.unit.table is not None}
    return [evidence.unit for evidence in ranked if evidence.unit.table is not None and evidence.unit.table.header in headers]


def _rescored_by_similarity(question: str, task: PromptTask, scored: list[UnitEvidence], model: SentenceSimilarity) -> list[UnitEvidence]:
    """The best candidates by words, and their neighbours, scored again with sentence similarity."""
    candidates = _candidates(scored)
    texts = [_embedded_text(evidence.unit) for evidence in candidates]
    cosines = model.cosines(question, texts)
    if question != task.question:  # a subquestion alone may lack the topic of the whole
        whole_cosines = model.cosines(task.question, texts)
        cosines = [
            round(_SUBQUESTION_WEIGHT * own + (1 - _SUBQUESTION_WEIGHT) * whole, 4)
            for own, whole in zip(cosines, whole_cosines, strict=True)
        ]
    topic: dict[int, float] = {}
    for evidence, cosine in zip(candidates, cosines, strict=True):
        topic[evidence.unit.passage.number] = max(cosine, topic.get(evidence.unit.passage.number, -1.0))
    rescored = []
    for evidence, cosine in zip(candidates, cosines, strict=True):
        features = {**evidence.features, "close": cosine, "topic": topic[evidence.unit.passage.number]}
        rescored.append(replace(evidence, score=total_score(features, with_similarity=True), features=features, similarity=cosine))
    return rescored


def _candidates(scored: Sequence[UnitEvidence]) -> list[UnitEvidence]:
    """The best units by their words, and the neighbours of the very best."""
    ranked = sorted(scored, key=lambda evidence: (-evidence.score, evidence.unit.place))
    places = {evidence.unit.place for evidence in ranked[: _EMBEDDED * 3 // 4]}
    for number, index in [evidence.unit.place for evidence in ranked[: _EMBEDDED // 8]]:
        places |= {(number, index + 1), (number, index - 1)}
    return [evidence for evidence in scored if evidence.unit.place in places]


def _embedded_text(unit: Unit) -> str:
    """What is embedded: the unit below its document's title and nearest heading; a row as its bare cells."""
    content = ", ".join(cell for cell in unit.row.cells if cell) if unit.row else unit.text
    heading = unit.context.split(" > ")[-1] or unit.passage.section.split(" > ")[-1]
    return f"{', '.join(part for part in (unit.passage.title, heading) if part)}: {content}"[:_LONGEST]


def _repeats(statement: Statement, earlier: Sequence[Statement]) -> bool:
    return any(statement.unit.place == other.unit.place or same_content(statement.text, other.text) for other in earlier)
