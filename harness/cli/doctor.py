"""`touchstone doctor`: what is installed, what is missing, and what each part is for."""

from dataclasses import asdict

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings


def doctor(as_json: AsJson = False) -> None:
    """Show what is installed, what is missing, and what each part is for."""
    from harness.doctor import PartStatus, check_parts

    statuses: list[PartStatus] = []
    for status in check_parts(read_settings()):
        statuses.append(status)
        if not as_json:
            sign = {"ok": "✓", "missing": "–", "failed": "✗"}[status.state]
            gives = f"  (gives: {status.gives})" if status.state != "ok" and status.gives else ""
            typer.echo(f"{sign} {status.part:<16} {status.detail}{gives}")
    if as_json:
        print_json([asdict(status) for status in statuses])
    if any(status.needed and status.state != "ok" for status in statuses):
        raise typer.Exit(3)
