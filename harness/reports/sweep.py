"""The report of a sweep: one page that fetches nothing, the same in Markdown, and the experiment as it ran."""

import shlex
from dataclasses import dataclass
from pathlib import Path

import yaml

from harness.reports.charts import figures
from harness.reports.findings import SweepFindings, crashed, scored_cases, state_of, value_of, why_of
from harness.reports.page import render, weakest
from harness.reports.plotly import Charts
from harness.reports.sweep_markdown import markdown
from harness.reports.text import change_rows, incumbent_text, share_text, time_text, title_of, usd_text, verdict_text
from harness.results.times import milliseconds_text, timing_text
from harness.stats.text import difference_text, p_value_text
from harness.sweep.experiment import Experiment
from harness.sweep.folder import SweepFolder, experiment_of
from harness.sweep.importance import SHUFFLES
from harness.sweep.verdict import SweepResult
from harness.sweep.winner import WINNER
from serving.pipeline.config import RagConfig
from serving.storage.files import write_text

EXPERIMENT = "experiment.yaml"
CHAMPION = "champion.yaml"
MAX_TRIALS = 300  # trials in the page's table; the charts and MLflow have all


@dataclass(frozen=True, slots=True)
class WrittenPage:
    """A page, and whether the sweep it is of has a verdict."""

    page: Path
    ended: bool


def write_sweep(result: SweepResult, folder: Path) -> Path:
    """Write `report.html`, `report.md`, `experiment.yaml` and the champion it was compared with; returns the HTML's path."""
    return _write(SweepFindings(result.experiment, result.trials, result), SweepFolder(folder), folder)


def write_sweep_folder(path: Path, folder: Path) -> WrittenPage:
    """The same from a sweep's folder; of a sweep that has not come to its verdict, what is known so far."""
    sweep = SweepFolder(path)
    result = sweep.read_result()
    if result:
        return WrittenPage(_write(SweepFindings(result.experiment, result.trials, result), sweep, folder), ended=True)
    findings = SweepFindings(experiment_of(sweep.record()), tuple(sweep.finished()))
    return WrittenPage(_write(findings, sweep, folder), ended=False)


def _write(findings: SweepFindings, sweep: SweepFolder, folder: Path) -> Path:
    trial = findings.detailed_trial
    commands = [f"touchstone sweep {_shell_path(folder / EXPERIMENT)}"]
    if findings.result:
        winner = sweep.path / WINNER
        commands += [f"touchstone gate --config {_shell_path(winner.with_suffix('.yaml'))}", f"touchstone promote {_shell_path(winner)}"]
    page = render(
        "sweep.html.j2",
        title=title_of(findings),
        findings=findings,
        charts=Charts(figures(findings)) if findings.trials else None,
        changes=change_rows(findings),
        verdict=verdict_text(findings),
        weakest=weakest(sweep.full_report(trial), findings.goal) if trial else [],
        config=config_text(trial.config) if trial else "",
        seen=scored_cases([finished.report for finished in findings.trials]),
        listed=MAX_TRIALS,
        commands=commands,
        incumbent=incumbent_text(findings),
        shuffles=SHUFFLES,
        p_value_text=p_value_text,
        state_of=state_of,
        why_of=why_of,
        value_of=value_of,
        crashed=crashed,
        difference_text=difference_text,
        milliseconds_text=milliseconds_text,
        timing_text=timing_text,
        share_text=share_text,
        time_text=time_text,
        usd_text=usd_text,
    )
    write_text(folder / EXPERIMENT, experiment_text(findings.experiment))
    if findings.champion:
        write_text(folder / CHAMPION, config_text(findings.champion.config))
    write_text(folder / "report.md", "\n".join(markdown(findings, commands)) + "\n")
    write_text(folder / "report.html", page)
    return folder / "report.html"


def experiment_text(experiment: Experiment) -> str:
    """An experiment as the file that runs it again: what the command line changed is in it."""
    data = experiment.model_dump(mode="json", exclude_defaults=True)
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def config_text(config: RagConfig) -> str:
    """A configuration as the file that `--config` takes."""
    return yaml.safe_dump(config.complete().model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _shell_path(path: Path) -> str:
    """A path as one types it from the working directory."""
    working_directory = Path.cwd()
    return shlex.quote(str(path.relative_to(working_directory) if path.is_relative_to(working_directory) else path))
