"""`touchstone champion …`: record what ships today, so that candidates are held against it."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.cli.gate import gate_context
from harness.cli.options import AsJson, ConfigFile, Set, print_json, read_config
from harness.cli.progress import progress_line
from harness.settings import HarnessSettings, read_settings
from serving.pipeline.errors import ConfigError, DataError

if TYPE_CHECKING:
    from harness.gate.gate import Gate

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
    from harness.gate.champion import champion_path, save_champion
    from harness.results.report import read_report

    if sum((run is not None, bool(release), config is not None or bool(change))) > 1:
        raise ConfigError("Give one of --run, --release and --config (with --set).")
    settings = read_settings()
    written: list[Path] = []
    recorded = read_report(run) if run else None
    for gate in _merged(_gates(gates)):
        on = gate_context(gate, settings)
        if recorded and (recorded.header.golden, recorded.header.split) != (on.golden.id, gate.split):
            continue
        report = recorded or _evaluate(gate, settings, config=config, change=change, release=release, quiet=as_json)
        if run and report.header.split_digest != on.split(f"champion from {run.parent.name}").digest:
            raise DataError(f"{run}: not made on {on.golden.id} {gate.split} as it is now. Leave --run out to evaluate again.")
        path = champion_path(settings.champion_folder, on.golden.id, gate.split)
        save_champion(report, path)
        written.append(path)
        if not as_json:
            head = report.header
            typer.echo(
                f"champion on {head.golden} {head.split}: {head.config_digest}, {len(report.rows)} cases, {len(head.metrics)} metrics"
            )
            typer.echo(f"  {path} ({path.stat().st_size / 1000:.0f} kB)")
    if not written:
        raise DataError(f"{run}: no gate is held on its cases, so nothing would be compared with it.")
    if as_json:
        print_json([str(path) for path in written])


@app.command()
def show(gates: Gates = None, as_json: AsJson = False) -> None:
    """Show the champion of each gate's cases, and whether today's candidates can be compared with it."""
    from harness.gate.champion import champion_path, read_champion
    from harness.golden.load import load_golden

    settings = read_settings()
    found: list[dict[str, Any]] = []
    for gate in _merged(_gates(gates)):
        golden = load_golden(settings.datasets, gate.golden)
        path = champion_path(settings.champion_folder, golden.id, gate.split)
        report = read_champion(path, golden=golden.id, golden_digest=golden.digest, split_digest=None)
        head = report.header
        missing = [name for name in gate.scored if name not in head.metrics]
        facts = {"golden": golden.id, "split": head.split, "config_digest": head.config_digest, "made_at": head.started_at}
        means = {name: report.mean(name) for name in head.metrics}
        found.append({**facts, "file": str(path), "cases": len(report.rows), "metrics": means, "missing": missing})
    if as_json:
        print_json(found)
        return
    for one in found:
        typer.echo(f"{one['golden']} {one['split']}: {one['config_digest']}, {one['cases']} cases, made {one['made_at']}\n  {one['file']}")
        for name, mean in one["metrics"].items():
            typer.echo(f"  {name}: {'–' if mean is None else f'{mean:.3f}'}")
        if one["missing"]:
            typer.echo(f"  not scored by {', '.join(one['missing'])}. Run: touchstone champion set")


def _gates(files: list[Path] | None) -> list["Gate"]:
    from harness.gate.gate import load_gate

    paths = files or sorted(GATES.glob("*.yaml"))
    if not paths:
        raise ConfigError(f"No gate file in {GATES}. Name one: touchstone champion set GATE")
    return [load_gate(path) for path in paths]


def _merged(gates: list["Gate"]) -> list["Gate"]:
    """One gate per golden set and split, with the metrics of all; a judge is asked where one of them names it."""
    merged: dict[tuple[str, str], Gate] = {}
    for gate in gates:
        key = (gate.golden, gate.split)
        if (other := merged.get(key)) is None:
            merged[key] = gate.model_copy(update={"metrics": gate.scored})
            continue
        if gate.judge and other.judge and gate.judge != other.judge:
            raise ConfigError(
                f"Gates {other.name!r} and {gate.name!r} name different judges for the same cases: name the gate to record for."
            )
        both = tuple(dict.fromkeys([*other.metrics, *gate.scored]))
        merged[key] = other.model_copy(update={"metrics": both, "judge": other.judge or gate.judge})
    return list(merged.values())


def _evaluate(gate: "Gate", settings: HarnessSettings, *, config: Path | None, change: list[str] | None, release: str, quiet: bool) -> Any:
    """Score the configuration by every metric of the gate."""
    from dataclasses import replace

    from harness.evaluation.evaluator import Evaluator
    from serving.release.bundle import load_release, open_releases

    with progress_line(quiet=quiet) as line:
        on = gate_context(gate, settings, line)
        if release:
            shipped = load_release(open_releases(settings.releases, settings), release)
            chosen, factory = shipped.config, replace(on.factory, prompts=shipped.prompts)
        else:
            chosen, factory = read_config(config, change), on.factory
        evaluator = Evaluator(gate.scored, tools=on.tools, stages=on.factory.stages)
        split = on.split("champion set")
        return asyncio.run(factory.evaluate(chosen, split, evaluator, lambda done, total: line.update("cases", done, total)))
