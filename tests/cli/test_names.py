"""What a killed or a second process leaves of a name: never half a result, never a name that is lost."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.results.report_file import read_report
from serving.pipeline.errors import DataError, IntegrityError
from tests.support.world import World

EVAL = ("eval", "-c", "tiny.yaml", "--golden", "tiny", "--no-tracking", "--name", "mine")
AT = "import os, pathlib, signal, sys\nfrom harness.cli import run\n"
KILLED_WRITING = AT + (
    "import harness.project.evaluate as module\n"
    "module.write_evaluation = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
    "sys.exit(run(sys.argv[1:]))\n"
)
HELD = AT + (
    "import harness.project.evaluate as module\n"
    "module.write_evaluation = lambda *_, **__: (pathlib.Path('held').touch(), signal.pause())\n"
    "sys.exit(run(sys.argv[1:]))\n"
)
KILLED_AT_RENAME = AT + (
    "left, plain = int(sys.argv[1]), pathlib.Path.rename\n"
    "def rename(self, target):\n"
    "    global left\n"
    "    left -= 1\n"
    "    if left < 0: os.kill(os.getpid(), signal.SIGKILL)\n"
    "    return plain(self, target)\n"
    "pathlib.Path.rename = rename\n"
    "sys.exit(run(sys.argv[2:]))\n"
)
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}


def killed(script: str, *arguments: str) -> None:
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=os.environ | ENVIRONMENT)
    assert done.returncode == -signal.SIGKILL, done.stderr


@contextmanager
def held(script: str, arguments: Sequence[str], sign: Path) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", script, *arguments], env=os.environ | ENVIRONMENT) as process:
        try:
            while not sign.exists():
                assert process.poll() is None
                time.sleep(0.01)  # the other process needs the core
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_an_evaluation_that_was_killed_while_it_was_written_does_not_keep_its_name(world: World) -> None:
    killed(KILLED_WRITING, *EVAL)
    assert not (world.root / "reports/runs/mine").exists()
    assert [path.name for path in (world.root / "reports/.drafts").iterdir() if path.is_dir()]
    said = world.touchstone(*EVAL)
    assert said.code == 0, said.err
    assert {"cases.jsonl", "report.html"} <= {path.name for path in (world.root / "reports/runs/mine").iterdir()}
    assert list((world.root / "reports/.drafts").iterdir()) == []


@pytest.mark.slow
def test_of_two_evaluations_of_one_name_the_second_is_refused_and_touches_nothing_of_the_first(world: World) -> None:
    with held(HELD, EVAL, world.root / "held"):
        draft = next(path for path in (world.root / "reports/.drafts").iterdir() if path.is_dir())
        before = (draft / "cases.jsonl").read_bytes()
        said = world.touchstone(*EVAL)
        assert said.code == 2
        assert "An evaluation named 'mine' is being made by another process. Choose another --name, or wait for it." in said.err
        other = world.touchstone(*EVAL[:-1], "other")  # sweeps up, but never what a living process is at
        assert other.code == 0, other.err
        assert (draft / "cases.jsonl").read_bytes() == before
    assert world.touchstone(*EVAL).code == 0
    assert world.touchstone(*EVAL).code == 2


def test_a_half_written_folder_of_an_earlier_version_is_replaced_and_anything_else_is_not(world: World) -> None:
    folder = world.root / "reports/runs/mine"
    folder.mkdir(parents=True)
    (folder / "report.html").write_text("half")
    assert world.touchstone(*EVAL).code == 0
    assert (folder / "report.html").read_text() != "half"
    notes = world.root / "reports/runs/notes"
    notes.mkdir()
    (notes / "thoughts.txt").write_text("of mine")
    said = world.touchstone(*EVAL[:-1], "notes")
    assert said.code == 2
    assert (notes / "thoughts.txt").read_text() == "of mine"


def test_a_reports_folder_that_cannot_be_written_is_found_out_before_anything_runs(world: World) -> None:
    (world.root / "reports").write_text("in the way")
    said = world.touchstone(*EVAL)
    assert said.code == 3
    assert said.err.count("\n") == 1
    assert not (world.root / ".touchstone" / "stages").exists()


def import_source(world: World) -> tuple[str, ...]:
    (world.root / "corpus.jsonl").write_text(json.dumps({"id": "a", "text": "The notice period is 3 months."}) + "\n")
    line = {"question": "What is the notice period?", "answers": ["3 months"], "relevant_ids": ["a"], "id": "q1"}
    (world.root / "set.jsonl").write_text(json.dumps(line) + "\n")
    return ("golden", "import", "set.jsonl", "--name", "new")


@pytest.mark.slow
@pytest.mark.parametrize("renames", [0, 1])
def test_an_import_that_was_killed_does_not_keep_its_name(world: World, renames: int) -> None:
    command = import_source(world)
    killed(KILLED_AT_RENAME, str(renames), *command)
    assert (world.root / "datasets/corpora/new").exists() == (renames == 1)
    said = world.touchstone(*command)
    assert said.code == 0, said.err
    for folder in ("golden", "corpora"):
        assert sorted(path.name for path in (world.root / "datasets" / folder).iterdir()) == ["new", "tiny"]


def test_a_corpus_that_no_import_has_half_placed_is_never_removed(world: World) -> None:
    command = import_source(world)
    mine = world.root / "datasets/corpora/new"
    mine.mkdir()
    (mine / "a.md").write_text("mine")
    (world.root / "datasets/golden/.new.lock").write_text("")  # of a process that was killed before it placed anything
    assert world.touchstone(*command).code == 2
    assert (mine / "a.md").read_text() == "mine"
    assert not (world.root / "datasets/golden/.new.lock").exists()


def test_a_queue_sweeps_up_what_a_killed_writer_left(world: World) -> None:
    folder = world.root / "datasets/golden/tiny"
    (folder / ".queue.jsonl.0123456789ab").write_text("half")
    evidence = "hr/leave.md: Sick leave is paid for 6 weeks"
    said = world.touchstone("golden", "add", "tiny", "--question", "How long is sick pay?", "--answer", "6 weeks", "--evidence", evidence)
    assert said.code == 0, said.err
    assert sorted(path.name for path in folder.iterdir()) == ["queue.jsonl", "queue.sha256", "v1"]
    for text in ("", None):
        (folder / "queue.jsonl").unlink() if text is None else (folder / "queue.jsonl").write_text(text)
        emptied = world.touchstone("golden", "review", "tiny", "--list")
        assert emptied.code == 2
        assert "queue.jsonl is gone or empty. Put it back (git checkout), or where that is meant remove" in emptied.err
    (folder / "queue.sha256").unlink()
    assert world.touchstone("golden", "review", "tiny", "--list").code == 0


def test_no_changed_byte_of_an_evaluation_reads_as_if_nothing_were_wrong(world: World) -> None:
    assert world.touchstone(*EVAL, "--cases", "2").code == 0
    path = world.root / "reports/runs/mine/cases.jsonl"
    whole, plain = path.read_bytes(), read_report(path)
    for place in [*range(0, 160), *range(160, len(whole), max(1, len(whole) // 400))]:
        for flip in (1, 32):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ flip]) + whole[place + 1 :])
            with pytest.raises((DataError, IntegrityError)):
                read_report(path)
    for cut in (whole[: len(whole) // 2], whole[: whole.rindex(b"\n", 0, -1) + 1], whole + whole[whole.rindex(b"\n", 0, -1) + 1 :]):
        path.write_bytes(cut)
        with pytest.raises((DataError, IntegrityError), match=r"cases\.jsonl"):
            read_report(path)
    said = world.touchstone("report", "mine")
    assert said.code == 3
    assert "was changed since it was written: its sum is another. Put it back, or evaluate again." in said.err
    path.write_bytes(b"{" + whole[whole.index(b'", ') + 3 :])  # as earlier versions wrote it
    assert read_report(path) == plain
