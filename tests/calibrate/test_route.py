"""Routers and domain classifiers from labels: what is fitted, what is held back, and what comes out."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from harness.calibrate.route.curve import bounded_threshold, loss_and_saving, oracle_share, routing_curve
from harness.calibrate.route.domains import DomainSource
from harness.calibrate.route.fit import fit, fitter, out_of_fold, predict
from harness.calibrate.route.outcomes import read_outcomes
from harness.calibrate.route.source import RouterSource
from harness.calibrate.route.training import Training
from harness.calibrate.source import SourceRequest
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.fitted.domains import DomainModel
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.route.signals import NAMES, signals

KINDS = ("logistic", "tfidf", "knn", "stacked")
EMBEDDER = "local:hashing"


def questions(count):
    """Every second question compares, and only a dear tier answers those."""
    items = ("laptops", "badges", "desks", "phones", "lockers", "invoices", "suppliers", "tickets")
    hard = "Compare the contract for {} {} and {} of {}"
    return [
        hard.format(items[n % 8], n, items[n % 7], n * 3) if n % 2 else f"Price of {items[n % 8]} number {n * 7}?" for n in range(count)
    ]


def training(count=200):
    texts = tuple(questions(count))
    hard = np.arange(count) % 2
    found = np.array([[one[name] for name in NAMES] for one in (signals(text, ()) for text in texts)])
    vectors = HashingEmbeddings(32).vectors(texts)
    cheap, dear = np.where(hard, 0.1, 0.9), np.full(count, 0.9)
    return Training(texts, vectors, found, cheap, dear, tuple(f"g{n // 4}" for n in range(count)), EMBEDDER)


def lines(tmp_path: Path, rows, name="outcomes.jsonl") -> Path:
    path = tmp_path / name
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def outcome_rows(count=240):
    return [{"question": text, "cheap": 0.0 if n % 2 else 1.0, "dear": 1.0} for n, text in enumerate(questions(count))]


def decisions(tmp_path: Path, files, fitted=None, source=RouterSource, **params):
    settings = HarnessSettings(home=tmp_path / "home", _env_file=None)
    made = source(source.Params(embedder=EMBEDDER, **params), settings)
    return asyncio.run(made.decisions(SourceRequest(tuple(files), fitted)))


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_fitted_expects_a_gain_where_the_dear_tier_brings_one(kind):
    data = training()
    model = fit(kind, data.take(range(120)))
    unseen = data.take(range(120, 200))
    expected = predict(model.model, unseen)
    assert expected[1::2].mean() > expected[0::2].mean() + 0.2
    assert routing_curve(expected, unseen.gains).average_recovered > 0.7
    one_by_one = [model.gain(asked) for asked in unseen.asked()]
    assert np.abs(one_by_one - expected.clip(-1, 1)).max() < 1e-4  # what is served is what was fitted


def test_out_of_fold_no_question_is_judged_by_a_model_that_saw_its_group():
    data, seen = training(80), []

    def remembering(part):
        seen.append(set(part.groups))
        return fitter("tfidf", data)(part)

    out_of_fold(remembering, data)
    folds = data.folds()
    assert len(seen) == len(folds) > 1
    assert all(not groups & {data.groups[place] for place in scored} for groups, (_, scored) in zip(seen, folds, strict=True))


def test_too_few_questions_and_an_unknown_model_are_refused():
    with pytest.raises(DataError, match="39 questions to fit on; 40 are needed"):
        fit("logistic", training().take(range(39)))
    with pytest.raises(ConfigError, match="No model 'forest' of a router. Known: logistic, tfidf, knn, stacked"):
        fitter("forest", training())


def test_tiers_that_never_differ_give_a_model_that_expects_nothing():
    same = training(80)
    same = Training(same.texts, same.vectors, same.signals, same.dear, same.dear, same.groups, EMBEDDER)
    for kind in KINDS:
        assert np.abs(predict(fit(kind, same).model, same)).max() < 1e-6


def test_the_measures_are_those_of_routellm_worked_out_by_hand():
    gains = np.array([1.0, 0.0, 1.0, 0.0])
    perfect = routing_curve(gains, gains)
    assert perfect.recovered.tolist() == [0.0, 0.5, 1.0, 1.0, 1.0]
    assert perfect.average_recovered == pytest.approx((0.25 + 0.75 + 1.0 + 1.0) / 4)
    assert (perfect.calls_for(0.5), perfect.calls_for(0.8)) == (0.25, 0.5)
    worst = routing_curve(-gains, gains)
    assert (worst.calls_for(0.5), worst.average_recovered) == (0.75, pytest.approx(0.25))
    assert perfect.losses.tolist() == [0.0, 0.0, 0.0, 0.25, 0.5]
    assert oracle_share(gains) == 0.5
    assert loss_and_saving(gains, gains, 0.5) == (0.0, 0.5)


def test_a_blind_router_keeps_half_of_the_gap_on_average():
    chance = np.random.default_rng(3)
    gains = chance.choice([1.0, 0.0, -1.0], size=20_000, p=[0.2, 0.75, 0.05])
    assert routing_curve(chance.random(20_000), gains).average_recovered == pytest.approx(0.5, abs=0.02)


def test_the_bounded_threshold_breaks_its_promise_no_more_often_than_stated():
    chance, broken = np.random.default_rng(5), 0
    for _ in range(300):
        expected = chance.random(800)
        gains = (chance.random(800) < 0.3 * expected).astype(float)
        threshold = bounded_threshold(expected, gains, 0.02)
        share = min(max(threshold, 0.0), 1.0)
        broken += 0.3 * share**2 / 2 > 0.02  # the true loss below a threshold
    assert broken / 300 < 0.08


def test_outcomes_in_a_file_are_fitted_on_one_part_and_the_other_is_given(tmp_path: Path):
    labelled = decisions(tmp_path, [lines(tmp_path, outcome_rows())], model="tfidf")
    assert labelled.fit_count + len(labelled.examples) == 240
    assert (labelled.low, labelled.high, labelled.kind) == (-1.0, 1.0, "per_decision")
    easy, hard = ([one.score for one in labelled.examples if one.loss == loss] for loss in (0.0, 1.0))
    assert min(easy) > max(hard)  # the cheap tier acts from a score on
    assert labelled.config["route.router.name"] == "tfidf"
    assert any("artefact" in note for note in labelled.notes)
    [kept] = (tmp_path / "home" / "artefacts").iterdir()
    assert json.loads(kept.read_text()) == labelled.fitted


def test_notes_call_the_tiers_as_they_were_named(tmp_path: Path):
    labelled = decisions(tmp_path, [lines(tmp_path, outcome_rows())], model="tfidf", tiers=("small", "large"))
    assert any(note.startswith("large gains ") and " over small on 240 questions" in note for note in labelled.notes)
    assert not any("pro" in note.split() or "lite" in note.split() for note in labelled.notes)


def test_verified_are_all_questions_and_nothing_is_fitted(tmp_path: Path):
    file = lines(tmp_path, outcome_rows())
    first = decisions(tmp_path, [file], model="logistic")
    again = decisions(tmp_path, [file], fitted=first.fitted)
    assert (again.fit_count, len(again.examples), again.scorer) == (0, 240, first.scorer)
    scores = {one.id: one.score for one in again.examples}
    assert all(scores[one.id] == one.score for one in first.examples)


def test_near_duplicates_never_stand_on_both_sides(tmp_path: Path):
    rows = outcome_rows(120)
    twins = [{**row, "question": row["question"].upper()} for row in rows]
    labelled = decisions(tmp_path, [lines(tmp_path, rows + twins)], model="tfidf")
    numbers = [int(one.id.rsplit(":", 1)[1]) for one in labelled.examples]
    assert {number % 120 for number in numbers if number <= 120} == {number % 120 for number in numbers if number > 120}


def test_what_saves_is_money_where_prices_are_known(tmp_path: Path):
    rows = [{**row, "cheap_usd": 0.1, "dear_usd": 1.0} for row in outcome_rows()]
    assert {one.benefit for one in decisions(tmp_path, [lines(tmp_path, rows)], model="tfidf").examples} == {0.9}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"question": "q", "cheap": 1.2, "dear": 1.0}, r"outcomes\.jsonl:1: cheap"),
        ({"question": "q", "cheap": "yes", "dear": 1.0}, r"outcomes\.jsonl:1: cheap"),
        ({"question": " ", "cheap": 1.0, "dear": 1.0}, r"outcomes\.jsonl:1: the question is empty"),
        ({"question": "q", "weak": 1.0}, r"outcomes\.jsonl:1"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, row, told):
    with pytest.raises(DataError, match=told):
        read_outcomes([lines(tmp_path, [row])])
    with pytest.raises(DataError, match="No files"):
        read_outcomes([])
    with pytest.raises(DataError, match="cannot be read"):
        read_outcomes([tmp_path / "none.jsonl"])


def test_texts_of_one_page_leave_none_to_calibrate_a_classifier_on(tmp_path: Path):
    rows = [{"text": f"{label} {n}", "label": label, "page": "only one"} for label in ("hr", "it") for n in range(10)]
    with pytest.raises(DataError, match="No texts are left to calibrate on. Lower fit_share, or add texts"):
        decisions(tmp_path, [lines(tmp_path, rows)], source=DomainSource, fit_share=0.99)


def test_a_classifier_is_fitted_on_texts_and_acts_where_it_is_sure(tmp_path: Path):
    words = {"hr": "holiday leave payroll", "it": "laptop network password", "legal": "contract liability clause"}
    rows = [{"text": f"{text} {n} {n * 7}", "label": label, "page": f"{label}{n}"} for label, text in words.items() for n in range(30)]
    labelled = decisions(tmp_path, [lines(tmp_path, rows)], source=DomainSource)
    assert labelled.stage == "domains"
    assert all(one.loss == 0.0 for one in labelled.examples)
    model = DomainModel.model_validate(labelled.fitted)
    assert (model.domains, model.embedder) == (("hr", "it", "legal"), EMBEDDER)
    two = [row for row in rows if row["label"] != "legal"]
    words_alone = asyncio.run(
        DomainSource(DomainSource.Params(embedder=""), HarnessSettings(home=tmp_path, _env_file=None)).decisions(
            SourceRequest((lines(tmp_path, two, "two.jsonl"),))
        )
    )
    model = DomainModel.model_validate(words_alone.fitted)
    assert model.meaning is None
    assert model.guess("holiday and leave", None).domain == "hr"
    assert model.guess("network password", None).domain == "it"
    with pytest.raises(DataError, match="of one domain"):
        decisions(tmp_path, [lines(tmp_path, rows[:30], "one.jsonl")], source=DomainSource)
