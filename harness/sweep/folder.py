"""A sweep on disk: what was asked, and every finished trial; enough to go on after any end."""

import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.results.report import EvalReport, read_report, write_report
from harness.results.slim import slim_row
from harness.stats import Comparison
from harness.sweep.experiment import Experiment
from harness.sweep.trial import State, Trial
from harness.sweep.verdict import Finalist, SweepResult
from serving.pipeline.codec import Codec
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.registry import explain
from serving.storage.files import write_text
from serving.storage.lock import file_lock

STATE = "sweep.json"
RESULT = "result.json"


class Begun(BaseModel):
    """What a sweep was begun with; going on with anything else would mix two questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: dict[str, Any]
    golden_digest: str
    corpus: str
    corpus_digest: str
    endpoints: str = ""  # where hosted models are asked, if not at their provider's own place
    champion: dict[str, Any] | None = None
    run_id: str = ""
    started_at: str = ""
    estimate: dict[str, Any] | None = None  # what it was thought to cost
    agreed: bool = False  # that hosted models are paid for; nobody was asked where they only answered from what is kept


class _Line(BaseModel):
    """A finished trial, beside its report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    number: int
    values: dict[str, Any]
    objectives: tuple[float, ...]
    state: State
    why: str
    label: str
    violations: dict[str, float]
    run_id: str


@dataclass(frozen=True, slots=True)
class _Proven:
    """A finalist, beside its report on the holdout."""

    number: int
    against: Comparison | None


@dataclass(frozen=True, slots=True)
class _Ended:
    """What a sweep found, beside its trials."""

    experiment: dict[str, Any]  # as it ended: a sweep that is gone on with may have more trials than it was begun with
    trials: tuple[int, ...]
    finalists: tuple[_Proven, ...]
    winner: int
    reason: str
    run_id: str
    run_url: str
    ended: str
    spent_usd: float
    seconds: float
    counts: dict[str, dict[str, int]]


_ENDED = Codec(_Ended)


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """`reports/sweeps/<name>-<time>/`: `sweep.json`, two files for each finished trial, and what it found when it ended."""

    path: Path

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep every other process away while this one goes on with the sweep."""
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self.path / ".lock", wait=False))
            except BlockingIOError:
                raise ConfigError(f"The sweep in {self.path} is running in another process. Wait for it, or stop it first.") from None
            for left in self.path.rglob(".*.*.*"):  # what a killed process had not written to its end
                left.unlink()
            yield

    def exists(self) -> bool:
        """Whether a sweep was begun here."""
        return (self.path / STATE).is_file()

    def begin(self, begun: Begun) -> None:
        """Write down what was asked."""
        write_text(self.path / STATE, begun.model_dump_json(indent=1))

    def begun(self) -> Begun:
        """What was asked."""
        path = self.path / STATE
        try:
            begun = Begun.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"No sweep in {self.path}: it has no {STATE}.") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
        except ValidationError as error:
            raise DataError(explain(error, str(path), list(Begun.model_fields))) from None
        _experiment(begun.experiment, path)
        return begun

    def keep(self, tried: Trial) -> None:
        """Keep a finished trial: its report first, then the line that says it is finished."""
        write_report(tried.report, self._trial(tried.number))
        line = _Line(
            number=tried.number,
            values=dict(tried.values),
            objectives=tried.objectives,
            state=tried.state,
            why=tried.why,
            label=tried.label,
            violations=dict(tried.violations),
            run_id=tried.run_id,
        )
        write_text(self._trial(tried.number).with_suffix(".json"), line.model_dump_json(indent=1))

    def count(self) -> int:
        """How many trials are finished."""
        return len(list((self.path / "trials").glob("*.json")))

    def whole(self, tried: Trial) -> EvalReport:
        """A trial's report with all that was found and read; as the trial has it where none is kept here."""
        path = self._trial(tried.number)
        return read_report(path) if path.is_file() else tried.report

    def finished(self) -> list[Trial]:
        """Every finished trial, by number; their reports are slim, since there may be thousands."""
        found: list[Trial] = []
        for path in sorted((self.path / "trials").glob("*.json")):
            try:
                line = _Line.model_validate_json(path.read_bytes())
                report = read_report(path.with_suffix(".jsonl"), slim_row)
            except (ValidationError, OSError, DataError) as error:
                why = str(error).splitlines()[0]
                raise DataError(f"{path}: not a finished trial: {why} Remove it, and its cases are scored again.") from None
            config = RagConfig.parse(report.header.config, source=str(path))
            facts = (line.objectives, line.run_id, line.state, line.why, line.label, line.violations)
            found.append(Trial(line.number, line.values, config, report, *facts))
        return sorted(found, key=lambda one: one.number)

    def write_result(self, result: SweepResult) -> None:
        """Keep what the sweep found: the finalists' reports on the holdout first, then the verdict."""
        for one in result.finalists:
            write_report(one.holdout, self._holdout(one.tried))
        ended = _Ended(
            experiment=result.experiment.model_dump(mode="json"),
            trials=tuple(one.number for one in result.trials),
            finalists=tuple(_Proven(one.tried.number, one.against) for one in result.finalists),
            winner=result.winner.tried.number,
            reason=result.reason,
            run_id=result.run_id,
            run_url=result.run_url,
            ended=result.ended,
            spent_usd=result.spent_usd,
            seconds=result.seconds,
            counts={stage: dict(numbers) for stage, numbers in result.counts.items()},
        )
        write_text(self.path / RESULT, json.dumps(_ENDED.dump(ended), indent=1, ensure_ascii=False))

    def read_result(self) -> SweepResult | None:
        """What the sweep found; `None` where it has not ended, or has more trials than when it did."""
        path = self.path / RESULT
        if not path.is_file():
            return None
        try:
            ended = _ENDED.parse(path.read_text(encoding="utf-8"))
        except (ValidationError, OSError, UnicodeDecodeError):
            raise self._no_result() from None
        experiment = _experiment(ended.experiment, path)
        trials = {one.number: one for one in self.finished()}
        if trials.keys() != set(ended.trials):
            return None
        if not {ended.winner} <= {one.number for one in ended.finalists} <= trials.keys():
            raise self._no_result()
        finalists = tuple(
            Finalist(trials[one.number], read_report(self._holdout(trials[one.number])), one.against) for one in ended.finalists
        )
        winner = next(one for one in finalists if one.tried.number == ended.winner)
        return SweepResult(
            experiment,
            tuple(trials[number] for number in ended.trials),
            finalists,
            winner,
            ended.reason,
            ended.run_id,
            ended.run_url,
            ended.ended,
            ended.spent_usd,
            ended.seconds,
            ended.counts,
        )

    def _trial(self, number: int) -> Path:
        return self.path / "trials" / f"{number:03d}.jsonl"

    def _no_result(self) -> DataError:
        return DataError(f"{self.path / RESULT}: not what a sweep found. Write it anew: touchstone sweep --folder {self.path}")

    def _holdout(self, tried: Trial) -> Path:
        return self.path / "holdout" / f"{tried.number:03d}.jsonl"


