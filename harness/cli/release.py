"""`touchstone release …`: look at releases."""

from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_releases(as_json: AsJson = False) -> None:
    """List every release, oldest first, with the channels that point at it."""
    from serving.release.bundle import CHANNELS, read_channel, releases

    root = read_settings().releases
    pointed = {name: read_channel(root, name).stable for name in CHANNELS if (root / "channels" / f"{name}.json").exists()}
    rows = [{"release": digest, "channels": [name for name, stable in pointed.items() if stable == digest]} for digest in releases(root)]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['release']}  {', '.join(row['channels'])}".rstrip())
    if not rows:
        typer.echo(f"No releases in {root}. Make one: touchstone promote")


@app.command()
def show(digest: Annotated[str, typer.Argument(help="A release's digest.")], as_json: AsJson = False) -> None:
    """Verify a release and show its evidence."""
    import yaml

    from serving.release.bundle import load_release

    release = load_release(read_settings().releases, digest)
    if as_json:
        print_json({"release": digest, "config": release.config.model_dump(mode="json"), "evidence": dict(release.evidence)})
        return
    typer.echo(f"{release.folder}: verified\n")
    typer.echo(
        yaml.safe_dump({"evidence": dict(release.evidence), "config": release.config.model_dump(mode="json")}, sort_keys=False), nl=False
    )
