"""A sweep on disk: what it was begun with, every finished trial, and its result; enough to go on after any end."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.results.new_folder import new_folder
from harness.results.report import EvalReport
from harness.results.report_file import read_report, write_report
from harness.results.slim import slim_row
from harness.results.timing import TimingComparison
from harness.stats import Comparison
from harness.sweep.experiment import Experiment
from harness.sweep.finalist import Finalist
from harness.sweep.trial import State, Trial
from harness.sweep.verdict import SweepResult
from serving.pipeline.codec import Codec
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError, IntegrityError
from serving.pipeline.redact import without_password
from serving.pipeline.registry import explain
from serving.storage.files import write_text
from serving.storage.lock import file_lock

STATE = "sweep.json"
RESULT = "result.json"


class SweepRecord(BaseModel):
    """`sweep.json`: what a sweep was begun with; going on with anything else would mix two questions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    experiment: dict[str, Any]
    golden_digest: str
    corpus: str
    corpus_digest: str
    endpoints: str = ""  # where hosted models are asked, if not at their provider's own place
    champion: dict[str, Any] | None = None
    run_id: str = ""  # of tracking
    started_at: str = ""
    estimate: dict[str, Any] | None = None
    agreed: bool = False  # to pay for hosted models; nobody was asked where they only answered from what is kept

    @property
    def champion_config(self) -> RagConfig | None:
        """The champion that has to be beaten."""
        return RagConfig.parse(self.champion) if self.champion else None


class TrialRecord(BaseModel):
    """`trials/<number>.json`: a finished trial, beside its report."""

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
class FinalistRecord:
    """A finalist, beside its report on the holdout."""

    number: int
    against: Comparison | None
    timing: TimingComparison | None = None


@dataclass(frozen=True, slots=True)
class ResultRecord:
    """`result.json`: what a sweep found, beside its trials."""

    experiment: dict[str, Any]  # as it ended: a sweep that is gone on with may have more trials than it was begun with
    trials: tuple[int, ...]
    finalists: tuple[FinalistRecord, ...]
    winner: int
    reason: str
    run_id: str
    run_url: str
    ended: str
    spent_usd: float
    seconds: float
    counts: dict[str, dict[str, int]]


_RESULT = Codec(ResultRecord)


