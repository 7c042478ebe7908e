"""`touchstone config …`: what can be set, and what is."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer
import yaml
from pydantic import AliasChoices, BaseModel

from harness.cli.options import AsJson, ConfigFile, Set, print_json, read_config
from harness.settings import HarnessSettings, read_settings
from serving.pipeline.errors import ConfigError
from serving.pipeline.redact import without_password
from serving.pipeline.registry import Registry

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
    from harness.judges import JUDGES
    from harness.metrics import METRICS
    from serving.pipeline.index.loaders import LOADERS

    tables: dict[str, Registry[Any]] = {f"{path}.name": table for path, (_, table) in read_config(None, None).plugins().items()}
    summaries = {path: {name: _summary(table, name) for name in table.names()} for path, table in tables.items()}
    others: dict[str, Registry[Any]] = {"metrics": METRICS, "judges": JUDGES, "loaders": LOADERS}
    for title, table in others.items():  # of these only what other packages offer
        if outside := [name for name in table.names() if name not in table.own_names()]:
            summaries[title] = {name: _summary(table, name) for name in outside}
    if as_json:
        print_json(
            {
                path.removesuffix(".name"): {name: summary.as_json() for name, summary in plugins_of_path.items()}
                for path, plugins_of_path in summaries.items()
            }
        )
        return
    for path, plugins_of_path in summaries.items():
        typer.echo(path)
        for name, summary in plugins_of_path.items():
            typer.echo(f"  {name}{summary.as_text()}")


@dataclass(frozen=True, slots=True)
class PlugInSummary:
    """A plug-in's parameters with their defaults and the package it comes from, or why it cannot be used."""

    parameters: dict[str, object]
    origin: str = ""
    error: str = ""

    def as_json(self) -> dict[str, object] | str:
        """The parameters, or the error."""
        return self.error or self.parameters

    def as_text(self) -> str:
        """What follows its name in the list."""
        parameters = ", ".join(f"{key}={value!r}" for key, value in self.parameters.items())
        return "".join(
            [f"  ({parameters})" if parameters else "", f"  from {self.origin}" if self.origin else "", self.error and f"  {self.error}"]
        )


def _summary(table: Registry[Any], name: str) -> PlugInSummary:
    try:
        return PlugInSummary(_parameters(table.load(name).Params), table.origin(name))
    except ConfigError as error:  # of one package: the others are still worth listing
        if name in table.own_names():
            raise
        return PlugInSummary({}, error=f"cannot be used: {error}")


def _parameters(model: type[BaseModel]) -> dict[str, object]:
    from pydantic_core import PydanticUndefined

    fields = model.model_fields
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
