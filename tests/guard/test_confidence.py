import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.pipeline.artefacts import FolderArtefacts, keep_artefact
from serving.pipeline.checks.confidence.model import parse_confidence, shipped
from serving.pipeline.checks.confidence.signs import SIGNS
from serving.pipeline.errors import DataError
from serving.pipeline.guard import CHECKS
from serving.pipeline.guard.base import CheckContext, CheckVerdict
from serving.pipeline.guard.confidence import ConfidenceCheck, frequency
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.types import Answer, Chunk, Citation, GuardAction, Hit, Query
from tests.support.parts import some_parts

TEXT = "Annual leave is 25 days a year."
HIT = Hit(Chunk("d#0", "d", 0, len(TEXT), TEXT, title="Leave"), 1.0, 1)
OTHER = Hit(Chunk("e#0", "e", 0, 30, "The logo stands on white paper.", title="Brand"), 0.5, 2)
GOOD = Answer("Annual leave is 25 days a year [1].", (Citation(1, "d#0", HIT.chunk.span),))
BAD = Answer("Annual leave is 77 days a year [2].", (Citation(2, "e#0", OTHER.chunk.span),), truncated=True)
QUESTION = Query("How many days of annual leave a year?")


def built(embedder: str = "local:minilm", **params: Any) -> ConfidenceCheck:
    more = {"artefacts": params.pop("artefacts")} if "artefacts" in params else {}
    check = CHECKS.build(Spec(name="confidence", **params), parts=some_parts(embeddings=HashingEmbeddings(64), embedder=embedder, **more))
    assert isinstance(check, ConfidenceCheck)
    return check


def says(answer: Answer, **params: Any) -> CheckVerdict:
    return asyncio.run(built(**params).check(answer.text, CheckContext("output", QUESTION, (HIT, OTHER), answer.refused, answer)))


@pytest.mark.parametrize("embedder", ["local:minilm", "local:hashing"])
def test_an_answer_from_a_passage_about_the_question_has_more_confidence_than_one_with_another_number_and_source(embedder: str) -> None:
    good, bad = says(GOOD, embedder=embedder), says(BAD, embedder=embedder)
    assert good.confidence is not None
    assert bad.confidence is not None
    assert good.confidence > bad.confidence
    assert good.score == good.confidence


def test_a_refusal_has_no_confidence() -> None:
    assert says(replace(GOOD, refused=True)) == CheckVerdict.allow(GOOD.text)


def test_below_the_threshold_there_is_a_warning_or_a_refusal() -> None:
    flagged, blocked = says(GOOD, threshold=1.0), says(GOOD, threshold=1.0, action="block")
    assert (flagged.action, flagged.rule) == (GuardAction.FLAG, "low_confidence")
    assert flagged.warning.startswith("Low confidence: of ten answers like this one, about ")
    assert (blocked.action, blocked.message, blocked.warning) == (GuardAction.BLOCK, "I cannot answer this with enough confidence.", "")
    assert says(GOOD, threshold=0.0).action is GuardAction.ALLOW


def test_a_probability_is_told_as_a_frequency() -> None:
    assert frequency(0.04) == "answers like this one are hardly ever right"
    assert frequency(0.11) == "of ten answers like this one, about 1 is right"
    assert frequency(0.31) == "of ten answers like this one, about 3 are right"


def test_every_sign_is_a_number_and_logprobs_are_one_where_the_provider_gives_them() -> None:
    check = built()
    context = CheckContext("output", QUESTION, (HIT, OTHER), False, replace(GOOD, mean_logprob=-0.25))
    signs = asyncio.run(check.signs(GOOD.text, context))
    assert set(signs) == set(SIGNS)
    assert signs["logprob"] == -0.25
    assert signs["question_in_passage"] == pytest.approx(3 / 3, abs=0.35)
    without = asyncio.run(check.signs(GOOD.text, CheckContext("output", QUESTION, (HIT, OTHER), False, GOOD), similarity=False))
    assert set(SIGNS) - set(without) == {"logprob", "similarity"}


def test_signs_take_the_passages_that_are_cited() -> None:
    check = built()
    signs = asyncio.run(check.signs(BAD.text, CheckContext("output", QUESTION, (HIT, OTHER), False, BAD), similarity=False))
    assert signs["rank"] == pytest.approx(0.6931, abs=1e-3)  # log 2
    assert (signs["truncated"], signs["hedged"], signs["one_document"]) == (1.0, 0.0, 0.5)


@pytest.mark.parametrize("words", ["It seems that", "I am not sure, but", "Perhaps"])
def test_hedges_are_seen(words: str) -> None:
    text = f"{words} leave is 25 days [1]."
    answer = replace(GOOD, text=text)
    assert asyncio.run(built().signs(text, CheckContext("output", QUESTION, (HIT,), False, answer), similarity=False))["hedged"] == 1.0


def test_coefficients_of_ones_own_are_read_from_an_artefact(tmp_path: Path) -> None:
    own = json.loads(shipped().model_dump_json())
    own["models"] = {"words": {"weights": {"truncated": -2.0}, "fill": {}, "bias": 0.0}}
    digest = keep_artefact(tmp_path, own)
    source = FolderArtefacts(tmp_path)
    assert says(GOOD, fitted=digest, artefacts=source).confidence == 0.5
    assert says(BAD, fitted=digest, artefacts=source).confidence == 0.1192  # 1 / (1 + e²)


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"models": {}}, "another version of the signs"),
        ({"signs": "0"}, "another version of the signs"),
        ({"models": {"words": {"weights": {"mood": 1.0}, "fill": {}, "bias": 0.0}}}, "no sign 'mood'"),
        ({"models": {"words": {"weights": {"rank": float("nan")}, "fill": {}, "bias": 0.0}}}, "finite"),
    ],
)
def test_coefficients_that_are_none_are_refused(change: dict[str, Any], wrong: str) -> None:
    own = json.loads(shipped().model_dump_json()) | change
    with pytest.raises(DataError, match=wrong):
        parse_confidence(json.dumps(own).encode(), "artefact x")


def test_the_shipped_weights_point_the_way_that_signs_must() -> None:
    for model in shipped().models.values():
        assert model.weights.get("groundedness", 0.0) >= 0.0
        assert model.weights.get("rank", 0.0) <= 0.0
        assert model.weights.get("missing_names", 0.0) <= 0.0
