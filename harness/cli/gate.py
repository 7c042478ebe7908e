"""`touchstone gate`: does this configuration pass? Exit code 0 yes, 1 no, 3 undecided."""

import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, ConfigFile, ReplayOnly, Set, UseStore, print_json, read_config
from harness.cli.output.progress import progress_line
from harness.settings import HarnessSettings, read_settings
from serving.pipeline.errors import ConfigError, TouchstoneError, UserError

if TYPE_CHECKING:
    from harness.gate.decision import Decision
    from harness.gate.run_gate import GateResult
    from harness.project import Project
    from harness.resolve import RecordedRun
    from serving.pipeline.config import RagConfig

PULL_REQUEST = Path("experiments/gates/pull_request.yaml")


def gate(
    file: Annotated[Path, typer.Argument(help="A gate file.")] = PULL_REQUEST,
    config: ConfigFile = None,
    change: Set = None,
    run: Annotated[Path | None, typer.Option("--run", help="Judge this evaluation's cases.jsonl in place of a new one.")] = None,
    candidate: Annotated[
        str, typer.Option("--candidate", help="Judge what `touchstone promote` would take by this name: a release, a run, a winner.")
    ] = "",
    champion: Annotated[Path | None, typer.Option("--champion", help="Compare with this evaluation in place of the champion.")] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML here too.")] = None,
    markdown: Annotated[Path | None, typer.Option("--markdown", help="Write the Markdown summary here too.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder of all files; default: reports/gates/<name>-<time>.")] = None,
    store: UseStore = True,
    replay_only: ReplayOnly = False,
    as_json: AsJson = False,
) -> None:
    """Judge a configuration by a gate: exit 0 it passes, 1 it does not, 3 the machinery failed."""
    from harness.gate.decide import undecided
    from harness.gate.gate import load_gate
    from harness.gate.run_gate import reproducible
    from harness.project import Project

    if (run or candidate) and (config or change):
        raise ConfigError(f"{'--run' if run else '--candidate'} judges the configuration that it names; leave --config and --set out.")
    if run and candidate:
        raise ConfigError("--run and --candidate both say what is judged; leave one of them out.")
    settings = read_settings()
    chosen = load_gate(file)
    command = _command(file, config, change or (), run, champion, candidate)
    files = (out, junit, markdown)
    try:
        with progress_line(quiet=as_json) as line:
            project = Project(settings, line.update)
            what = recorded_run(run) if run else named_candidate(project, candidate) if candidate else read_config(config, change)
            result = run_async(project.gate(file, what, champion=champion, store=store, replay_only=replay_only))
    except (TouchstoneError, OSError) as error:
        if not isinstance(error, UserError):
            _report_decision(undecided(chosen, str(error), reproduce=command), None, settings, files, as_json=as_json)
        raise
    result = reproducible(result, command)
    _report_decision(result.decision, result, settings, files, as_json=as_json)
    if (counts := project.counts) is not None and not as_json:
        typer.echo(f"kept from before: {counts.summary()}")
    raise typer.Exit(result.decision.exit_code)


def named_candidate(project: "Project", word: str) -> "str | RagConfig":
    """What the gate judges for a candidate: a release by its digest, with its own prompts and artefacts, else a configuration."""
    found = project.candidate(word)
    return found.release.digest if found.release else found.config


def recorded_run(file: Path) -> "RecordedRun":
    """An evaluation from its file, to be judged as it is."""
    from harness.resolve import RecordedRun
    from harness.results.report_file import read_report

    return RecordedRun(str(file), read_report(file), file)


def _report_decision(
    decision: "Decision",
    result: "GateResult | None",
    settings: HarnessSettings,
    files: tuple[Path | None, Path | None, Path | None],
    *,
    as_json: bool,
) -> None:
    from harness.gate.decision import DECISION_CODEC
    from harness.gate.junit import junit
    from harness.gate.run_gate import new_gate_folder, write_decision
    from harness.gate.summary import summary
    from serving.storage.files import write_text

    out, xml, markdown = files
    folder = out or new_gate_folder(settings.reports, decision.gate, datetime.now(UTC))
    write_decision(decision, result.report if result else None, folder)
    for path, content in ((xml, junit), (markdown, summary)):
        if path:
            write_text(path, content(decision))
    if settings.github_step_summary:
        with Path(settings.github_step_summary).open("a", encoding="utf-8") as file:
            file.write(summary(decision) + "\n")
    if as_json:
        print_json(DECISION_CODEC.dump(decision))
        return
    show_decision(decision)
    typer.echo(f"\ndecision  {folder / 'decision.json'}\nsummary   {folder / 'summary.md'}")


def show_decision(decision: "Decision") -> None:
    """The rules as a table, then why those that do not hold do not."""
    from rich import box
    from rich.table import Table

    from harness.cli.output.console import terminal_console
    from harness.gate.summary import flips_text, mean_text, threshold_text, value_text

    console = terminal_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("rule", "of", "mean", "judged", "needed", "cases", "outcome"):
        table.add_column(name, justify="right" if name in ("mean", "judged", "needed", "cases") else "left", overflow="fold")
    for ruling in decision.rulings:
        table.add_row(
            ruling.id,
            ruling.subject,
            mean_text(ruling),
            value_text(ruling),
            threshold_text(ruling),
            f"{ruling.count}/{ruling.of}" if ruling.of else "–",
            ruling.outcome_text,
        )
    console.print(table)
    for ruling in decision.rulings:
        if ruling.outcome != "pass":
            console.print(_printable(f"{ruling.outcome_text}: {ruling.id}: {ruling.reason}" + (f" ({ruling.why})" if ruling.why else "")))
    flips = decision.changes
    if flips.metric:
        console.print(f"against the champion, {flips.metric}: {flips_text(flips)}")
    state = {"pass": "passed", "fail": "failed", "infrastructure": "could not decide"}[decision.state]
    console.print(_printable(f"gate {decision.gate} {state}: {decision.message}"))


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text)


def _command(file: Path, config: Path | None, change: Sequence[str], run: Path | None, champion: Path | None, candidate: str = "") -> str:
    words = ["touchstone", "gate", str(file)]
    for option, value in (("--config", config), ("--run", run), ("--candidate", candidate), ("--champion", champion)):
        words += [option, str(value)] if value else []
    return shlex.join([*words, *(word for changed in change for word in ("--set", changed))])
