"""No file stops or starves the process that indexes it."""

import fcntl
import os
import re
import signal
import struct
import termios
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from serving.pipeline.errors import InfrastructureError, RefusedFile
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.index.parse import ParseLimits, Parser
from serving.pipeline.registry import Spec
from tests.contract.inputs import FILES
from tests.index.hostile_files import BOMBS, PARAGRAPH, pdf_text, word_file
from tests.support.waiting import WITHIN_S, until

pytestmark = pytest.mark.slow  # each starts a process that imports the parsers

PATIENT = ParseLimits(seconds=80, seconds_per_mb=16, patience=15)  # for a slow machine: ten times what a file has, and more by the clock
HURRIED = ParseLimits(seconds=1, seconds_per_mb=0, patience=400)
MEMORY = 200_000_000
SLOW = b"<svg>" + b"<div>" * 300_000  # minutes, if it were let


@pytest.fixture(scope="module")
def parser() -> Iterator[Parser]:
    with Parser(PATIENT) as opened:
        yield opened


def worker_of(parser: Parser) -> int:
    process = parser._workers[0]._process
    assert process is not None
    return process.pid


def outcome(parser: Parser, data: bytes, name: str) -> str:
    try:
        return f"read {len(parser.parse(data, name, Path(name).suffix).text)}"
    except RefusedFile as refusal:
        return str(refusal)


def is_running(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def unread(pipe: int) -> int:
    """How much has been written to a pipe that nobody has read."""
    return int(struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)))[0])


@pytest.mark.parametrize("name", list(FILES))
def test_a_good_file_reads_the_same_in_a_worker(parser: Parser, name: str) -> None:
    for data in FILES[name]():
        here = LOADERS.build(Spec(name=name)).load(data, f"a{name}")
        there = parser.parse(data, f"a{name}", name)
        assert (there.text, there.title, dict(there.facts)) == (here.text, here.title, dict(here.facts))


@pytest.mark.parametrize("name", list(BOMBS))
def test_a_bomb_is_read_or_refused_within_its_bounds_and_the_next_file_is_read(parser: Parser, name: str) -> None:
    data = BOMBS[name].make()
    assert len(data) <= 5_000_000
    parser.limits = HURRIED if "takes more" in BOMBS[name].outcome else PATIENT
    assert re.search(BOMBS[name].outcome, outcome(parser, data, name))
    parser.limits = PATIENT
    assert parser.parse(b"<p>next", "next.html", ".html").text == "next"


@pytest.mark.parametrize(
    ("data", "kind", "limits", "reason"),
    [
        (SLOW, ".html", ParseLimits(seconds=0.3, seconds_per_mb=0, patience=400), "takes more than 0.3 s of processor time"),
        (SLOW, ".html", ParseLimits(seconds=60, patience=0.01), "was not read within 0.6 s"),
        (word_file(PARAGRAPH % b"a" * 140_000), ".docx", replace(PATIENT, memory_bytes=MEMORY), "MB of memory"),
        (pdf_text(b"a" * 101), ".pdf", ParseLimits(characters=100), "has 101 characters; at most 100 are read"),
    ],
)
def test_each_bound_refuses_with_its_reason_and_the_worker_is_replaced(data: bytes, kind: str, limits: ParseLimits, reason: str) -> None:
    with Parser(limits) as parser:
        with pytest.raises(RefusedFile, match=reason):
            parser.parse(data, "file", kind)
        parser.limits = PATIENT
        assert parser.parse(b"<p>next", "next.html", ".html").text == "next"


def test_a_worker_that_crashes_refuses_its_file_alone(parser: Parser) -> None:
    parser.parse(b"<p>warm", "warm.html", ".html")
    pid = worker_of(parser)
    assert parser.parse(b"<p>warm", "warm.html", ".html").text == "warm"
    assert worker_of(parser) == pid
    os.kill(pid, signal.SIGSTOP)  # it dies with the file in its hands: a pipe holds less than the file
    pipe = parser._workers[0]._process.stdin.fileno()

    def crash() -> None:
        until(lambda: unread(pipe))
        for number in (signal.SIGSEGV, signal.SIGCONT):
            os.kill(pid, number)

    crashing = threading.Thread(target=crash)
    crashing.start()
    with pytest.raises(RefusedFile, match=r"crashed the process that read it \(SIGSEGV\)"):
        parser.parse(b"<p>" + b"a" * 1_000_000, "crash.html", ".html")
    crashing.join()
    assert parser.parse(b"<p>next", "next.html", ".html").text == "next"
    assert worker_of(parser) != pid


def test_an_interrupt_ends_the_worker_with_the_file_it_has() -> None:
    with Parser(ParseLimits(seconds=60)) as parser:
        parser.parse(b"<p>warm", "warm.html", ".html")
        pid = worker_of(parser)
        before = processor_ticks(pid)

        def interrupt() -> None:
            until(lambda: processor_ticks(pid) > before + 10)  # it is at the file
            os.kill(os.getpid(), signal.SIGINT)

        with pytest.raises(KeyboardInterrupt):
            threading.Thread(target=interrupt).start()
            parser.parse(SLOW, "slow.html", ".html")
        assert not is_running(pid)


def test_closing_ends_a_worker_at_its_task_and_no_more_files_are_read() -> None:
    parser = Parser(ParseLimits(seconds=60))
    parser.parse(b"<p>warm", "warm.html", ".html")
    pid, raised = worker_of(parser), []

    def read() -> None:
        try:
            parser.parse(SLOW, "slow.html", ".html")
        except InfrastructureError as error:
            raised.append(str(error))

    reading = threading.Thread(target=read)
    reading.start()
    parser.close()
    reading.join()
    assert not is_running(pid)
    assert raised
    with pytest.raises(InfrastructureError, match="is closed"):
        parser.parse(b"<p>more", "more.html", ".html")


def test_threads_wait_for_a_free_worker() -> None:
    texts: list[str] = []
    with Parser(workers=2) as parser:

        def read(number: int) -> None:
            texts.append(parser.parse(b"<p>%d" % number, "page.html", ".html").text)

        threads = [threading.Thread(target=read, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(texts) == [str(number) for number in range(8)]


def test_a_second_worker_starts_only_for_a_second_file_at_a_time() -> None:
    with Parser(workers=2) as parser:
        for number in range(3):
            parser.parse(b"<p>%d" % number, "page.html", ".html")
        assert sum(worker._process is not None for worker in parser._workers) == 1


def test_a_worker_ends_when_its_parent_is_gone(parser: Parser) -> None:
    with Parser() as other:
        other.parse(b"<p>warm", "warm.html", ".html")
        process = other._workers[0]._process
        assert process is not None
        assert process.stdin is not None
        process.stdin.close()  # as the end of this process would
        assert process.wait(timeout=WITHIN_S) == 0


def test_a_worker_knows_nothing_of_its_parents_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with Parser() as parser:
        parser.parse(b"<p>warm", "warm.html", ".html")
        environment = Path(f"/proc/{worker_of(parser)}/environ").read_bytes()
    assert b"secret" not in environment


def test_plain_text_starts_no_process() -> None:
    with Parser() as parser:
        assert parser.parse(b"plain", "a.txt", ".txt").text == "plain"
        assert parser._workers[0]._process is None
