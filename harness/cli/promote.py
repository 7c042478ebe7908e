"""`touchstone promote`: a sweep's winner becomes a release, and a channel points at it."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings


def promote(
    winner: Annotated[Path | None, typer.Argument(help="A sweep's winner.json; default: the newest sweep's.")] = None,
    channel: Annotated[str, typer.Option("--channel", help="dev, staging or prod.")] = "dev",
    as_json: AsJson = False,
) -> None:
    """Write the release of a winner and point a channel at it."""
    from harness.project import Project
    from harness.sweep.winner import newest_winner

    settings = read_settings()
    path = winner or newest_winner(settings.reports)
    done = asyncio.run(Project(settings).promote(path, channel=channel))
    if as_json:
        print_json({"release": done.release.digest, "folder": str(done.release.folder), "channel": done.channel.model_dump(mode="json")})
        return
    evidence = done.release.evidence
    typer.echo(f"release {done.release.digest} from {path}")
    typer.echo(f"  {evidence['reason']}")
    typer.echo(f"channel {channel} → {done.channel.stable} (revision {done.channel.revision})")
    typer.echo(f"\nserve it: touchstone serve --channel {channel}")
