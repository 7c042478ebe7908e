"""`touchstone release …`: look at releases, and check them."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.audit import audited_act
from harness.cli.options import AsJson, follow_channels, print_json
from harness.settings import read_settings
from serving.pipeline.errors import DataError

if TYPE_CHECKING:
    from harness.promotion.diff import MeasuredPair

app = typer.Typer(no_args_is_help=True)

NAMING = "A release's digest, or how it begins, or channel:NAME."


@app.command("list")
def list_releases(as_json: AsJson = False) -> None:
    """List every release, oldest first, with the channels that point at it."""
    from serving.release.bundle import open_releases, releases
    from serving.release.channel import CHANNELS, find_channel

    settings = read_settings()
    storage = open_releases(settings.releases, settings)
    channels = [channel for name in CHANNELS if (channel := find_channel(storage, name))]
    tried = {(channel.candidate.release, channel.name): channel.candidate.mode for channel in channels if channel.candidate}
    rows: list[dict[str, Any]] = [
        {
            "release": digest,
            "channels": [channel.name for channel in channels if channel.stable == digest],
            "tried": {channel: mode for (release, channel), mode in tried.items() if release == digest},
        }
        for digest in releases(storage)
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        places = [*row["channels"], *(f"{channel} ({mode})" for channel, mode in row["tried"].items())]
        typer.echo(f"{row['release']}  {', '.join(places)}".rstrip())
    if not rows:
        typer.echo(f"No releases in {settings.releases}. Make one: touchstone promote")


@app.command()
def show(release: Annotated[str, typer.Argument(metavar="RELEASE", help=NAMING)], as_json: AsJson = False) -> None:
    """Verify a release and show its configuration and all of its evidence, the oldest first."""
    import yaml

    from harness.project.channels import Channels
    from serving.release.bundle import load_release, open_releases

    settings = read_settings()
    digest = Channels(settings).release(release)
    found = load_release(open_releases(settings.releases, settings), digest)
    facts: dict[str, Any] = {
        "release": digest,
        "place": found.place,
        "evidence": {name: evidence.model_dump(mode="json") for name, evidence in found.evidence.items()},
        "artefacts": sorted(found.artefacts),
        "config": found.config.model_dump(mode="json"),
    }
    if as_json:
        print_json(facts)
        return
    typer.echo(f"{found.place}: verified\n")
    typer.echo(yaml.safe_dump({name: facts[name] for name in ("evidence", "artefacts", "config")}, sort_keys=False), nl=False)


@app.command()
def diff(
    before: Annotated[str, typer.Argument(help=NAMING)],
    after: Annotated[str, typer.Argument(help=NAMING)],
    as_json: AsJson = False,
) -> None:
    """Show what turns one release into another: configuration, prompts, index, artefacts, and each metric with its interval."""
    from harness.cli.release_tables import print_diff
    from harness.project.channels import Channels

    found = Channels(read_settings()).diff(before, after)
    if as_json:
        print_json(asdict(found) | {"metrics": [_plain(pair) for pair in found.metrics]})
        return
    print_diff(found)


@app.command()
def register(
    release: Annotated[str, typer.Argument(metavar="RELEASE", help=f"{NAMING} Default: every release that a channel names.")] = "",
    as_json: AsJson = False,
) -> None:
    """Register a release with MLflow, and let the aliases champion and challenger follow the channels; safe to repeat."""
    from harness.project.channels import Channels
    from harness.project.registration import register as register_release

    settings = read_settings()
    channels = Channels(settings)
    named = [channels.release(release)] if release else list(dict.fromkeys(channels.named()))
    if not named:
        raise DataError("No channel names a release yet. Run: touchstone promote")
    done = []
    for digest in named:
        with audited_act(settings, "release.register", digest) as result:
            done.append(register_release(digest, settings))
            result["new"] = done[-1].new
    if as_json:
        print_json([{"release": digest, **asdict(one)} for digest, one in zip(named, done, strict=True)])
        return
    for digest, one in zip(named, done, strict=True):
        typer.echo(f"{digest}  {one.words}{'' if one.new else ' (was there)'}")


@app.command()
def rollback(
    channel: Annotated[str, typer.Option("--channel", help="dev, staging or prod.")] = "dev",
    to: Annotated[str, typer.Option("--to", help="A release that the channel has served; default: the one before its last move.")] = "",
    why: Annotated[str, typer.Option("--why", help="Why; the history keeps it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Point a channel back at a release that it has served, by the evidence of then; the move is one more line of its history."""
    from harness.project.channels import Channels

    settings = read_settings()
    moved = Channels(settings).roll_back(channel, to, why=why)
    if as_json:
        print_json(moved.model_dump(mode="json"))
    else:
        typer.echo(f"{moved.name}: {moved.history[-1].before} → {moved.stable} (revision {moved.revision})")
    follow_channels(settings)


@app.command()
def verify(
    release: Annotated[str, typer.Argument(metavar="RELEASE", help=f"{NAMING} Default: every one, and what every channel names.")] = "",
    as_json: AsJson = False,
) -> None:
    """Check every sum and every evidence document again: exit 0 all hold, 3 something is not what its digest promises."""
    from harness.project.channels import Channels
    from serving.pipeline.errors import IntegrityError
    from serving.release.bundle import open_releases
    from serving.release.verify import check_releases

    settings = read_settings()
    storage = open_releases(settings.releases, settings)
    digest = Channels(settings).release(release) if release else ""
    checks = check_releases(storage, digest)
    if as_json:
        print_json([asdict(check) for check in checks])
    else:
        for check in checks:
            typer.echo(f"{check.checked}: {check.problem or f'verified, evidence: {check.evidence}'}")
        if not checks:
            typer.echo(f"No releases in {settings.releases}. Make one: touchstone promote")
    if failed := [check for check in checks if check.problem]:
        raise IntegrityError(
            f"{len(failed)} of {len(checks)} checks failed in {storage.place}: {', '.join(check.checked for check in failed)}."
        )


def _plain(pair: "MeasuredPair") -> dict[str, Any]:
    sides = {name: value.model_dump(mode="json") if value else None for name, value in (("before", pair.before), ("after", pair.after))}
    return {"metric": pair.metric, "cases": pair.cases, **sides}
