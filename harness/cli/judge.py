"""`touchstone judge …`: who judges what, and how far a judge agrees with humans."""

from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, print_json, read_prompts
from harness.cli.output.progress import progress_line
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
    stored = calibrations(records)
    if as_json:
        print_json(
            {
                "judges": JUDGES.names(),
                "tasks": [{"task": task.name, "prompt": task.prompt.id, "values": dict(task.values)} for task in known],
                "calibrations": [{**record.model_dump(mode="json"), "shortfall": record.shortfall} for record in stored],
            }
        )
        return
    typer.echo(f"judges: {', '.join(name if name != 'llm' else 'llm:<provider>:<model>' for name in JUDGES.names())}")
    for task in known:
        worth = ", ".join(f"{label} {value:g}" for label, value in task.values.items())
        typer.echo(f"{task.name}: {worth} ({task.prompt.id})")
    for record in stored:
        outcome = record.shortfall or f"may decide, kappa {record.kappa:.2f}"
        typer.echo(f"{record.judge} on {record.task}, {record.date}: {outcome} (judge {record.judge_id})")


@app.command()
def show(task: Annotated[str, typer.Argument(help="A task, such as groundedness.")], as_json: AsJson = False) -> None:
    """Show what a judge is asked: the prompt, its variables, its labels and their worth."""
    from harness.judges.tasks import Tasks

    chosen = Tasks(read_prompts(read_settings()).folder).get(task)
    if as_json:
        facts = {"task": chosen.name, "prompt": chosen.prompt.id, "digest": chosen.digest, "variables": list(chosen.prompt.variables)}
        print_json(facts | {"optional": list(chosen.optional), "values": dict(chosen.values), "text": chosen.prompt.text})
        return
    typer.echo(f"{chosen.prompt.id}, digest {chosen.digest}")
    typer.echo(f"variables: {', '.join(name + ' (may be left out)' * (name in chosen.optional) for name in chosen.prompt.variables)}")
    typer.echo(f"values: {', '.join(f'{label} {value:g}' for label, value in chosen.values.items())}\n")
    typer.echo(chosen.prompt.text.strip())


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
    """Measure a judge's agreement with human labels, so that it may decide gates."""
    from harness.cli.judge_tables import show_agreement
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
    connected = connect_judge(judge_spec(judge, repeats), settings, prompts, open_stage_store(settings))
    with progress_line(quiet=as_json) as line:

        async def every() -> list[Agreement]:  # in one event loop: clients of models do not outlive theirs
            return [
                await agreement(connected, tasks.get(name), rows, concurrency=concurrency, progress=partial(line.update, name))
                for name, rows in chosen.items()
            ]

        measured = run_async(every())
    date, answers = f"{datetime.now(UTC):%Y-%m-%d}", list[dict[str, Any]]()
    for result in measured:
        calibration = record(result, file=file, sha256=labelled.sha256, date=date)
        path = write(calibration, records) if save else None
        answers.append({**asdict(result), "n": result.n, "shortfall": calibration.shortfall, "saved": str(path) if path else None})
        if not as_json:
            show_agreement(result, calibration, path)
    if as_json:
        print_json(answers)
