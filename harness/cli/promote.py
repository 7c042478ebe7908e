"""`touchstone promote`: a configuration that passed its gate becomes a release, and a channel points at it."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import DEFAULT_CORPUS, AsJson, CorpusName, print_json
from harness.settings import read_settings


def promote(
    candidate: Annotated[
        Path | None, typer.Argument(help="A sweep's winner.json, or a configuration file (.yaml); default: the newest sweep's winner.")
    ] = None,
    channel: Annotated[str, typer.Option("--channel", help="dev, staging or prod.")] = "dev",
    gate: Annotated[
        Path | None,
        typer.Option("--gate", help="The gate that counts; default: the channel's own. Another counts for dev only."),
    ] = None,
    decision: Annotated[Path | None, typer.Option("--decision", help="A gate's decision.json, beside those below reports/gates.")] = None,
    corpus: CorpusName = DEFAULT_CORPUS,
    force: Annotated[bool, typer.Option("--force", help="Promote without a passed gate; to dev only, with --why.")] = False,
    why: Annotated[str, typer.Option("--why", help="Why it is forced; the evidence keeps it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write the release of a configuration that passed its gate, add its evidence, and point a channel at both."""
    from harness.project import Project
    from harness.promotion.candidate import read_candidate

    settings = read_settings()
    source = read_candidate(candidate, corpus, settings.reports).source
    done = run_async(
        Project(settings).promote(candidate, channel=channel, gate=gate, decision=decision, corpus=corpus, force=force, why=why)
    )
    channel_state, evidence = done.channel, done.evidence
    if as_json:
        print_json(
            {
                "release": done.release.digest,
                "place": done.release.place,
                "evidence": channel_state.evidence,
                "channel": channel_state.model_dump(mode="json"),
                "champions": [str(path) for path in done.champions],
            }
        )
        return
    typer.echo(f"release  {done.release.digest} from {source}")
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
    if done.unrecorded:
        typer.echo(f"champion not recorded: {done.unrecorded}")
    typer.echo(f"\nserve it: touchstone serve --channel {channel}")
