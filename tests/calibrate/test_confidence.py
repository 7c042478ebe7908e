import json
from pathlib import Path

import numpy as np
import pytest

from harness.calibrate.confidence import JudgedAnswer, fit_confidence, was_right
from harness.results.case_result import CaseResult
from harness.results.score import Score
from serving.pipeline.checks.confidence.signs import SIGNS, SIMILARITY
from serving.pipeline.errors import DataError
from tests.support.making import a_case, a_hit, a_trace, unanswerable
from tests.support.world import World, world

__all__ = ["world"]


def drawn(count: int = 4000, **slopes: float) -> list[JudgedAnswer]:
    """Answers whose rightness follows a logistic law of the signs named."""
    rng = np.random.default_rng(3)
    table = {name: rng.normal(size=count) for name in slopes}
    score = sum(slope * table[name] for name, slope in slopes.items()) - 0.5
    right = rng.random(count) < 1 / (1 + np.exp(-score))
    return [
        JudgedAnswer(f"c{row}", f"c{row}", {name: float(column[row]) for name, column in table.items()}, bool(right[row]))
        for row in range(count)
    ]


def test_a_fit_finds_the_law_that_answers_follow() -> None:
    fitted = fit_confidence(drawn(similarity=1.5, question_in_passage=0.8, rank=-0.6), embedder="local:minilm", data="d", date="2026-11-29")
    model = fitted.models["local:minilm"]
    assert model.weights == pytest.approx({"similarity": 1.5, "question_in_passage": 0.8, "rank": -0.6}, abs=0.15)
    assert model.bias == pytest.approx(-0.5, abs=0.1)
    assert SIMILARITY not in fitted.models["words"].weights


def test_a_sign_never_counts_in_the_wrong_direction() -> None:
    fitted = fit_confidence(drawn(groundedness=-1.0, missing_names=1.0, question_in_answer=0.5), embedder="e", data="d", date="x")
    assert fitted.models["words"].weights.keys() == {"question_in_answer"}


def test_a_sign_that_never_changes_tells_nothing() -> None:
    answers = [JudgedAnswer(one.case, one.group, one.signs | {"hedged": 0.0}, one.right) for one in drawn(similarity=1.0)]
    assert "hedged" not in fit_confidence(answers, embedder="e", data="d", date="x").models["words"].weights


def test_a_case_counts_once_however_often_it_was_answered() -> None:
    once = drawn(count=400, similarity=1.0)
    often = [*once, *[one for one in once if one.right] * 4]  # more answers to cases that were right
    models = [fit_confidence(answers, embedder="e", data="d", date="x").models["e"] for answers in (once, often)]
    assert models[0].bias == pytest.approx(models[1].bias, abs=0.02)


@pytest.mark.parametrize(("count", "slope"), [(40, 1.0), (400, 0.0)])
def test_too_few_cases_of_either_kind_are_refused(count: int, slope: float) -> None:
    answers = drawn(count=count, similarity=1.0)
    if not slope:
        answers = [JudgedAnswer(one.case, one.group, one.signs, right=False) for one in answers]
    with pytest.raises(DataError, match=r"cases were (answered|right); at least \d+ are needed\."):
        fit_confidence(answers, embedder="e", data="d", date="x")


def test_an_answer_is_right_by_its_key_facts_and_wrong_where_none_was_possible() -> None:
    trace, refusal = a_trace(a_hit(0, 9), answer="30 days [1]"), a_trace(a_hit(0, 9), answer="No.", refused=True)
    for value, right in ((1.0, True), (0.5, False)):
        assert was_right(CaseResult(a_case(), (Score("key_facts", value),), trace)) is right
    assert was_right(CaseResult(a_case(), (Score("key_facts", None, "none"), Score("token_f1", 0.6)), trace)) is True
    assert was_right(CaseResult(unanswerable(), (), trace)) is False
    assert was_right(CaseResult(a_case(), (Score("key_facts", 1.0),), refusal)) is None
    assert was_right(CaseResult(a_case(), (), trace)) is None


def test_the_command_says_what_is_missing_and_fits_nothing_on_the_holdout(world: World) -> None:
    assert (
        world.touchstone("eval", "--golden", "tiny/v1", "--config", "tiny.yaml", "--split", "tune", "--name", "tune", "--no-tracking").code
        == 0
    )
    assert (
        world.touchstone(
            "eval", "--golden", "tiny/v1", "--config", "tiny.yaml", "--split", "holdout", "--name", "held", "--no-tracking"
        ).code
        == 0
    )
    few = world.touchstone("confidence", "reports/runs/tune/cases.jsonl")
    assert (few.code, "at least 50 are needed" in few.err) == (2, True)
    mixed = world.touchstone("confidence", "reports/runs/held/cases.jsonl")
    assert (mixed.code, "a fit takes those of tune" in mixed.err) == (2, True)
    shown = world.touchstone("confidence", "reports/runs/tune/cases.jsonl", "--show", "reports/runs/tune/cases.jsonl")
    assert (shown.code, "not of the holdout" in shown.err) == (2, True)


def test_the_command_fits_keeps_an_artefact_and_draws_a_page(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.calibrate.confidence.LEAST", 1)  # the tiny set has a handful of cases
    for split in ("tune", "holdout"):
        assert (
            world.touchstone(
                "eval", "--golden", "tiny/v1", "--config", "tiny.yaml", "--split", split, "--name", split, "--no-tracking"
            ).code
            == 0
        )
    done = world.touchstone("confidence", "reports/runs/tune/cases.jsonl", "--show", "reports/runs/holdout/cases.jsonl", "--json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    artefact = json.loads(next(Path(".touchstone/artefacts").glob(f"{told['artefact']}.json")).read_text())
    assert set(artefact["models"]["words"]["weights"]) <= set(SIGNS)
    page = Path(told["page"]).read_text()
    assert "<svg" in page
    assert told["artefact"] in page
