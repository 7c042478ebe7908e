"""Commands are imported when they are asked for, and look the same as if they had been before."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer
import typer.main

from harness.cli import COMMANDS, app
from harness.cli.lazy_commands import CommandLocation, LazyCommands


def test_the_command_line_imports_no_command_before_it_is_asked_for() -> None:
    heavy = ("harness.sweep", "harness.cli.sweep", "langchain")
    code = f"import sys, harness.cli; print([name for name in sys.modules if name.startswith({heavy})])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "[]"


def test_names_are_known_before_anything_is_loaded_and_unknown_ones_are_no_commands() -> None:
    commands = LazyCommands({"none": CommandLocation("no.such.module", "app")})
    assert list(commands) == ["none"]
    assert "none" in commands
    assert commands.get("other") is None
    with pytest.raises(KeyError):
        commands["other"]


@pytest.mark.parametrize("name", ["ask", "golden"])
def test_a_command_and_a_group_are_loaded_by_name(name: str) -> None:
    command = LazyCommands(COMMANDS)[name]
    assert command.name == name
    assert command.help


def named(command: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every command under one, by its full name."""
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    context = typer.Context(command)
    for sub in command.list_commands(context):
        yield from named(command.get_command(context, sub), f"{name} {sub}".strip())


def test_every_command_has_json() -> None:
    """But for two that run until they are stopped, and one that prints a document of the format that is asked for."""
    options = {
        name: [option for parameter in command.params for option in parameter.opts] for name, command in named(typer.main.get_command(app))
    }
    assert len(options) > 40
    assert {name for name, known in options.items() if "--json" not in known} == {"serve", "ui", "guard render"}
