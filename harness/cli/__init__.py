"""The command line: parsing and showing only; the work is done by the modules the commands name."""

import asyncio
import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from harness.cli import (
    ask,
    champion,
    channel,
    compare,
    config,
    doctor,
    evaluate,
    gate,
    golden,
    index,
    init,
    judge,
    promote,
    release,
    report,
    serve,
    store,
    sweep,
    ui,
)
from harness.cli.interrupt import STOPPED_CODE, leave
from harness.cli.terminal import clean, clean_streams
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.packages import add_current_folder, place_of_fault
from serving.pipeline.redact import without_password

STOPPED = "stopped; what was finished is kept"
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# of a folder that settings name
PLACE = (errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG)

app = typer.Typer(
    name="touchstone",
    help="Find the best RAG configuration by evidence, prove it on questions it never saw, ship exactly that one.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("init")(init.init)
app.command("ask")(ask.ask)
app.command("index")(index.index)
app.command("eval")(evaluate.evaluate)
app.command("compare")(compare.compare)
app.command("sweep")(sweep.sweep)
app.command("report")(report.report)
app.command("gate")(gate.gate)
app.command("promote")(promote.promote)
app.command("serve")(serve.serve)
app.command("ui")(ui.ui)
app.command("doctor")(doctor.doctor)
app.add_typer(golden.app, name="golden", help="Golden sets: questions with known answers.")
app.add_typer(judge.app, name="judge", help="Judges: what they are asked, and how far they agree with humans.")
app.add_typer(config.app, name="config", help="Configurations: show one whole, or every field.")
app.add_typer(store.app, name="store", help="The stage store: what was computed before and is not computed again.")
app.add_typer(release.app, name="release", help="Releases: what was proven, ready to serve.")
app.add_typer(champion.app, name="champion", help="The champion: what ships today, recorded for gates.")
app.add_typer(channel.app, name="channel", help="Channels: which release an environment serves.")


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
    with clean_streams():
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
        return _say(f"{error.format_message()} See: {context.command_path if context else 'touchstone'} --help", 2)
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
