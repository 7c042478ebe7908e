"""`touchstone judge …`: who judges what, and how far a judge agrees with humans."""

import asyncio
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.options import AsJson, print_json, read_prompts
from harness.cli.progress import progress_line
from harness.judges.calibration import FOLDER
from harness.settings import read_settings
from harness.stage_store.open import open_stage_store

app = typer.Typer(no_args_is_help=True)
Records = Annotated[Path, typer.Option("--records", help="The folder of calibration records.")]


@app.command("list")
def list_judges(records: Records = FOLDER, as_json: AsJson = False) -> None:
    """List judges, tasks with their labels, and which judge is calibrated for what."""
    from harness.judges import JUDGES
    from harness.judges.calibration import calibrations
    from harness.judges.tasks import Tasks

    tasks = Tasks(read_prompts(read_settings()).folder)
    known = [tasks.get(name) for name in tasks.names()]
    kept = calibrations(records)
    if as_json:
        print_json(
            {
                "judges": JUDGES.names(),
                "tasks": [{"task": task.name, "prompt": task.prompt.id, "values": dict(task.values)} for task in known],
                "calibrations": [{**one.model_dump(mode="json"), "shortfall": one.shortfall} for one in kept],
            }
        )
        return
    typer.echo(f"judges: {', '.join(name if name != 'llm' else 'llm:<provider>:<model>' for name in JUDGES.names())}")
    for task in known:
        worth = ", ".join(f"{label} {value:g}" for label, value in task.values.items())
        typer.echo(f"{task.name}: {worth} ({task.prompt.id})")
    for one in kept:
        typer.echo(f"{one.judge} on {one.task}, {one.date}: {one.shortfall or f'may decide, kappa {one.kappa:.2f}'} (judge {one.judge_id})")


@app.command()
def show(task: Annotated[str, typer.Argument(help="A task, such as groundedness.")], as_json: AsJson = False) -> None:
    """Show what a judge is asked: the prompt, its variables, its labels and their worth."""
    from harness.judges.tasks import Tasks

    found = Tasks(read_prompts(read_settings()).folder).get(task)
    if as_json:
        facts = {"task": found.name, "prompt": found.prompt.id, "digest": found.digest, "variables": list(found.prompt.variables)}
        print_json(facts | {"optional": list(found.optional), "values": dict(found.values), "text": found.prompt.text})
        return
    typer.echo(f"{found.prompt.id}, digest {found.digest}")
    typer.echo(f"variables: {', '.join(name + ' (may be left out)' * (name in found.optional) for name in found.prompt.variables)}")
    typer.echo(f"values: {', '.join(f'{label} {value:g}' for label, value in found.values.items())}\n")
    typer.echo(found.prompt.text.strip())


@app.command("agreement")
def measure(
    file: Annotated[Path, typer.Argument(help='JSONL: {"task", "values": {…}, "label"} and, where several humans judged, "labels": […].')],
    judge: Annotated[str, typer.Option("--judge", "-j", help="local, or llm:<provider>:<model>.")] = "local",
    task: Annotated[str, typer.Option("--task", "-t", help="Only this task; default: every task of the file.")] = "",
    repeats: Annotated[int, typer.Option("--repeats", help="Readings per question of an llm judge, 1, 3 or 5; most votes win.")] = 1,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Questions at a time.")] = 4,
    save: Annotated[bool, typer.Option("--save", help="Keep a calibration record: gates may lean on this judge then.")] = False,
    records: Records = FOLDER,
    as_json: AsJson = False,
) -> None:
    """Measure how far a judge agrees with human labels, so that it may decide."""
    from harness.cli.agreement import show_agreement
    from harness.judges import connect_judge, judge_spec
    from harness.judges.agreement import Agreement, agreement
    from harness.judges.calibration import record
    from harness.judges.calibration import save as write
    from harness.judges.labelled import read_labelled
    from harness.judges.tasks import Tasks

    settings = read_settings()
    prompts = read_prompts(settings)
    tasks = Tasks(prompts.folder)
    labelled = read_labelled(file, tasks)
    chosen = labelled.chosen(task)
    asked = connect_judge(judge_spec(judge, repeats), settings, prompts, open_stage_store(settings))
    with progress_line(quiet=as_json) as line:

        async def every() -> list[Agreement]:  # in one event loop: clients of models do not outlive theirs
            return [
                await agreement(asked, tasks.get(name), rows, concurrency=concurrency, progress=partial(line.update, name))
                for name, rows in chosen.items()
            ]

        measured = asyncio.run(every())
    date, answers = f"{datetime.now(UTC):%Y-%m-%d}", list[dict[str, Any]]()
    for found in measured:
        kept = record(found, file=file, sha256=labelled.sha256, date=date)
        path = write(kept, records) if save else None
        answers.append({**asdict(found), "n": found.n, "shortfall": kept.shortfall, "saved": str(path) if path else None})
        if not as_json:
            show_agreement(found, kept, path)
    if as_json:
        print_json(answers)
