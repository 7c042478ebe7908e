from dataclasses import replace
from pathlib import Path

import pytest

from harness.calibrate.artefact import calibrated_threshold, keep_threshold
from harness.calibrate.calibrate import calibrate
from harness.calibrate.labelled import ARTEFACT, LabelledDecision, LabelledDecisions
from harness.calibrate.verify import find_threshold, verify
from serving.pipeline.artefacts import FolderArtefacts, keep_artefact
from serving.pipeline.errors import ConfigError, DataError, IntegrityError
from serving.pipeline.fitted.calibrated import CalibratedThreshold, read_calibrated, threshold_of


def labelled(lost: int, count: int, *, file: str = "a" * 64, score: float = 0.9, **more: object) -> LabelledDecisions:
    examples = tuple(LabelledDecision(f"e{number}", score, float(number < lost), 1.0) for number in range(count))
    known: dict[str, object] = {"kind": "per_action", "config": {"cache.lookup.calibrated": ARTEFACT, "cache.lookup.threshold": None}}
    return LabelledDecisions("cache", examples, "cosine 1", {"labels.jsonl": file}, **(known | more))  # type: ignore[arg-type]


@pytest.fixture
def threshold() -> CalibratedThreshold:
    first = labelled(0, 200, fitted={"weights": [0.5, 1.5]})
    return calibrated_threshold(calibrate(first.examples, first.limit(0.05)), first, "2026-11-29")


def test_newer_labels_that_show_it_again_say_that_it_holds(threshold: CalibratedThreshold) -> None:
    found = verify(threshold, labelled(1, 200, file="b" * 64))
    assert (found.outcome, found.actions, found.risk) == ("holds", 200, 0.005)
    assert found.bound is not None
    assert found.bound <= 0.05
    assert found.words.startswith("holds: the risk on these labels is 0.5 %, at most 2.35 % with 95 % confidence, and 5 % was promised")


def test_newer_labels_that_contradict_it_say_that_it_is_broken(threshold: CalibratedThreshold) -> None:
    found = verify(threshold, labelled(20, 200, file="b" * 64))
    assert (found.outcome, found.risk) == ("broken", 0.1)


def test_too_few_newer_labels_leave_it_undecided_and_say_how_many_would_decide(threshold: CalibratedThreshold) -> None:
    found = verify(threshold, labelled(0, 30, file="b" * 64))
    assert (found.outcome, found.needed) == ("undecided", 59)
    above = verify(threshold, labelled(4, 60, file="b" * 64))
    assert (above.outcome, above.needed) == ("undecided", None)
    silent = verify(threshold, labelled(0, 500, file="b" * 64, score=0.1))
    assert (silent.outcome, silent.actions, silent.risk) == ("undecided", 0, None)


def test_a_risk_per_decision_holds_where_nothing_acts() -> None:
    first = labelled(0, 100, kind="per_decision")
    kept = calibrated_threshold(calibrate(first.examples, first.limit(0.05)), first, "2026-11-29")
    found = verify(kept, labelled(0, 100, file="b" * 64, score=0.1))
    assert (found.outcome, found.actions, found.risk) == ("holds", 0, 0.0)


def test_the_labels_it_was_made_of_prove_nothing(threshold: CalibratedThreshold) -> None:
    with pytest.raises(DataError, match=r"labels\.jsonl: the threshold was calibrated on these very labels"):
        verify(threshold, labelled(0, 200))


def test_other_scores_are_not_those_of_the_threshold(threshold: CalibratedThreshold) -> None:
    with pytest.raises(DataError, match="belongs to the scores of 'cosine 1'; these are of 'cosine 2'"):
        verify(threshold, replace(labelled(0, 200, file="b" * 64), scorer="cosine 2"))


def test_an_artefact_is_kept_found_by_digest_or_path_and_named_in_the_configuration(threshold: CalibratedThreshold, tmp_path: Path) -> None:
    kept = keep_threshold(threshold, labelled(0, 1).config, tmp_path)
    assert kept.config == {"cache.lookup.calibrated": kept.digest, "cache.lookup.threshold": None}
    assert keep_threshold(threshold, {}, tmp_path).digest == kept.digest
    for name in (kept.digest, str(tmp_path / f"{kept.digest}.json")):
        assert find_threshold(name, tmp_path, "cache") == threshold
    assert read_calibrated(FolderArtefacts(tmp_path), kept.digest, "cache", "cosine 1").fitted == {"weights": [0.5, 1.5]}
    with pytest.raises(DataError, match="was calibrated for the cache, not for the guard"):
        find_threshold(kept.digest, tmp_path, "guard")
    for odd in ("", "../secrets", "nothing.json", "a/b"):
        with pytest.raises(DataError, match="Name it by its digest"):
            find_threshold(odd, tmp_path, "cache")
    with pytest.raises(DataError, match="No artefact"):
        find_threshold("0" * 16, tmp_path, "cache")
    (tmp_path / f"{kept.digest}.json").write_text('{"threshold": 0.1}')
    with pytest.raises(IntegrityError, match="altered"):
        find_threshold(kept.digest, tmp_path, "cache")


def test_no_safe_threshold_makes_no_artefact() -> None:
    few = labelled(0, 10)
    with pytest.raises(DataError, match="No safe threshold, so no artefact"):
        calibrated_threshold(calibrate(few.examples, few.limit(0.05)), few, "2026-11-29")


def test_a_part_takes_its_own_threshold_before_the_artefacts(threshold: CalibratedThreshold, tmp_path: Path) -> None:
    digest, source = keep_threshold(threshold, {}, tmp_path).digest, FolderArtefacts(tmp_path)
    assert threshold_of(0.3, digest, source, "cache", "cosine 1", "lookup") == 0.3
    assert threshold_of(None, digest, source, "cache", "cosine 1", "lookup") == 0.9
    with pytest.raises(ConfigError, match="lookup: a threshold is needed, or the artefact of one"):
        threshold_of(None, None, source, "cache", "cosine 1", "lookup")
    with pytest.raises(DataError, match="calibrated with the scores of 'cosine 1'; this one is 'cosine 2'"):
        threshold_of(None, digest, source, "cache", "cosine 2", "lookup")


@pytest.mark.parametrize("damage", [{"threshold": "NaN"}, {"format": "calibrated-threshold/9"}, {"surprise": 1}, {"proof": {}}])
def test_an_artefact_of_another_form_is_refused(threshold: CalibratedThreshold, tmp_path: Path, damage: dict[str, object]) -> None:
    digest = keep_artefact(tmp_path, threshold.model_dump(mode="json") | damage)
    with pytest.raises(DataError, match=digest):
        read_calibrated(FolderArtefacts(tmp_path), digest, "cache")
