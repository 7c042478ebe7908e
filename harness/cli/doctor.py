"""`touchstone doctor`: what is there, what is missing, what it would give."""

from dataclasses import asdict

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import read_settings


def doctor(as_json: AsJson = False) -> None:
    """Say what is there, what is missing and what it would give."""
    from harness.doctor import PartStatus, examine_parts

    findings: list[PartStatus] = []
    for finding in examine_parts(read_settings()):
        findings.append(finding)
        if not as_json:
            sign = {"ok": "✓", "missing": "–", "failed": "✗"}[finding.state]
            gives = f"  (gives: {finding.gives})" if finding.state != "ok" and finding.gives else ""
            typer.echo(f"{sign} {finding.part:<16} {finding.detail}{gives}")
    if as_json:
        print_json([asdict(finding) for finding in findings])
    if any(finding.needed and finding.state != "ok" for finding in findings):
        raise typer.Exit(3)
