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
    """Show which release a channel points at, and which it pointed at before."""
    from serving.release.bundle import read_channel

    channel = read_channel(read_settings().releases, name)
    if as_json:
        print_json(channel.model_dump(mode="json"))
        return
    typer.echo(f"{channel.name}: {channel.stable} since {channel.updated_at} (revision {channel.revision})")
    for digest in channel.history:
        typer.echo(f"  before: {digest}")
