"""Pairs of questions as decisions of the semantic cache."""

import json
from pathlib import Path

import numpy as np
import pytest

from harness.calibrate.cache import CacheSource
from harness.calibrate.cache_pairs import golden_pairs, nearest_others, read_pairs
from harness.calibrate.calibrate import calibrate
from harness.calibrate.source import SourceRequest
from harness.golden.case import Case
from harness.settings import HarnessSettings
from serving.pipeline.checks.equivalence.verifier import VERIFIER_SCORER, built_in, verifier_of
from serving.pipeline.errors import DataError
from serving.pipeline.registry import Spec

NOUNS = ["alarm", "boiler", "camera", "drill", "engine", "fridge", "gate", "heater", "inverter", "jack", "kettle", "lamp", "mixer"]
NOUNS += ["nozzle", "oven", "pump", "relay", "sensor", "tank", "valve"]
VERBS = ["clean", "repair", "order", "store"]


def write_pairs(folder: Path) -> Path:
    """For every noun and verb a rewording, a question about something else, and a denial."""
    rows = []
    for noun in NOUNS:
        for verb in VERBS:
            question = f"How do I {verb} the {noun}?"
            rows.append({"text_a": question, "text_b": f"What is the way to {verb} the {noun}?", "label": 1, "group": noun})
            rows.append({"text_a": question, "text_b": f"How do I {verb} the cover of the {noun}?", "label": 0, "group": noun})
            rows.append({"text_a": question, "text_b": f"How do I not {verb} the {noun}?", "label": 0, "group": noun})
    path = folder / "pairs.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def source(**params) -> CacheSource:
    embedder = Spec(name="local:hashing")
    return CacheSource(CacheSource.Params(embedder=embedder, **params), HarnessSettings())


async def test_a_verifier_is_fitted_on_one_part_and_scores_the_other(tmp_path):
    labelled = await source(fit_share=0.5).decisions(SourceRequest((write_pairs(tmp_path),)))
    assert labelled.stage == "cache"
    assert labelled.scorer == f"{VERIFIER_SCORER} on local:hashing"
    assert labelled.fit_count + len(labelled.examples) == len(NOUNS) * len(VERBS) * 3
    assert verifier_of(labelled.fitted) != built_in()
    assert all(one.score == 0.0 for one in labelled.examples if one.score < 0.001)
    same = [one.score for one in labelled.examples if one.benefit == 1.0]
    other = [one.score for one in labelled.examples if one.loss == 1.0]
    assert min(same) > max(other)
    assert "cosine" in labelled.baselines
    assert "the guards object to" in labelled.notes[0]


async def test_no_group_stands_on_both_sides(tmp_path):
    path = write_pairs(tmp_path)
    labelled = await source(fit_share=0.5).decisions(SourceRequest((path,)))
    noun_of = {f"{path.name}:{line}": json.loads(text)["group"] for line, text in enumerate(path.read_text().splitlines(), 1)}
    scored = {noun_of[one.id] for one in labelled.examples}
    whole = await source(verifier="built-in").decisions(SourceRequest((path,)))
    assert len([one for one in whole.examples if noun_of[one.id] in scored]) == len(labelled.examples)


async def test_the_threshold_of_the_pairs_keeps_false_hits_out(tmp_path):
    labelled = await source(fit_share=0.35).decisions(SourceRequest((write_pairs(tmp_path),)))
    calibration = calibrate(labelled.examples, labelled.limit(0.6))
    assert calibration.threshold is not None
    assert not [one for one in labelled.examples if one.loss and one.score >= calibration.threshold]


async def test_verifying_fits_nothing_and_scores_every_pair_with_the_artefacts_numbers(tmp_path):
    path = write_pairs(tmp_path)
    fitted = (await source(fit_share=0.5).decisions(SourceRequest((path,)))).fitted
    again = await source().decisions(SourceRequest((path,), fitted=fitted))
    assert again.fit_count == 0
    assert again.fitted == fitted
    assert len(again.examples) == len(NOUNS) * len(VERBS) * 3


async def test_the_cosine_alone_can_be_what_is_calibrated(tmp_path):
    labelled = await source(scorer="cosine").decisions(SourceRequest((write_pairs(tmp_path),)))
    assert labelled.fitted == {}
    assert labelled.fit_count == 0
    assert labelled.config["cache.lookup.scorer"] == "cosine"


async def test_pairs_of_one_label_say_what_is_missing(tmp_path):
    path = tmp_path / "same.jsonl"
    path.write_text('{"text_a": "What is it?", "text_b": "What is this?", "label": 1}', encoding="utf-8")
    with pytest.raises(DataError, match="All 1 pairs have one label.*--set nearest=3"):
        await source().decisions(SourceRequest((path,)))


async def test_too_few_pairs_to_fit_on_say_so(tmp_path):
    path = tmp_path / "few.jsonl"
    rows = [{"text_a": f"What is {word}?", "text_b": f"What is a {word}?", "label": number % 2} for number, word in enumerate(NOUNS)]
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with pytest.raises(DataError, match="at least 20 pairs.*built-in"):
        await source().decisions(SourceRequest((path,)))


def test_a_line_that_is_no_pair_is_told_with_its_number(tmp_path):
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text_a": "a", "text_b": "b", "label": 1}\n{"text_a": "a", "label": 2}\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"bad.jsonl.*2"):
        read_pairs([path])


def case(ident: str, question: str, group: str = "") -> Case:
    return Case(id=ident, question=question, answerable=False, kind="unanswerable", group=group)


def test_a_golden_set_gives_paraphrases_rewordings_and_hard_negatives():
    cases = [case("1", "What is the limit for meals in Leeds?", "g"), case("2", "How much may I eat for in Leeds?", "g")]
    cases.append(case("3", "What is the limit for meals in Halden?"))
    pairs = golden_pairs(cases)
    families = {pair.family for pair in pairs}
    assert {"golden paraphrase", "golden rewording", "hard negative: denied"} <= families
    assert next(pair for pair in pairs if pair.family == "golden paraphrase").same
    assert not [pair for pair in pairs if pair.family.startswith("hard") and pair.same]
    assert {pair.group for pair in pairs} == {"g", "3"}
    assert len({pair.id for pair in pairs}) == len(pairs)


def test_the_nearest_others_are_of_other_groups_and_each_pair_stands_once():
    vectors = np.array([[1, 0], [0.9, 0.1], [0.8, 0.2], [0, 1]], dtype=np.float32)
    pairs = nearest_others(["a", "b", "c", "d"], ["g", "g", "h", "i"], vectors, nearest=1)
    assert {(pair.question, pair.other) for pair in pairs} == {("a", "c"), ("b", "c"), ("c", "d")}
    assert not any(pair.same for pair in pairs)
