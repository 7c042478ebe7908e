"""`touchstone audit`: who did what to channels, documents, traces and keys."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from harness.cli.options import AsJson, print_json
from harness.cli.output.console import terminal_console
from harness.cli.output.tables import terminal_table
from harness.settings import read_settings
from serving.audit.open import open_audit
from serving.audit.record import ACTIONS, Action, AuditedAct, AuditQuery, Details
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import near

WIDTH = 160  # of what is no terminal
WHEN = "a day or a time, as in 2026-11-29 or 2026-11-29T09:30; UTC, where it names no zone."


def audit(
    since: Annotated[str, typer.Option("--since", help=f"Only from then on: {WHEN}")] = "",
    until: Annotated[str, typer.Option("--until", help=f"Only before: {WHEN}")] = "",
    who: Annotated[str, typer.Option("--who", help="Only what this one did, as entries name them.")] = "",
    action: Annotated[str, typer.Option("--action", help="Only this action, such as channel.promote.")] = "",
    subject: Annotated[str, typer.Option("--subject", help="Only what was done to this: a channel, a document's or a trace's id, …")] = "",
    tenant: Annotated[
        str, typer.Option("--tenant", help="Whose documents and traces; default: the operator's, with channels, keys and stores.")
    ] = "",
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000, help="How many at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Show who did what, the newest first. An act that is `begun` was cut off, is going on, or its end could not be written."""
    settings = read_settings()
    store = open_audit(settings)
    query = AuditQuery(
        tenant=tenant or settings.operator_tenant,
        since=_time("--since", since),
        until=_time("--until", until),
        who=who,
        action=_action(action) if action else None,
        subject=subject,
        limit=limit,
    )
    found = store.find(query)
    if as_json:
        print_json([_row(one) for one in found])
        return
    if not found:
        typer.echo(f"Nothing of that is in {store.place}.")
        return
    table = terminal_table("time (UTC)", "who", "from", "action", "subject", "outcome", "details")
    for column in table.columns:  # nothing is cut off: what has no room goes on in the next line
        column.justify, column.overflow, column.no_wrap = "left", "fold", column.header in ("action", "outcome")
    for one in found:
        entry, ended = one.entry, one.outcome
        outcome = f"{one.state}: {ended.reason}" if ended and ended.reason else one.state
        details = {**entry.details, **(ended.details if ended else {})}
        table.add_row(
            f"{datetime.fromtimestamp(entry.at, UTC):%Y-%m-%d %H:%M:%S}",
            entry.who,
            entry.source,
            entry.action,
            entry.subject,
            outcome,
            _details_text(details),
        )
    terminal_console(width=WIDTH, wrap=True).print(table)


def _row(one: AuditedAct) -> dict[str, Any]:
    entry, ended = one.entry, one.outcome
    facts = {"id": entry.id, "at": _shown(entry.at), "tenant": entry.tenant, "who": entry.who, "source": entry.source}
    facts |= {"action": entry.action, "subject": entry.subject}
    ended_fields = {"outcome": one.state, "reason": ended.reason if ended else "", "ended_at": _shown(ended.at) if ended else None}
    return {**facts, "details": dict(entry.details), **ended_fields, "result": dict(ended.details) if ended else {}}


def _shown(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def _details_text(details: Details) -> str:
    """Details in a line; of a sum what tells it from others, since --json has all of it."""
    return ", ".join(f"{name} {str(value)[:12] if name == 'sha256' else value}" for name, value in details.items())


def _time(option: str, text: str) -> float | None:
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text!r}: write {WHEN}") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _action(word: str) -> Action:
    for action in ACTIONS:
        if action == word:
            return action
    raise ConfigError(f"No action {word!r}.{near(word, list(ACTIONS))} Known: {', '.join(ACTIONS)}.")