@dataclass(frozen=True, slots=True)
class SweepFolder:
    """`reports/sweeps/<name>-<time>/`: `sweep.json`, two files for each finished trial, and what it found when it ended."""

    path: Path

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the sweep's lock: no other process goes on with it meanwhile."""
        self.path.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self.path / ".lock", wait=False))
            except BlockingIOError:
                raise ConfigError(f"The sweep in {self.path} is running in another process. Wait for it, or stop it first.") from None
            for unfinished in self.path.rglob(".*.*.*"):  # what a killed process had not written to its end
                unfinished.unlink()
            yield

    def exists(self) -> bool:
        """Whether a sweep was begun here."""
        return (self.path / STATE).is_file()

    def write_record(self, record: SweepRecord) -> None:
        """Write down what a sweep is begun with."""
        write_text(self.path / STATE, record.model_dump_json(indent=1))

    def record(self) -> SweepRecord:
        """What the sweep was begun with."""
        path = self.path / STATE
        try:
            record = SweepRecord.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise DataError(f"No sweep in {self.path}: it has no {STATE}.") from None
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
        except ValidationError as error:
            raise DataError(explain(error, str(path), list(SweepRecord.model_fields))) from None
        _parse_experiment(record.experiment, path)
        return record

    def write_trial(self, trial: Trial) -> None:
        """Write a finished trial: its report first, then the record that says it is finished."""
        write_report(trial.report, self._trial_report(trial.number))
        facts = {name: getattr(trial, name) for name in TrialRecord.model_fields}
        record = TrialRecord.model_validate(facts | {"values": dict(trial.values), "violations": dict(trial.violations)})
        write_text(self._trial_report(trial.number).with_suffix(".json"), record.model_dump_json(indent=1))

    def finished_count(self) -> int:
        """How many trials are finished."""
        return len(list((self.path / "trials").glob("*.json")))

    def full_report(self, trial: Trial) -> EvalReport:
        """A trial's report with all that was found and read; as the trial has it where none was written here."""
        path = self._trial_report(trial.number)
        return read_report(path) if path.is_file() else trial.report

    def finished(self) -> list[Trial]:
        """Every finished trial, by number; their reports are slim, since there may be thousands."""
        trials: list[Trial] = []
        for path in sorted((self.path / "trials").glob("*.json")):
            try:
                record = TrialRecord.model_validate_json(path.read_bytes())
                report = read_report(path.with_suffix(".jsonl"), slim_row)
            except (ValidationError, OSError, DataError, IntegrityError) as error:
                why = str(error).splitlines()[0]
                raise DataError(f"{path}: not a finished trial: {why} Remove it, and its cases are scored again.") from None
            config = RagConfig.parse(report.header.config, source=str(path))
            facts = {name: getattr(record, name) for name in TrialRecord.model_fields}
            trials.append(Trial(config=config, report=report, **facts))
        return sorted(trials, key=lambda trial: trial.number)

    def write_result(self, result: SweepResult) -> None:
        """Write what the sweep found: the finalists' reports on the holdout first, then the verdict."""
        for finalist in result.finalists:
            write_report(finalist.holdout, self._holdout_report(finalist.trial))
        record = ResultRecord(
            experiment=result.experiment.model_dump(mode="json"),
            trials=tuple(trial.number for trial in result.trials),
            finalists=tuple(FinalistRecord(finalist.trial.number, finalist.against, finalist.timing) for finalist in result.finalists),
            winner=result.winner.trial.number,
            reason=result.reason,
            run_id=result.run_id,
            run_url=result.run_url,
            ended=result.ended,
            spent_usd=result.spent_usd,
            seconds=result.seconds,
            counts={stage: dict(numbers) for stage, numbers in result.counts.items()},
        )
        write_text(self.path / RESULT, json.dumps(_RESULT.dump(record), indent=1, ensure_ascii=False))

    def read_result(self) -> SweepResult | None:
        """What the sweep found; `None` where it has not ended, or has more trials than when it did."""
        path = self.path / RESULT
        if not path.is_file():
            return None
        try:
            record = _RESULT.parse(path.read_text(encoding="utf-8"))
        except (ValidationError, OSError, UnicodeDecodeError):
            raise self._no_result() from None
        experiment = _parse_experiment(record.experiment, path)
        trials = {trial.number: trial for trial in self.finished()}
        if trials.keys() != set(record.trials):
            return None
        if not {record.winner} <= {one.number for one in record.finalists} <= trials.keys():
            raise self._no_result()
        finalists = tuple(
            Finalist(trials[one.number], read_report(self._holdout_report(trials[one.number])), one.against, one.timing)
            for one in record.finalists
        )
        return SweepResult(
            experiment,
            tuple(trials[number] for number in record.trials),
            finalists,
            next(finalist for finalist in finalists if finalist.trial.number == record.winner),
            record.reason,
            record.run_id,
            record.run_url,
            record.ended,
            record.spent_usd,
            record.seconds,
            record.counts,
        )

    def _trial_report(self, number: int) -> Path:
        return self.path / "trials" / f"{number:03d}.jsonl"

    def _no_result(self) -> DataError:
        return DataError(f"{self.path / RESULT}: not what a sweep found. Write it anew: touchstone sweep --folder {self.path}")

    def _holdout_report(self, trial: Trial) -> Path:
        return self.path / "holdout" / f"{trial.number:03d}.jsonl"


def new_sweep_folder(reports: Path, name: str, now: datetime) -> SweepFolder:
    """A folder of its own for a new sweep, whoever else begins one in the same second."""
    return SweepFolder(new_folder(reports / "sweeps", name, now))


def latest(reports: Path, name: str = "") -> SweepFolder:
    """The sweep begun last, of an experiment or of all."""
    folders = [path.parent for path in reports.glob(f"sweeps/{name or '*'}*/{STATE}") if not name or _experiment_name(path) == name]
    if not folders:
        raise ConfigError(f"No sweep{' of ' + repr(name) if name else ''} in {reports / 'sweeps'} to go on with.")
    return SweepFolder(max(folders, key=lambda path: ((path / STATE).stat().st_mtime, path.name)))


def _experiment_name(state: Path) -> str:
    """The experiment's name in a sweep's file; empty where it cannot be read."""
    try:
        return str(json.loads(state.read_text(encoding="utf-8"))["experiment"]["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def experiment_of(record: SweepRecord) -> Experiment:
    """The experiment as it was when the sweep was begun."""
    return Experiment.model_validate(record.experiment)


def _parse_experiment(data: Mapping[str, Any], source: Path) -> Experiment:
    """An experiment out of one of a sweep's files, which an older version or a hand may have written."""
    try:
        return Experiment.model_validate(data)
    except ValidationError as error:
        raise DataError(explain(error, f"{source}, experiment", list(Experiment.model_fields))) from None


def refuse_changed(record: SweepRecord, now: Mapping[str, str]) -> None:
    """A `ConfigError` where what a sweep stands on is no longer what it was begun with."""
    for name, what in (("golden_digest", "golden set"), ("corpus_digest", "corpus"), ("endpoints", "endpoint of hosted models")):
        before, after = without_password(getattr(record, name)), now[name]  # earlier versions wrote it with its password
        if before != after:
            change = f"{before or 'none'} → {after or 'none'}"
            raise ConfigError(f"The {what} has changed since the sweep was begun ({change}). Put it back, or begin a new one.")
