"""`touchstone promote`: a configuration that passed its gate becomes a release, and a channel points at it."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import USUAL, AsJson, print_json
from harness.settings import read_settings

CANDIDATE = (
    "A sweep's winner.json, folder or experiment; a configuration file (.yaml); an evaluation's name; an MLflow run's id or name; "
    "a release's digest or how it begins; channel:NAME. Default: the winner, where only one experiment and corpus has one."
)


def promote(
    candidate: Annotated[str, typer.Argument(metavar="CANDIDATE", help=CANDIDATE)] = "",
    channel: Annotated[str, typer.Option("--channel", help="dev, staging or prod.")] = "dev",
    gate: Annotated[
        Path | None,
        typer.Option("--gate", help="The gate that counts; default: the channel's own. Another counts for dev only."),
    ] = None,
    decision: Annotated[Path | None, typer.Option("--decision", help="A gate's decision.json, beside those below reports/gates.")] = None,
    corpus: Annotated[str, typer.Option("--corpus", help=f"The documents of a configuration file; {USUAL}.", show_default=False)] = "",
    force: Annotated[bool, typer.Option("--force", help="Promote without a passed gate; to dev only, with --why.")] = False,
    why: Annotated[str, typer.Option("--why", help="Why it is forced; the evidence keeps it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write the release of a configuration that passed its gate, add its evidence, and point a channel at both."""
    from harness.project import Project
    from serving.release.channel import check_channel

    check_channel(channel)
    project = Project(read_settings())
    chosen = project.candidate(candidate or None, corpus=corpus)
    done = run_async(project.promote(chosen, channel=channel, gate=gate, decision=decision, force=force, why=why))
    channel_state, evidence = done.channel, done.evidence
    if as_json:
        print_json(
            {
                "release": done.release.digest,
                "source": chosen.source,
                "corpus": chosen.corpus,
                "place": done.release.place,
                "evidence": channel_state.evidence,
                "channel": channel_state.model_dump(mode="json"),
                "champions": [str(path) for path in done.champions],
                "registered": done.registered,
            }
        )
        return
    typer.echo(f"release  {done.release.digest} from {chosen.source}")
    if evidence.verdict:
        typer.echo(f"  {evidence.verdict.reason}")
    gate_text = (
        f"gate {evidence.decision.gate} of {evidence.decision.decided_at}: {evidence.decision.message}"
        if evidence.decision
        else "no passed gate"
    )
    typer.echo(f"evidence {channel_state.evidence}: {gate_text}{f'; forced: {evidence.forced.why}' if evidence.forced else ''}")
    typer.echo(f"channel  {channel} → {channel_state.stable} (revision {channel_state.revision})")
    for path in done.champions:
        typer.echo(f"champion {path}: what has to be beaten from now on")
    typer.echo(f"MLflow   {done.registered}")
    if done.unrecorded:
        typer.echo(f"champion not recorded: {done.unrecorded}")
    typer.echo(f"\nserve it: touchstone serve --channel {channel}")
