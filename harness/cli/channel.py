"""`touchstone channel …`: look at channels."""

from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings

app = typer.Typer(no_args_is_help=True)


@app.callback()
def channels() -> None:
    """Channels."""


@app.command()
def show(name: Annotated[str, typer.Argument(help="dev, staging or prod.")] = "dev", as_json: AsJson = False) -> None:
    """Show which release a channel points at, by what evidence, and every move it made."""
    from serving.release.bundle import open_releases
    from serving.release.channel import read_channel

    settings = read_settings()
    channel = read_channel(open_releases(settings.releases, settings), name)
    if as_json:
        print_json(channel.model_dump(mode="json"))
        return
    typer.echo(f"{channel.name}: {channel.stable} since {channel.updated_at} (revision {channel.revision}), evidence {channel.evidence}")
    for change in reversed(channel.history):
        typer.echo(f"  {change.at}  {change.before or 'nothing'} → {change.to}  {change.who}: {change.why}")
