"""`touchstone report`: a report written again from what a sweep or an evaluation left on disk."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name or folder of a sweep or an evaluation, an experiment's name, or latest.")],
    out: Annotated[Path | None, typer.Option("--out", help="The folder to write to; default: the run's own.")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a report again, as one HTML file and Markdown."""
    from harness.reports import write_evaluation, write_sweep_folder
    from harness.resolve import find_report
    from harness.results.report_file import read_report

    recorded = find_report(run, read_settings().reports)
    folder, ended = out or recorded.folder, True
    if recorded.kind == "sweep":
        written = write_sweep_folder(recorded.path, folder)
        page, ended = written.page, written.ended
    else:
        page = write_evaluation(read_report(recorded.path), folder, name=recorded.folder.name)
    if as_json:
        print_json(
            {"kind": recorded.kind, "of": str(recorded.path), "ended": ended, "report": str(page), "markdown": str(page.with_suffix(".md"))}
        )
    else:
        if not ended:
            typer.echo(f"No verdict yet: this is what is known so far. To go on: touchstone sweep --folder {recorded.path}")
        typer.echo(f"report    {page}\nmarkdown  {page.with_suffix('.md')}")
    if open_it:
        typer.launch(page.absolute().as_uri())
