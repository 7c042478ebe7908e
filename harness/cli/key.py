"""`touchstone key …`: API keys."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from harness.audit import audited_act
from harness.cli.options import AsJson, print_json
from harness.settings import read_settings
from serving.keys import SCOPES, SHOWN, Caller, create_key, hash_of, read_keys, revoke_key, rotate_key
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import explain
from serving.pipeline.types import PUBLIC

app = typer.Typer(no_args_is_help=True)

KeysFile = Annotated[
    Path, typer.Option("--keys", envvar="TOUCHSTONE_API_KEYS", help="The file of keys; TOUCHSTONE_API_KEYS, where that is set.")
]
DEFAULT = Path("keys.yaml")
NAMED = f"An id, or the first {SHOWN} characters or more of the key's hash."


@app.command()
def create(
    ident: Annotated[str, typer.Argument(metavar="ID", help="Whose key it is, as logs and traces name it.")],
    tenant: Annotated[str, typer.Option("--tenant", help="Whose documents it may read beside the public ones.")] = PUBLIC,
    group: Annotated[list[str] | None, typer.Option("--group", help="A group of the tenant. Repeatable.")] = None,
    domain: Annotated[list[str] | None, typer.Option("--domain", help="Only documents of this domain. Repeatable; default: all.")] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", help=f"{', '.join(SCOPES)}. Repeatable; default: query and feedback.")
    ] = None,
    per_minute: Annotated[int | None, typer.Option("--per-minute", help="Requests a minute; default: no limit of its own.")] = None,
    usd_per_day: Annotated[float | None, typer.Option("--usd-per-day", help="Dollars a day, in UTC; default: no budget.")] = None,
    days: Annotated[float | None, typer.Option("--days", help="How long it is valid; default: until it is revoked.")] = None,
    keys: KeysFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, once: the file keeps its hash. A running server takes it within a second."""
    given: dict[str, Any] = {"id": ident, "tenant": tenant, "per_minute": per_minute, "usd_per_day": usd_per_day}
    given |= {"groups": group or [], "domains": domain or None, "expires": _in_days(days)}
    given |= {"scopes": scope} if scope else {}
    try:
        caller = Caller.model_validate(given)
    except ValidationError as error:
        raise ConfigError(explain(error, "key", list(Caller.model_fields))) from None
    about = {"tenant": caller.tenant, "scopes": ", ".join(sorted(caller.scopes)), "file": str(keys)}
    with audited_act(read_settings(), "key.create", ident, about) as result:
        key = create_key(keys, caller)
        result["hash"] = hash_of(key)[:SHOWN]
    if as_json:
        print_json({"id": ident, "key": key, "file": str(keys)})
        return
    typer.echo(key)
    typer.echo(f"The key of {ident}, shown this once; {keys} has its hash. Serve with it: TOUCHSTONE_API_KEYS={keys}", err=True)


@app.command("list")
def list_keys(keys: KeysFile = DEFAULT, as_json: AsJson = False) -> None:
    """List every key by how its hash begins, with what it is good for."""
    found = read_keys(keys)
    if as_json:
        print_json([{"hash": digest[:SHOWN], **caller.model_dump(mode="json")} for digest, caller in found.items()])
        return
    now = datetime.now(UTC)
    for digest, caller in found.items():
        limits = [f"{caller.per_minute} a minute"] if caller.per_minute else []
        limits += [f"${caller.usd_per_day:g} a day"] if caller.usd_per_day is not None else []
        limits += [f"domains {', '.join(sorted(caller.domains))}"] if caller.domains is not None else []
        limits += [f"groups {', '.join(sorted(caller.groups))}"] if caller.groups else []
        ends = f"until {caller.expires.isoformat()}" if caller.expires else "until revoked"
        state = ends if caller.valid(now) else f"expired {caller.expires}"
        typer.echo(f"{digest[:SHOWN]}  {caller.id}  {caller.tenant}  {', '.join(sorted(caller.scopes))}  {'; '.join([*limits, state])}")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help=NAMED)], keys: KeysFile = DEFAULT, as_json: AsJson = False) -> None:
    """Take a key out, or every key of an id; a running server refuses it within a second."""
    with audited_act(read_settings(), "key.revoke", name, {"file": str(keys)}) as result:
        gone = revoke_key(keys, name)
        result["hashes"] = ", ".join(digest[:SHOWN] for digest in gone)
    if as_json:
        print_json([{"hash": digest[:SHOWN], "id": caller.id} for digest, caller in gone.items()])
        return
    for digest, caller in gone.items():
        typer.echo(f"revoked {digest[:SHOWN]} of {caller.id}")


@app.command()
def rotate(
    name: Annotated[str, typer.Argument(help=NAMED)],
    hours: Annotated[float, typer.Option("--hours", min=0.0, help="How long the old key works beside the new one.")] = 24.0,
    keys: KeysFile = DEFAULT,
    as_json: AsJson = False,
) -> None:
    """Make a new key with the rights of an old one, which goes on working for a while."""
    overlap = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=hours)
    with audited_act(read_settings(), "key.rotate", name, {"file": str(keys), "old_until": overlap.isoformat()}) as result:
        key = rotate_key(keys, name, overlap)
        result["hash"] = hash_of(key)[:SHOWN]
    if as_json:
        print_json({"key": key, "old_until": overlap.isoformat()})
        return
    typer.echo(key)
    typer.echo(f"The new key, shown this once. The old one works until {overlap.isoformat()}.", err=True)


def _in_days(days: float | None) -> datetime | None:
    if days is None:
        return None
    if not 0 < days <= 36_500:
        raise ConfigError(f"--days is a number above 0 and at most 36500, not {days:g}.")
    return datetime.now(UTC).replace(microsecond=0) + timedelta(days=days)
