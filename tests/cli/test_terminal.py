import io
import json
import os

import pytest
from rich.console import Console
from rich.text import Text

from harness.cli.output.clean import CleanStream, clean, clean_streams
from harness.cli.output.console import terminal_console
from harness.cli.output.progress import progress_line
from harness.cli.output.tables import terminal_table
from tests.support.world import World

STEERING = "\x1b[2J\x07\r\x9b31m\u202eexe\u2066"


def test_everything_that_could_steer_a_terminal_is_made_visible_and_nothing_else() -> None:
    assert clean(STEERING) == "\ufffd[2J\ufffd\ufffd\ufffd31m\ufffdexe\ufffd"
    plain = "Zwei\u00a0Tage – 一日\t👩‍🚀 ü\r\nnext\n"
    assert clean(plain) == plain.replace("\r\n", "\n")


def test_streams_are_cleaned_in_one_place_and_given_back(capsys: pytest.CaptureFixture[str]) -> None:
    import sys

    before = (sys.stdout, sys.stderr)
    with clean_streams():
        sys.stdout.write(STEERING + "\n")
        sys.stderr.writelines(["a\x1b", "b\n"])
        with clean_streams():
            sys.stdout.write("once\n")
    assert (sys.stdout, sys.stderr) == before
    said = capsys.readouterr()
    assert said.out == f"{clean(STEERING)}\nonce\n"
    assert said.err == "a\ufffdb\n"


def test_a_console_cleans_texts_and_keeps_its_own_codes(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdout", CleanStream(screen))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    console = terminal_console()
    console.print(Text(STEERING, style="bold"), "end")
    said = screen.getvalue()
    assert "\x1b[1m" in said
    assert "\x1b[2J" not in said
    assert "\x9b" not in said


def test_square_brackets_are_printed_as_they_stand(capsys: pytest.CaptureFixture[str]) -> None:
    console, table = terminal_console(), terminal_table("metric", "difference")
    table.add_row("usd", "+0.100 [too few cases]")
    console.print("prompt: [draft] → [/final]")
    console.print(table)
    printed = capsys.readouterr().out
    assert "[draft] → [/final]" in printed
    assert "+0.100 [too few cases]" in printed


def test_a_live_line_cleans_what_is_being_done(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    screen.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress_line() as line:
        line.update("\x1b[2Jworking [/on it]", 1, 2)
        line.say("\x1b[2Jsaid")
    assert "\x1b[2J" not in screen.getvalue()
    assert "said" in screen.getvalue()


def test_a_document_cannot_steer_the_terminal_and_json_keeps_what_it_says(world: World) -> None:
    text = f'---\ntitle: "T\\e[2Jitle"\n---\n# Leave\x1b]0;owned\x07\n\nEvery employee has 30 days of paid holiday a year.{STEERING}\n'
    (world.root / "datasets/corpora/tiny/hr/leave.md").write_text(text)
    ask = ("ask", "How many days of paid holiday \x1b[31mdoes an employee have?", "--corpus", "tiny", "-c", "tiny.yaml")
    said = world.touchstone(*ask, "--show-prompt")
    assert said.code == 0, said
    assert "30 days" in said.out
    for steering in ("\x1b", "\x07", "\x9b", "\u202e"):
        assert steering not in said.out + said.err
    whole = world.touchstone(*ask, "--json")
    assert "\u202e" not in whole.out
    trace = whole.json
    assert isinstance(trace, dict)
    shown = json.dumps(trace["hits"], ensure_ascii=False)
    assert "\\u001b]0;owned" in shown
    assert "\u202e" not in shown  # invisible characters are not loaded


@pytest.mark.parametrize("arguments", [("ask", "?", "--corpus", "\x1b[2Jx"), ("\x1b[2J",), ("golden", "show", "tiny", "--case", "\x1b[2J")])
def test_an_error_cannot_steer_the_terminal(world: World, arguments: tuple[str, ...]) -> None:
    said = world.touchstone(*arguments)
    assert said.code == 2
    assert "\x1b" not in said.err


def test_no_part_of_the_command_line_has_a_console_of_its_own() -> None:
    from pathlib import Path

    import harness.cli

    for path in Path(harness.cli.__path__[0]).glob("*.py"):
        assert path.name == "console.py" or f"{Console.__name__}(" not in path.read_text().replace("terminal_console(", ""), path


@pytest.mark.usefixtures("tracked")
def test_a_password_in_an_address_is_shown_nowhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", "http://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("TOUCHSTONE_S3_ENDPOINT", "ftp://me:hunter2@127.0.0.1:9")
    monkeypatch.setenv("TOUCHSTONE_MODEL_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    nova = "bedrock_converse:amazon.nova-lite-v1:0"
    models = ["-s", f"answer.models.lite.name={nova}", "-s", f"answer.models.pro.name={nova}"]
    for arguments in (
        ("doctor",),
        ("config", "settings"),
        ("ask", "How many days?", "--corpus", "tiny", "-c", "tiny.yaml", *models),
        ("eval", "-c", "tiny.yaml", *models, "--golden", "tiny", "--no-tracking", "--name", "dead"),
    ):
        said = world.touchstone(*arguments)
        assert "hunter2" not in said.out + said.err, arguments
    written = [path for path in (world.root / "reports").rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if b"hunter2" in path.read_bytes()]


def test_a_sweep_keeps_its_endpoint_without_the_password(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    from harness.settings import read_settings
    from harness.sweep.experiment import load_experiment
    from harness.sweep.setup import open_sweep

    monkeypatch.setenv("TOUCHSTONE_BEDROCK_ENDPOINT", "http://me:hunter2@127.0.0.1:9")
    text = (world.root / "small.yaml").read_text().replace("local:reader-lite", "bedrock_converse:amazon.nova-lite-v1:0")
    (world.root / "small.yaml").write_text(text)
    setup = open_sweep(load_experiment(world.root / "small.yaml"), read_settings())
    assert setup.digests["endpoints"] == "http://me:***@127.0.0.1:9"


def test_files_are_written_as_the_umask_says(world: World) -> None:
    before = os.umask(0o077)
    try:
        assert world.touchstone("eval", "-c", "tiny.yaml", "--golden", "tiny", "--name", "mine").code == 0
    finally:
        os.umask(before)
    written = [path for folder in ("reports", ".touchstone") for path in (world.root / folder).rglob("*") if path.is_file()]
    assert len(written) > 5
    assert not [path for path in written if path.stat().st_mode & 0o077]
