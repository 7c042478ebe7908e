import json
from pathlib import Path
from typing import ClassVar

import pytest

from harness.calibrate.artefact import calibrated_threshold, keep_threshold
from harness.calibrate.calibrate import calibrate
from harness.calibrate.guard import GuardSource
from harness.calibrate.source import SourceRequest
from harness.project.run import run as wait
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError
from serving.pipeline.guard import CHECKS
from serving.pipeline.guard.base import CheckContext, CheckVerdict
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams


class LengthCheck:
    """A check of a company: the longer a text, the higher its score; it knows no artefacts."""

    version: ClassVar[str] = "7"
    sides: ClassVar[tuple[str, ...]] = ("input",)
    rewrites = blocks = False

    class Params(PlugInParams):
        threshold: float = 0.9
        most: int = 100

    def __init__(self, params: Params, parts: Parts) -> None:
        self._most = params.most

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        return CheckVerdict.allow(text, len(text) / self._most)


class SilentCheck(LengthCheck):
    """A check that gives no score."""

    async def check(self, text: str, context: CheckContext) -> CheckVerdict:
        return CheckVerdict.allow(text)


@pytest.fixture(autouse=True)
def company(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, made in (("length", LengthCheck), ("silent", SilentCheck)):
        monkeypatch.setitem(CHECKS._table, name, f"{__name__}:{made.__name__}")


def labels(path: Path) -> Path:
    words = ("alpha", "beta", "gamma", "delta", "kappa", "sigma", "omega", "theta", "lambda", "zeta")
    rows = [{"text": f"{words[n % 10]} {n}", "label": 0, "family": "short"} for n in range(80)]
    rows += [{"text": f"{words[n % 10]} {1000 + n} {'x' * (40 + n)}", "label": 1, "family": "long"} for n in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def source(tmp_path: Path, **params: object) -> GuardSource:
    return GuardSource(GuardSource.Params.model_validate(params), HarnessSettings(home=tmp_path, _env_file=None))


def test_any_check_with_a_score_is_calibrated_and_one_that_reads_no_artefact_is_given_the_number(tmp_path: Path) -> None:
    made = source(tmp_path, check="length", params={"most": 200}, entry="long")
    found = wait(made.decisions(SourceRequest((labels(tmp_path / "texts.jsonl"),))))
    assert found.scorer == "length 7"
    assert [one.counts for one in found.examples] == [True] * 80 + [False] * 20
    assert {one.family for one in found.examples} == {"short", "long"}
    calibration = calibrate(found.examples, found.limit(0.05))
    assert calibration.threshold == pytest.approx(51 / 200)  # the shortest of the long ones
    kept = keep_threshold(calibrated_threshold(calibration, found, "2026-11-29"), found.config, tmp_path)
    assert kept.config == {"guard.input.long.name": "length", "guard.input.long.most": 200, "guard.input.long.threshold": 51 / 200}


def test_a_check_without_a_score_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="The check 'silent' gives no score"):
        wait(source(tmp_path, check="silent").decisions(SourceRequest((labels(tmp_path / "texts.jsonl"),))))


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    request = SourceRequest((labels(tmp_path / "texts.jsonl"),), progress=lambda *one: told.append(one))
    wait(source(tmp_path, check="length").decisions(request))
    assert told == [("texts scored", 0, 100), ("texts scored", 50, 100)]


def test_one_label_alone_is_enough_to_verify(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"text": "What is new?", "label": 0}\n')
    assert len(wait(source(tmp_path, check="length").decisions(SourceRequest((path,), {}))).examples) == 1
