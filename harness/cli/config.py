"""`touchstone config …`: what can be set, and what is."""

from collections.abc import Iterator
from typing import Annotated

import typer
import yaml
from pydantic import AliasChoices

from harness.cli.options import AsJson, ConfigFile, Set, print_json, read_config
from harness.settings import HarnessSettings, read_settings, without_password

app = typer.Typer(no_args_is_help=True)


@app.command()
def show(
    config: ConfigFile = None,
    change: Set = None,
    flat: Annotated[bool, typer.Option("--flat", help="One dotted path per line, as experiments name them.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a configuration with every default filled in."""
    chosen = read_config(config, change)
    if as_json:
        print_json(chosen.flat() if flat else chosen.model_dump(mode="json"))
    elif flat:
        for path, value in chosen.flat().items():
            typer.echo(f"{path} = {value}")
    else:
        typer.echo(yaml.safe_dump(chosen.model_dump(mode="json"), sort_keys=False), nl=False)


@app.command()
def plugins(as_json: AsJson = False) -> None:
    """List every plug-in that a configuration can name, with its parameters."""
    tables = {path: table for path, (_, table) in read_config(None, None).plugins().items()}
    found = {path: {name: _parameters(table.load(name).Params) for name in table.names()} for path, table in tables.items()}
    if as_json:
        print_json(found)
        return
    for path, known in found.items():
        typer.echo(f"{path}.name")
        for name, parameters in known.items():
            typer.echo(f"  {name}" + (f"  ({', '.join(f'{key}={value!r}' for key, value in parameters.items())})" if parameters else ""))


def _parameters(model: type) -> dict[str, object]:
    from pydantic_core import PydanticUndefined

    fields = model.model_fields  # type: ignore[attr-defined]
    return {name: None if field.default is PydanticUndefined else field.default for name, field in fields.items()}


@app.command("settings")
def show_settings(as_json: AsJson = False) -> None:
    """List every setting of this machine: environment variable, value in use, meaning."""
    rows = [
        {"variable": name, "value": without_password(str(value)), "meaning": meaning}
        for name, value, meaning in settings_table(read_settings())
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        typer.echo(f"{row['variable']} = {row['value']}\n    {row['meaning']}")


def settings_table(values: HarnessSettings) -> Iterator[tuple[str, object, str]]:
    """Every setting with its environment variable and value."""
    for name, field in type(values).model_fields.items():
        alias = field.validation_alias
        first = alias.choices[0] if isinstance(alias, AliasChoices) else alias or f"TOUCHSTONE_{name.upper()}"
        yield str(first), getattr(values, name), field.description or ""
