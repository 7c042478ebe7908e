"""`touchstone release …`: look at releases, and check them."""

from dataclasses import asdict
from typing import Annotated, Any

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings

app = typer.Typer(no_args_is_help=True)


@app.command("list")
def list_releases(as_json: AsJson = False) -> None:
    """List every release, oldest first, with the channels that point at it."""
    from serving.release.bundle import open_releases, releases
    from serving.release.channel import CHANNELS, find_channel

    settings = read_settings()
    storage = open_releases(settings.releases, settings)
    channels = [channel for name in CHANNELS if (channel := find_channel(storage, name))]
    rows = [
        {"release": digest, "channels": [channel.name for channel in channels if channel.stable == digest]} for digest in releases(storage)
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['release']}  {', '.join(row['channels'])}".rstrip())
    if not rows:
        typer.echo(f"No releases in {settings.releases}. Make one: touchstone promote")


@app.command()
def show(digest: Annotated[str, typer.Argument(help="A release's digest.")], as_json: AsJson = False) -> None:
    """Verify a release and show its configuration and all of its evidence, the oldest first."""
    import yaml

    from serving.release.bundle import load_release, open_releases

    settings = read_settings()
    release = load_release(open_releases(settings.releases, settings), digest)
    facts: dict[str, Any] = {
        "release": digest,
        "place": release.place,
        "evidence": {name: evidence.model_dump(mode="json") for name, evidence in release.evidence.items()},
        "artefacts": sorted(release.artefacts),
        "config": release.config.model_dump(mode="json"),
    }
    if as_json:
        print_json(facts)
        return
    typer.echo(f"{release.place}: verified\n")
    typer.echo(yaml.safe_dump({name: facts[name] for name in ("evidence", "artefacts", "config")}, sort_keys=False), nl=False)


@app.command()
def verify(
    digest: Annotated[str, typer.Argument(help="A release's digest; default: every release, and what every channel names.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check every sum and every evidence document anew: exit 0 all hold, 3 something is not what its digest promises."""
    from serving.pipeline.errors import IntegrityError
    from serving.release.bundle import load_release, open_releases, releases
    from serving.release.verify import check_releases

    settings = read_settings()
    storage = open_releases(settings.releases, settings)
    if digest and digest not in releases(storage):
        load_release(storage, digest)  # says so, and names those known
    checks = check_releases(storage, digest)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            typer.echo(f"{check.checked}: {check.problem or f'verified, evidence: {check.evidence}'}")
    if failed := [check for check in checks if check.problem]:
        raise IntegrityError(
            f"{len(failed)} of {len(checks)} checks failed in {storage.place}: {', '.join(check.checked for check in failed)}."
        )
