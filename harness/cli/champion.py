"""`touchstone champion …`: record what ships today, so that candidates are compared with it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.gate import recorded_run
from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, ConfigFile, Set, print_json, read_config
from harness.cli.output.progress import progress_line
from harness.settings import read_settings
from serving.pipeline.errors import ConfigError

GATES = Path("experiments/gates")

app = typer.Typer(no_args_is_help=True)
Gates = Annotated[list[Path] | None, typer.Argument(help=f"Gate files; default: all in {GATES}.")]


@app.command("set")
def set_champion(
    gates: Gates = None,
    config: ConfigFile = None,
    change: Set = None,
    run: Annotated[Path | None, typer.Option("--run", help="Take this evaluation's cases.jsonl in place of a new one.")] = None,
    release: Annotated[str, typer.Option("--release", help="Take the configuration and prompts of a release, by digest.")] = "",
    as_json: AsJson = False,
) -> None:
    """Evaluate a configuration on the gates' cases, by all of their metrics, and keep it as the champion."""
    from harness.project import Project
    from harness.resolve import release_config

    if sum((run is not None, bool(release), config is not None or bool(change))) > 1:
        raise ConfigError("Give one of --run, --release and --config (with --set).")
    settings = read_settings()
    what = recorded_run(run) if run else release_config(release, settings) if release else read_config(config, change)
    with progress_line(quiet=as_json) as line:
        champions = run_async(Project(settings, line.update).record_champion(what, gates or ()))
    if as_json:
        print_json([str(champion.path) for champion in champions])
        return
    for champion in champions:
        head = champion.report.header
        typer.echo(
            f"champion on {head.golden} {head.split}: {head.config_digest}, {len(champion.report.rows)} cases, {len(head.metrics)} metrics"
        )
        typer.echo(f"  {champion.path} ({champion.path.stat().st_size / 1000:.0f} kB)")


@app.command()
def show(gates: Gates = None, as_json: AsJson = False) -> None:
    """Show the champion of each gate's cases, and whether today's candidates can be compared with it."""
    from harness.project import Project

    rows: list[dict[str, Any]] = []
    for champion in Project(read_settings()).champions(gates or ()):
        head = champion.report.header
        facts = {"golden": head.golden, "split": head.split, "config_digest": head.config_digest, "made_at": head.started_at}
        means = {name: champion.report.mean(name) for name in head.metrics}
        rows.append(
            {**facts, "file": str(champion.path), "cases": len(champion.report.rows), "metrics": means, "missing": list(champion.missing)}
        )
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['golden']} {row['split']}: {row['config_digest']}, {row['cases']} cases, made {row['made_at']}\n  {row['file']}")
        for name, mean in row["metrics"].items():
            typer.echo(f"  {name}: {'–' if mean is None else f'{mean:.3f}'}")
        if row["missing"]:
            typer.echo(f"  not scored by {', '.join(row['missing'])}. Run: touchstone champion set")
