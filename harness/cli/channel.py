"""`touchstone channel …`: look at channels, approve releases for them, and move them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, follow_channels, print_json
from harness.cli.output.progress import progress_line
from harness.settings import read_settings
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import near
from serving.release.channel import MODES, Channel, Mode

if TYPE_CHECKING:
    from harness.project.reevaluation import FinishedReevaluation
    from serving.verdict.read import TrialVerdict

app = typer.Typer(no_args_is_help=True)
UNDECIDED = 4  # the exit code of a verdict that is none yet: neither good nor worse

Name = Annotated[str, typer.Argument(help="dev, staging or prod.")]
Why = Annotated[str, typer.Option("--why", help="Why; the history keeps it.")]
Revision = Annotated[
    int | None, typer.Option("--revision", help="The revision you have looked at; nothing is changed if there is a newer one.")
]


@app.callback()
def channels() -> None:
    """Channels."""


@app.command("list")
def list_channels(as_json: AsJson = False) -> None:
    """List every channel with what it points at and what is tried beside it."""
    from harness.project.channels import Channels

    found = Channels(read_settings()).all()
    if as_json:
        print_json([channel.model_dump(mode="json", exclude={"history"}) for channel in found])
        return
    for channel in found:
        typer.echo(
            f"{channel.name:8} {channel.stable or 'nothing yet'}  revision {channel.revision}  {channel.updated_at}{_beside(channel)}"
        )
    if not found:
        typer.echo("No channel points at anything yet. Run: touchstone promote")


@app.command()
def show(name: Name = "dev", as_json: AsJson = False) -> None:
    """Show which release a channel points at, by what evidence, and every change it saw."""
    from harness.project.channels import Channels

    channel = Channels(read_settings()).get(name)
    if as_json:
        print_json(channel.model_dump(mode="json"))
        return
    typer.echo(f"{channel.name}: {channel.stable} since {channel.moves[-1].at} (revision {channel.revision}), evidence {channel.evidence}")
    if channel.candidate:
        typer.echo(f"candidate:{_beside(channel)}, evidence {channel.candidate.evidence}")
    _print_history(channel)


@app.command()
def history(name: Name = "dev", as_json: AsJson = False) -> None:
    """Show every change of a channel, the newest first: when, who, what, why."""
    from harness.project.channels import Channels

    channel = Channels(read_settings()).get(name)
    if as_json:
        print_json([change.model_dump(mode="json") for change in channel.history])
        return
    _print_history(channel)


@app.command()
def approve(
    name: Name,
    release: Annotated[str, typer.Argument(help="A release's digest, or how it begins, or channel:NAME.")],
    why: Why,
    hours: Annotated[float, typer.Option("--hours", help="How long the approval holds.")] = 72.0,
    as_json: AsJson = False,
) -> None:
    """Let a release be served on prod, which takes only what somebody has approved."""
    from harness.project.channels import Channels

    channel = Channels(read_settings()).approve(name, release, why=why, hours=hours)
    if as_json:
        print_json(channel.model_dump(mode="json"))
        return
    approval = channel.history[-1]
    typer.echo(f"{approval.to} is approved for {name} until {approval.until} by {approval.who}: {approval.why}")


@app.command("set")
def set_channel(
    name: Name,
    stable: Annotated[str, typer.Option("--stable", help="Point at this release (digest, its beginning, or channel:NAME).")] = "",
    candidate: Annotated[str, typer.Option("--candidate", help="Try this release beside the stable one.")] = "",
    mode: Annotated[str, typer.Option("--mode", help="How: canary, shadow, interleave or blue-green.")] = "canary",
    weight: Annotated[
        float, typer.Option("--weight", min=0.0, max=100.0, help="The candidate's percent of the questions, above 0.")
    ] = 10.0,
    switch: Annotated[bool, typer.Option("--switch", help="Make the candidate the stable release.")] = False,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="Serve the stable release alone again.")] = False,
    why: Why = "",
    revision: Revision = None,
    as_json: AsJson = False,
) -> None:
    """Point a channel at a release, try one beside it, switch to it, or withdraw it: exactly one of these."""
    from harness.project.channels import Channels

    if sum(map(bool, (stable, candidate, switch, withdraw))) != 1:
        raise ConfigError("Say one of --stable RELEASE, --candidate RELEASE, --switch, --withdraw.")
    settings = read_settings()
    of = Channels(settings)
    if stable:
        channel = of.point(name, stable, why=why, revision=revision)
    elif candidate:
        channel = of.try_candidate(name, candidate, _mode(mode), weight / 100, why=why, revision=revision)
    elif switch:
        channel = of.switch(name, why=why, revision=revision)
    else:
        channel = of.withdraw(name, why=why, revision=revision)
    if as_json:
        print_json(channel.model_dump(mode="json"))
    else:
        typer.echo(f"{channel.name}: {channel.stable} (revision {channel.revision}){_beside(channel)}")
    follow_channels(settings)


@app.command()
def evaluate(
    name: Name = "dev",
    gate: Annotated[
        Path | None, typer.Option("--gate", help="On whose questions and by whose margins; default: the gate that it was promoted by.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate what a channel serves again, against its promotion: exit 0 not seen to be worse, 1 worse, 3 the machinery failed."""
    from harness.project import Project

    with progress_line(quiet=as_json) as line:
        done = run_async(Project(read_settings(), line.update).reevaluate(name, gate=gate))
    if as_json:
        print_json(
            {
                "channel": name,
                "release": done.channel.stable,
                "promoted_by": done.channel.evidence,
                "gate": done.gate,
                "state": "pass" if done.result.passed else "fail",
                "message": done.result.message,
                "differences": [one.model_dump(mode="json") for one in done.result.differences],
                "documents_added": done.searched.documents_added,
                "documents_removed": done.searched.documents_removed,
                "corpus_version": done.searched.corpus_version,
                "evidence": done.evidence,
                "report": str(done.page),
                "cases": str(done.folder / "cases.jsonl"),
            }
        )
    else:
        show_reevaluation(done)
    raise typer.Exit(0 if done.result.passed else 1)


