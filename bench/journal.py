"""What the journal of traces costs, and what a kill -9 loses with it and without it, in a file (SQLite) and in DynamoDB.

    python bench/journal.py [--rounds 12] [--questions 100] [--out reports/bench]

Servers of one release answer one cached question again and again: two of them in turn, one with the journal and one without. What counts
is the processor time of the server's process until the store has every trace of the round. Then each is asked by four clients at once for
three seconds and killed; it is started again where there is a journal, and what is missing in the end is looked for in the store.

DynamoDB's protocol is spoken by moto here, which takes some fifty traces a second.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from _bench import REPORTS, machine, machine_line, table, write_report
from _load import cpu_s
from soak import trace_store

from serving.traces.base import TraceStore
from serving.traces.dynamodb import DynamoTraceStore
from serving.traces.journal import TraceJournal
from serving.traces.record import TraceRecord
from serving.traces.sqlite import SqliteTraceStore
from tests.app.making import QUESTION, config
from tests.app.replicas import Estate, Replica, replica
from tests.support.dynamodb import a_table
from tests.support.s3 import KEYS
from tests.support.waiting import until

WITHIN_S = 120.0


def asked(server: Replica, count: int) -> float:
    """Milliseconds of processor time a question, until the store has its trace."""
    before = cpu_s(server.process.pid)
    for _ in range(count):
        server.client.post("/v1/query", json={"question": QUESTION}).raise_for_status()
    until(lambda: "touchstone_traces_waiting 0.0" in server.client.get("/metrics").text, WITHIN_S)
    return 1000 * (cpu_s(server.process.pid) - before) / count


def cost(plain: Replica, journaled: Replica, rounds: int, questions: int) -> dict[str, Any]:
    """Processor time a question of two servers that are asked in turn; who begins changes from round to round."""
    times: dict[int, list[float]] = {0: [], 1: []}
    for server in (plain, journaled):
        asked(server, questions)
    for number in range(rounds):
        for which in (0, 1) if number % 2 == 0 else (1, 0):
            times[which].append(asked((plain, journaled)[which], questions))
    differences = [with_it - without for without, with_it in zip(times[0], times[1], strict=True)]
    error = statistics.stdev(differences) / len(differences) ** 0.5
    return {
        "without_ms": round(statistics.mean(times[0]), 3),
        "with_ms": round(statistics.mean(times[1]), 3),
        "difference_ms": round(statistics.mean(differences), 3),
        "standard_error_ms": round(error, 3),
    }


async def killed(server: Replica) -> dict[str, float]:
    """Questions by four clients for three seconds and a kill; the answers that came, by trace, in seconds before it."""
    came: dict[str, float] = {}

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.client.base_url, timeout=60) as client:
            with suppress(httpx.TransportError):
                while True:
                    answer = await client.post("/v1/query", json={"question": QUESTION})
                    came[answer.json()["trace_id"]] = time.monotonic()

    asking = [asyncio.create_task(ask()) for _ in range(4)]
    await asyncio.sleep(3)
    at = time.monotonic()
    await asyncio.to_thread(server.kill)
    await asyncio.gather(*asking)
    return {trace: at - when for trace, when in came.items()}


def missing(store: TraceStore, ages: dict[str, float], *, patience_s: float) -> dict[str, Any]:
    """How many traces the store has not, and how old the oldest of them is."""
    end, gone = time.monotonic() + patience_s, list(ages)
    while True:
        gone = [trace for trace in gone if store.get(trace) is None]
        if not gone or time.monotonic() > end:
            break
        time.sleep(1)
    return {"answers": len(ages), "missing": len(gone), "oldest_s": round(max((ages[trace] for trace in gone), default=0.0), 3)}


def steps(questions: int, trace: TraceRecord) -> dict[str, Any]:
    """Microseconds of processor time to write a trace into the journal, and to let go of 64."""
    with tempfile.TemporaryDirectory() as folder:
        journal = TraceJournal(Path(folder))
        journal.open()

        def timed(work: Callable[[], object], count: int) -> float:
            begin = time.process_time()
            for _ in range(count):
                work()
            return round(1e6 * (time.process_time() - begin) / count, 1)

        append = timed(lambda: journal.append(trace), 20 * questions)
        length = next(Path(folder).glob("*.jsonl")).stat().st_size // (20 * questions)
        idents = [trace.id] * 64
        let_go = timed(lambda: (journal.append(trace), journal.stored(idents)), 10 * questions)
        journal.close()
    return {"line_bytes": length, "append_us": append, "stored_us": round(max(let_go - append, 0.0), 1)}


@dataclass(frozen=True)
class Arm:
    """A server with its journal or without one, and its own store."""

    name: str
    estate: Estate
    store: TraceStore

    @classmethod
    def of(cls, kind: str, journal: str, root: Path, endpoint: str) -> "Arm":
        name = f"{kind}-{journal}"
        own = {"TOUCHSTONE_TRACES_JOURNAL": "none" if journal == "without" else str(root / name / "journal")}
        if kind == "sqlite":
            return cls(name, Estate(root, "", shared(root) | own), SqliteTraceStore(root / name / "traces.db"))
        a_table(endpoint, name)
        own |= {"TOUCHSTONE_TRACES": f"dynamodb:{name}", "TOUCHSTONE_DYNAMODB_ENDPOINT": endpoint}
        store = DynamoTraceStore(name, region="us-east-1", endpoint=endpoint, retention_s=86_400.0)
        return cls(name, Estate(root, "", shared(root) | own), store)

    def start(self, stack: ExitStack, digest: str) -> Replica:
        server = stack.enter_context(replica(self.estate, self.name))
        until(lambda: server.serves(digest), WITHIN_S)
        return server


def shared(root: Path) -> dict[str, str]:
    return {f"TOUCHSTONE_{name.upper()}": str(root / name) for name in ("releases", "indexes", "documents")}


def measure(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    costs, kills, one = dict[str, Any](), dict[str, Any](), dict[str, Any]()
    with ExitStack() as stack:
        endpoint = f"http://127.0.0.1:{stack.enter_context(trace_store())}"
        estate = Estate(root, "", shared(root))
        digest = asyncio.run(estate.release(config(**{"cache.lookup": {"name": "exact"}})))
        estate.promote(digest)
        for kind in ("sqlite", "dynamodb"):
            plain, journaled = (Arm.of(kind, journal, root, endpoint) for journal in ("without", "with"))
            servers = plain.start(stack, digest), journaled.start(stack, digest)
            costs[kind] = cost(*servers, options.rounds, options.questions)
            ages = asyncio.run(killed(servers[0]))
            kills[f"{kind}, without"] = missing(plain.store, ages, patience_s=0.0)
            one = one or steps(options.questions, next(trace for ident in ages if (trace := plain.store.get(ident))))
            ages = asyncio.run(killed(servers[1]))
            journaled.start(stack, digest)
            kills[f"{kind}, with"] = missing(journaled.store, ages, patience_s=60.0)
    packages = machine("fastapi", "uvicorn", "boto3", "moto")
    return {"machine": packages, "questions": options.rounds * options.questions, "cost": costs, "steps": one, "kill": kills}


def markdown(report: dict[str, Any]) -> str:
    names = {"sqlite": "a file (SQLite)", "dynamodb": "DynamoDB"}
    costs = [
        [
            names[kind],
            f"{one['without_ms']:.2f}",
            f"{one['with_ms']:.2f}",
            f"{one['difference_ms']:+.3f} ± {one['standard_error_ms']:.3f} ({one['difference_ms'] / one['without_ms']:+.1%})",
        ]
        for kind, one in report["cost"].items()
    ]
    kills = [
        [f"{names[name.partition(', ')[0]]}, {name.partition(', ')[2]} journal", one["answers"], one["missing"], f"{one['oldest_s']:.3f}"]
        for name, one in report["kill"].items()
    ]
    one = report["steps"]
    return "\n".join(
        [
            "# The journal of traces",
            "",
            f"Machine: {machine_line(report['machine'])}, shared with other work.",
            f"Made by `python bench/journal.py`: {report['questions']:,} questions to each server, all answered from the exact cache.",
            "",
            "Processor time of the server's process, milliseconds a question, until the store has its trace:",
            "",
            table(["store", "without journal", "with it", "difference ± standard error"], costs),
            "",
            f"A line of {one['line_bytes']:,} bytes takes {one['append_us']:g} µs to make and write, "
            f"to let go of a batch {one['stored_us']:g} µs.",
            "",
            "Four clients ask for three seconds, then kill -9; with a journal the server is started again:",
            "",
            table(["store", "answers", "traces missing", "the oldest of them, seconds before the kill"], kills),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--questions", type=int, default=100, help="of a round (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    os.environ.update(KEYS | {"AWS_DEFAULT_REGION": "us-east-1"})
    with tempfile.TemporaryDirectory() as root:
        report = measure(options, Path(root))
    write_report("journal", report, markdown(report), options.out)
    print(markdown(report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
