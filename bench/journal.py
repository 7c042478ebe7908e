"""What the journal of traces costs, and what a kill -9 loses with it and without it, in a file (SQLite) and in DynamoDB.

    python bench/journal.py [--rounds 12] [--questions 200] [--out reports/bench]

The cost is processor time. What a cached answer takes is that of a server's process for one cached question asked again and again, until
its store has the traces. What the journal adds is told by a trace writer in this process that is given such a trace every two
milliseconds, with and without a journal in turn; its store makes DynamoDB's items and sends them nowhere.

Then servers are asked by four clients at once for three seconds and killed; where there is a journal another is started, and what is
missing in the end is looked for in the store. DynamoDB's protocol is spoken by moto here, which is slower than the questions.
"""

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from _bench import REPORTS, machine, machine_line, table, write_report
from _load import cpu_s
from soak import trace_store

from serving.app.core.telemetry import make_logger
from serving.app.settings import AppSettings
from serving.app.traces.writer import TraceWriter
from serving.pipeline.types import Trace
from serving.traces.base import TraceStore
from serving.traces.dynamodb import DynamoTraceStore
from serving.traces.journal import TraceJournal
from serving.traces.record import TraceRecord
from serving.traces.sqlite import SqliteTraceStore
from tests.app.making import QUESTION, config
from tests.app.whole.replicas import Estate, Replica, replica
from tests.support.dynamodb import a_table
from tests.support.s3 import KEYS
from tests.support.waiting import until

WITHIN_S = 120.0


def asked(server: Replica, store: TraceStore, count: int) -> float:
    """Milliseconds of processor time a question, until the store has the last trace."""
    before, last = cpu_s(server.process.pid), ""
    for _ in range(count):
        last = server.client.post("/v1/query", json={"question": QUESTION}).raise_for_status().json()["trace_id"]
    until(lambda: store.get(last), WITHIN_S)  # not by asking the server, which would cost it time
    return 1000 * (cpu_s(server.process.pid) - before) / count


class Unsent(DynamoTraceStore):
    """Makes the items of traces, and sends none."""

    def put(self, traces: Sequence[TraceRecord]) -> None:
        for record in traces:
            self._item(record)


def written(trace: Trace, count: int, journal: TraceJournal | None) -> float:
    """Microseconds of processor time a trace, from the answer on."""
    store = Unsent("traces", region="us-east-1", retention_s=86_400.0)
    writer = TraceWriter(store, make_logger(AppSettings(_env_file=None)), most=2 * count, retention_s=0.0, journal=journal)
    writer.start()
    begin = time.process_time()
    for number in range(count):
        writer.answered(replace(trace, id=f"{trace.id}-{number}"))
        time.sleep(0.002)
    writer.close(WITHIN_S)
    return 1e6 * (time.process_time() - begin) / count


def added(trace: Trace, rounds: int, count: int, folder: Path) -> dict[str, Any]:
    """What a trace takes without the journal and with it, in turns; who begins changes from round to round."""
    times: dict[bool, list[float]] = {False: [], True: []}
    written(trace, count, None)
    for number in range(rounds):
        for journaled in (False, True) if number % 2 == 0 else (True, False):
            times[journaled].append(written(trace, count, TraceJournal(folder) if journaled else None))
    differences = [with_it - without for without, with_it in zip(times[False], times[True], strict=True)]
    low, median, high = statistics.quantiles(differences, n=4)
    return {
        "without_us": round(statistics.median(times[False]), 1),
        "with_us": round(statistics.median(times[True]), 1),
        "difference_us": round(median, 1),
        "difference_quartiles_us": [round(low, 1), round(high, 1)],
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
    answers, kills = dict[str, float](), dict[str, Any]()
    with ExitStack() as stack:
        endpoint = f"http://127.0.0.1:{stack.enter_context(trace_store())}"
        estate = Estate(root, "", shared(root))
        digest = asyncio.run(estate.release(config(**{"cache.lookup": {"name": "exact"}})))
        estate.promote(digest)
        for kind in ("sqlite", "dynamodb"):
            plain, journaled = (Arm.of(kind, journal, root, endpoint) for journal in ("without", "with"))
            servers = plain.start(stack, digest), journaled.start(stack, digest)
            asked(servers[0], plain.store, options.questions)
            answers[kind] = round(asked(servers[0], plain.store, 5 * options.questions), 2)
            ages = asyncio.run(killed(servers[0]))
            kills[f"{kind}, without"] = missing(plain.store, ages, patience_s=0.0)
            trace = next(trace for ident in ages if (trace := plain.store.get(ident)))
            ages = asyncio.run(killed(servers[1]))
            journaled.start(stack, digest)
            kills[f"{kind}, with"] = missing(journaled.store, ages, patience_s=60.0)
    costs = added(trace.value(), options.rounds, options.questions, root / "journal")
    packages = machine("fastapi", "uvicorn", "boto3", "moto")
    return {"machine": packages, "traces": options.rounds * options.questions, "answer_ms": answers, "cost": costs, "kill": kills}


def markdown(report: dict[str, Any]) -> str:
    names = {"sqlite": "a file (SQLite)", "dynamodb": "DynamoDB"}
    kills = [
        [f"{names[name.partition(', ')[0]]}, {name.partition(', ')[2]} journal", one["answers"], one["missing"], f"{one['oldest_s']:.3f}"]
        for name, one in report["kill"].items()
    ]
    cost, answer_ms = report["cost"], report["answer_ms"]["dynamodb"]
    low, high = cost["difference_quartiles_us"]
    return "\n".join(
        [
            "# The journal of traces",
            "",
            f"Machine: {machine_line(report['machine'])}, shared with other work.",
            "Made by `python bench/journal.py`, which says at its head what is measured.",
            "",
            f"A cached answer takes {answer_ms:.2f} ms of the server's processor time with its trace in DynamoDB, "
            f"{report['answer_ms']['sqlite']:.2f} ms with it in SQLite.",
            f"The trace's own share, for DynamoDB but for the sending, medians of rounds, {report['traces']:,} traces each:",
            "",
            table(
                ["without journal", "with it", "difference, and its quartiles", "of a cached answer"],
                [
                    [
                        f"{cost['without_us']:.0f} µs",
                        f"{cost['with_us']:.0f} µs",
                        f"{cost['difference_us']:+.0f} µs, {low:+.0f} to {high:+.0f}",
                        f"{cost['difference_us'] / answer_ms / 1000:+.1%}",
                    ]
                ],
            ),
            "",
            "Four clients ask for three seconds, then kill -9; with a journal the server is started again:",
            "",
            table(["store", "answers", "traces missing", "the oldest of them, seconds before the kill"], kills),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--questions", type=int, default=200, help="of a round (default: %(default)s)")
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