@app.command()
def verdict(
    name: Name = "dev",
    alpha: Annotated[float, typer.Option("--alpha", help="The chance of ever calling worse what is not, and no worse what is.")] = 0.05,
    margin: Annotated[
        float | None, typer.Option("--margin", help="The loss of a share that is borne, as 0.05; default: that of each.")
    ] = None,
    slow_ms: Annotated[float, typer.Option("--slow-ms", help="From which time on an answer is slow.")] = 5000.0,
    minutes: Annotated[float, typer.Option("--minutes", help="A turn: what a caller asks in it counts as one.")] = 10.0,
    at_least: Annotated[int, typer.Option("--at-least", help="Questions that the candidate has to have answered.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Judge a channel's candidate by its traces: exit 0 no worse or better, 1 worse, 4 undecided, 3 the machinery failed.

    It may be asked at any time and as often as you like. In JSON `verdict` is one of worse, no worse, better, undecided.
    """
    from harness.project.verdict import judge_candidate
    from serving.verdict.plain import plain_verdict
    from serving.verdict.rules import VerdictRules

    rules = VerdictRules.of(alpha=alpha, margin=margin, slow_ms=slow_ms, minutes=minutes, at_least=at_least)
    judged = judge_candidate(read_settings(), name, rules)
    if as_json:
        print_json(plain_verdict(judged))
    else:
        show_verdict(judged)
    raise typer.Exit({"worse": 1, "undecided": UNDECIDED}.get(judged.found.verdict, 0))


def _mode(word: str) -> Mode:
    for mode in MODES:
        if mode == word:
            return mode
    raise ConfigError(f"No mode {word!r}.{near(word, list(MODES))} Known: {', '.join(MODES)}.")


def _beside(channel: Channel) -> str:
    candidate = channel.candidate
    if candidate is None:
        return ""
    share = f" {candidate.weight:.0%}" if candidate.weight else ""
    return f"  {candidate.mode}{share} {candidate.release}"


def show_reevaluation(done: "FinishedReevaluation") -> None:
    """Every metric of then and now, and the result."""
    from harness.cli.output.console import terminal_console
    from harness.cli.output.tables import terminal_table
    from harness.stats.text import number_text

    console, head, channel = terminal_console(), done.result.report.header, done.channel
    console.print(f"{channel.name} serves {channel.stable}, promoted by {channel.evidence}")
    console.print(f"evaluated again on {head.golden} {head.split}, {len(done.result.report.rows)} cases, by the gate {done.gate}")
    if done.searched.corpus_version:
        since = f"with {done.searched.documents_added} documents added and {done.searched.documents_removed} removed since"
        console.print(f"{since} ({done.searched.corpus_version})")
    table = terminal_table("metric", "then", "now", "now − then, interval", "margin", "verdict")
    for one in done.result.differences:
        moved = "–" if one.difference is None else f"{one.difference:+.3f}"
        moved += f" [{one.low:+.3f}, {one.high:+.3f}]" if one.low is not None and one.high is not None else ""
        margin = f"{one.margin:g}" if one.counts else "–"
        table.add_row(one.metric, number_text(one.before), number_text(one.after), moved, margin, one.outcome)
    console.print(table)
    for ruling in done.result.rulings:
        if ruling.blocks:
            console.print(f"{ruling.outcome_text}: {ruling.id}: {ruling.reason}")
    console.print(f"{'not seen to be worse' if done.result.passed else 'worse'}: {done.result.message}")
    console.print(f"\nreport    {done.page}\nevidence  {done.evidence}")


def show_verdict(judged: "TrialVerdict") -> None:
    """Every measure of a candidate beside the stable release, and the verdict."""
    from harness.cli.output.console import terminal_console
    from harness.cli.output.tables import terminal_table

    console, trial, found = terminal_console(), judged.trial, judged.found
    console.print(f"{trial.channel}: {trial.mode} {trial.release} beside {trial.stable} since {trial.since}")
    of = f"{found.candidate_callers} of {found.callers} callers, {found.candidate_questions} of {found.questions} questions"
    console.print(f"counted: {of} are the candidate's, in turns of {judged.rules.turn_s / 60:g} minutes; {judged.traces} traces were read")
    table = terminal_table("measured", "candidate", "stable", "difference, interval", "margin", "verdict")
    for one in found.measures:
        between = f"[{_signed(one.low)}, {_signed(one.high)}]" if one.low is not None and one.high is not None else ""
        margin = "–" if one.candidate is None else f"{one.margin:.4g}"
        difference = "–" if one.difference is None else f"{_signed(one.difference)} {between}"
        table.add_row(one.name, _number(one.candidate), _number(one.stable), difference, margin, one.outcome)
    console.print(table)
    for one in found.measures:
        if one.candidate is None:
            console.print(f"{one.name}: {one.reason}")
    for note in found.notes:
        console.print(note)
    console.print(f"{found.verdict}: {found.reason}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _signed(value: float) -> str:
    return f"{value:+.3g}"


def _print_history(channel: Channel) -> None:
    for change in reversed(channel.history):
        what = {
            "stable": f"{change.before or 'nothing'} → {change.to}",
            "candidate": f"{change.mode} {change.weight or 0:.0%} {change.to}",
            "withdrawal": "no candidate any more",
            "approval": f"approved {change.to} until {change.until}",
        }[change.kind]
        typer.echo(f"  {change.at}  {what}  {change.who}: {change.why}")