def new_folder(reports: Path, name: str, now: datetime) -> SweepFolder:
    """A folder of its own for a new sweep, whoever else begins one in the same second."""
    path = reports / "sweeps" / f"{name}-{now:%Y%m%d-%H%M%S}"
    for number in itertools.count(2):
        try:
            path.mkdir(parents=True)
        except FileExistsError:
            path = path.with_name(f"{name}-{now:%Y%m%d-%H%M%S}-{number}")
        else:
            break
    return SweepFolder(path)


def latest(reports: Path, name: str = "") -> SweepFolder:
    """The sweep begun last, of an experiment or of all."""
    found = [path.parent for path in reports.glob(f"sweeps/{name or '*'}*/{STATE}") if not name or _named(path, name)]
    if not found:
        raise ConfigError(f"No sweep{' of ' + repr(name) if name else ''} in {reports / 'sweeps'} to go on with.")
    return SweepFolder(max(found, key=lambda path: ((path / STATE).stat().st_mtime, path.name)))


def _named(state: Path, name: str) -> bool:
    try:
        return bool(json.loads(state.read_text(encoding="utf-8"))["experiment"]["name"] == name)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def experiment_of(begun: Begun) -> Experiment:
    """The experiment as it was when the sweep was begun."""
    return Experiment.model_validate(begun.experiment)


def _experiment(plain: Mapping[str, Any], source: Path) -> Experiment:
    """An experiment out of one of a sweep's files, which an older version or a hand may have written."""
    try:
        return Experiment.model_validate(plain)
    except ValidationError as error:
        raise DataError(explain(error, f"{source}, experiment", list(Experiment.model_fields))) from None


def refuse_changed(begun: Begun, now: Mapping[str, str]) -> None:
    """A `ConfigError` where what a sweep stands on is no longer what it was begun with."""
    for name, what in (("golden_digest", "golden set"), ("corpus_digest", "corpus"), ("endpoints", "endpoint of hosted models")):
        before, after = getattr(begun, name), now[name]
        if before != after:
            change = f"{before or 'none'} → {after or 'none'}"
            raise ConfigError(f"The {what} has changed since the sweep was begun ({change}). Put it back, or begin a new one.")
