"""The command line: parsing and showing only; the work is done by the modules the commands name."""

import asyncio
import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from harness.cli.interrupt import STOPPED_CODE, leave
from harness.cli.lazy_commands import CommandLocation, group_of
from harness.cli.output.clean import clean, clean_streams, open_streams
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.packages import add_current_folder, place_of_fault
from serving.pipeline.redact import without_password

STOPPED = "stopped; what was finished is kept"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# of a folder that settings name
PLACE = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)

COMMANDS = {
    **{
        name: CommandLocation(f"harness.cli.{module}", attribute)
        for name, module, attribute in (
            ("init", "init", "init"),
            ("ask", "ask", "ask"),
            ("index", "index", "index"),
            ("ingest", "ingest", "ingest"),
            ("eval", "evaluate", "evaluate"),
            ("compare", "compare", "compare"),
            ("sweep", "sweep", "sweep"),
            ("report", "report", "report"),
            ("calibrate", "calibrate", "calibrate"),
            ("gate", "gate", "gate"),
            ("promote", "promote", "promote"),
            ("confidence", "confidence", "confidence"),
            ("serve", "serve", "serve"),
            ("ui", "ui", "ui"),
            ("audit", "audit", "audit"),
            ("doctor", "doctor", "doctor"),
        )
    },
    "golden": CommandLocation("harness.cli.golden.app", "app", "Golden sets: questions with known answers."),
    "judge": CommandLocation("harness.cli.judge", "app", "Judges: what they are asked, and how far they agree with humans."),
    "guard": CommandLocation("harness.cli.guard", "app", "The guard: try its checks on a text, render a policy for it and for Bedrock."),
    "config": CommandLocation("harness.cli.config", "app", "Configurations: show one whole, or every field."),
    "store": CommandLocation("harness.cli.store", "app", "The stage store: what was computed before and is not computed again."),
    "cache": CommandLocation("harness.cli.cache", "app", "Cached answers that processes share: warm, count, clear."),
    "release": CommandLocation("harness.cli.release", "app", "Releases: what was proven, ready to serve."),
    "champion": CommandLocation("harness.cli.champion", "app", "The champion: what ships today, recorded for gates."),
    "key": CommandLocation("harness.cli.key", "app", "API keys: who may ask, upload, give feedback, administrate."),
    "channel": CommandLocation("harness.cli.channel", "app", "Channels: which release an environment serves."),
}

app = typer.Typer(
    name="touchstone",
    help="Find the best RAG configuration by evidence, prove it on questions it never saw, ship exactly that one.",
    cls=group_of(COMMANDS),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version as installed

        typer.echo(installed("touchstone-rag"))
        raise typer.Exit


@app.callback()
def touchstone(
    version: Annotated[bool, typer.Option("--version", help="Print the version and stop.", callback=_version, is_eager=True)] = False,
) -> None:
    """Touchstone."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 good, 1 the gate failed, 2 the user's mistake, 3 the machinery failed."""
    try:
        leave(run(arguments))
    except Exception:  # noqa: BLE001 — Python would end with 1, and 1 says that a gate failed
        typer.echo(clean(without_password(traceback.format_exc())), err=True, nl=False)
        sys.exit(_say("this failure was not foreseen; nothing was judged. Please report it with the lines above.", 3))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; every foreseen failure is one line on standard error and its exit code."""
    with open_streams(), clean_streams():
        return _run(arguments)


def _run(arguments: Sequence[str] | None) -> int:
    add_current_folder()
    try:
        code = int(app(args=list(arguments) if arguments is not None else None, standalone_mode=False) or 0)
        return _say(STOPPED, STOPPED_CODE) if code == STOPPED_CODE else code  # Typer itself turns Ctrl-C into this code, without a word
    except TyperException as error:
        context = getattr(error, "ctx", None)
        if context is not None and not context.args and type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            return 2
        message = error.format_message().replace("Value error, ", "")  # what the parser's own validation puts before its words
        return _say(f"{message} See: {context.command_path if context else 'touchstone'} --help", 2)
    except (typer.Abort, KeyboardInterrupt, asyncio.CancelledError):
        return _say(STOPPED, STOPPED_CODE)
    except TouchstoneError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        return 141  # as a shell has it for a reader that went away; 0 would say that a gate holds
    except OSError as error:
        if error.errno in DISK or (error.errno in PLACE and error.filename):
            return _say(f"{error.filename or 'the disk'}: {error.strerror}. See: touchstone doctor", 3)
        return _say_fault(error)
    except Exception as error:  # noqa: BLE001 — raised again unless it comes from a part of the user's
        return _say_fault(error)


def _say_fault(error: Exception) -> int:
    """A line for an error that a part of the user's raised, with its place; any other is raised again."""
    place = place_of_fault(error)
    if not place:
        raise error
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return _say(f"{place}: {type(error).__name__}: {' '.join(str(error).split())}", 2)


def _say(message: str, code: int) -> int:
    typer.echo(clean(f"touchstone: {without_password(message)}"), err=True)
    return code
