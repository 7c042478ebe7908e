"""A server under mixed load while releases are swapped and what it stands on is lost: nothing wrong, nothing lost, no growth.

    python bench/soak.py [--seconds 600] [--swaps 20] [--losses 4] [--workers 6] [--out reports/bench]

Questions, streams, searches, feedback and, where the server takes them, uploads and deletions of documents, over HTTP with a key. The
channel moves from one release to another and back; Redis is killed and started again; the way to the trace store is cut and mended. It
ends with a graceful stop, a start, a kill -9 and another start. Exit code 1, with the reasons, where

- an answer is not what its release says, or its release is none that the channel named while it was asked: from when the channel moved
  to it until the server had followed the next move;
- a response is a 5xx that is not announced: while the trace store is away, and 10 seconds after, what stands on it (feedback, traces)
  may answer 503 or 504; nothing else may at any time, and no connection may break;
- feedback or a document that was acknowledged is not there afterwards, or what was deleted still is;
- a trace is missing after a graceful stop, or, a minute after that last start, one of an answer that came more than a second before the
  kill: the store is slower than the questions there, and what waited for it lies in the journal;
- memory grows: by more than 10 % from the second to the last quarter of the time, where that is a minute or more.

On a machine that is slow or busy, `--patience 2` gives the server twice as long for all that it has to do in time.

The trace store is DynamoDB's protocol as moto speaks it, Redis is a real one.
"""

import argparse
import asyncio
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
from _bench import REPORTS, machine, machine_line, table, write_report
from _load import cpu_s, rss_mb

from serving.keys import SCOPES, Caller, create_key
from serving.traces.dynamodb import DynamoTraceStore
from tests.app.making import QUESTION, config, events
from tests.app.whole.replicas import Estate, Replica, bearer, replica
from tests.support.dynamodb import a_table
from tests.support.ports import free_port
from tests.support.redis import PROGRAM, RedisServer, a_secret
from tests.support.s3 import KEYS
from tests.support.waiting import until

SAYS = ("Everyone has 28 days of paid leave a year [1].", "The answer of the other release is this one [1].")
TABLE = "traces"
GRACE_S = 10.0  # after a loss, until what stood on it has to work again
LOSS_S = 5.0  # how long something is away
FOLLOWED_S = 60.0  # patience with the server to follow a move
GROWTH = 0.10  # of memory, from the second to the last quarter
JUDGED_S = 60.0  # the least time in which growth of memory says anything: before, it is the server that warms up
REPLAYED_S = 60.0  # patience with the server that is started after the kill to store what the killed one left
CHECKED = 400  # traces that are looked for, of each end
ASKED_FOR = 100  # traces with feedback that the server is asked for; all are looked for in the store's table
SHARES = {"ask": 45, "stream": 20, "retrieve": 12, "feedback": 15, "upload": 5, "delete": 3}
TOPICS = ("leave", "expenses", "releases", "brand", "receipts", "holidays", "the logo", "half days", "smoke tests", "gold", "Tuesdays")


@dataclass
class Move:
    """A move of the channel: from when it may be seen in answers, and when the server had followed."""

    release: str
    at: float
    followed: float = float("inf")


@dataclass
class SoakFindings:
    """What happened, by the client's clock."""

    patience: float = 1.0  # so many times as long as usual for whatever has to happen in time
    requests: Counter[str] = field(default_factory=Counter)  # by kind and status
    wrong: list[str] = field(default_factory=list)
    traces: dict[str, float] = field(default_factory=dict)  # by id: when the answer had come
    feedback: dict[str, str] = field(default_factory=dict)  # by the text that was acknowledged: of which trace
    documents: dict[str, str] = field(default_factory=dict)  # by id: the word that it alone holds
    deleted: dict[str, str] = field(default_factory=dict)
    moves: list[Move] = field(default_factory=list)
    losses: list[tuple[str, float, float]] = field(default_factory=list)  # what, from, to
    memory_mb: list[tuple[float, float]] = field(default_factory=list)
    answer_ms: list[float] = field(default_factory=list)

    def may_answer(self, release: str, begun: float, ended: float) -> bool:
        """Whether the channel named a release while something was asked, by the time that the server takes to follow."""
        ends = [move.followed for move in self.moves[1:]] + [float("inf")]
        return any(move.release == release and begun <= end and ended >= move.at for move, end in zip(self.moves, ends, strict=True))

    def announced(self, begun: float, ended: float) -> bool:
        """Whether the trace store was away at some time of a request, or had just come back."""
        return any(what == "trace store" and begun <= end + GRACE_S * self.patience and ended >= start for what, start, end in self.losses)


class Way:
    """A way to a server that can be cut: a port of its own, from which bytes are carried."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()

    async def mend(self) -> None:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", self.port)

    def cut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in list(self._open):
            writer.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._to)
            self._open.add(back)
            await asyncio.gather(_pour(reader, back), _pour(there, writer))
            self._open.discard(back)
        except (OSError, asyncio.CancelledError):  # the server is gone; or the soak ends, and nobody asks this task for anything
            pass
        finally:
            self._open.discard(writer)
            writer.close()


async def _pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


class Worker:
    """One client that does one thing after another."""

    def __init__(
        self, client: httpx.AsyncClient, found: SoakFindings, says: dict[str, str], *, documents: bool, seed: int, pause_s: float = 0.0
    ) -> None:
        self._client = client
        self._found = found
        self._says = says  # by release
        self._chance = random.Random(seed)
        kinds = {kind: share for kind, share in SHARES.items() if documents or kind not in ("upload", "delete")}
        self._kinds, self._weights = list(kinds), list(kinds.values())
        self._number, self._seed, self._pause_s = 0, seed, pause_s

    async def work(self, until_s: float) -> None:
        while time.monotonic() < until_s:
            [kind] = self._chance.choices(self._kinds, self._weights)
            begun = time.monotonic()
            try:
                await getattr(self, f"_{kind}")(begun)
            except httpx.TransportError as error:
                self._found.wrong.append(f"{kind}: the connection broke: {error!r}")
            await asyncio.sleep(self._chance.uniform(0.0, 2 * self._pause_s))

    async def _ask(self, begun: float) -> None:
        response = await self._client.post("/v1/query", json={"question": self._question()})
        if self._counted("ask", response, begun):
            self._check(response.json(), begun)

    async def _stream(self, begun: float) -> None:
        response = await self._client.post("/v1/query/stream", json={"question": self._question()})
        if self._counted("stream", response, begun):
            told = events(response.text)
            if told[-1][0] != "answer":
                self._found.wrong.append(f"stream: ended with {told[-1]}")
                return
            if "".join(data["text"] for name, data in told if name == "token").strip() != told[-1][1]["answer"]:
                self._found.wrong.append(f"stream: its tokens are not its answer: {told}")
            self._check(told[-1][1], begun)

    async def _retrieve(self, begun: float) -> None:
        response = await self._client.post("/v1/retrieve", json={"question": self._question()})
        if self._counted("retrieve", response, begun):
            body = response.json()
            if not body["passages"] or not self._found.may_answer(body["release"], begun, time.monotonic()):
                self._found.wrong.append(f"retrieve: {body['release']} with {len(body['passages'])} passages")

    async def _feedback(self, begun: float) -> None:
        if not self._found.traces:
            return
        trace = self._chance.choice(list(self._found.traces)[-50:])
        self._number += 1
        text = f"said {self._seed}-{self._number}"
        response = await self._client.post("/v1/feedback", json={"trace_id": trace, "kind": "correction", "text": text, "id": text})
        if self._counted("feedback", response, begun, stands_on_traces=True):
            self._found.feedback[text] = trace

    async def _upload(self, begun: float) -> None:
        word = f"quibble{self._seed}x{self._number}y"  # the end keeps it from being the beginning of another
        self._number += 1
        text = f"# {word}\n\nThe {word} is kept in room {self._number} of the archive and shown on request."
        response = await self._client.post("/v1/documents", files={"file": (f"{word}.md", text.encode(), "text/markdown")})
        if self._counted("upload", response, begun):
            self._found.documents[response.json()["id"]] = word

    async def _delete(self, begun: float) -> None:
        if len(self._found.documents) < 5:
            return
        ident = self._chance.choice(list(self._found.documents))
        word = self._found.documents.pop(ident)
        response = await self._client.delete(f"/v1/documents/{ident}")
        if self._counted("delete", response, begun):
            self._found.deleted[ident] = word

    def _question(self) -> str:
        """One that was asked before, in four of ten; else a new one."""
        self._number += 1
        if self._chance.random() < 0.4:
            return self._chance.choice((QUESTION, *(f"What is said about {topic}?" for topic in TOPICS)))
        return f"What is said about {self._chance.choice(TOPICS)} in case {self._seed}-{self._number}?"

    def _counted(self, kind: str, response: httpx.Response, begun: float, *, stands_on_traces: bool = False) -> bool:
        """Count a response; whether it is a success. A 5xx that nothing announced is a finding, and so is any other refusal."""
        status = response.status_code
        self._found.requests[f"{kind} {status}"] += 1
        if status < 300:
            return True
        if not (stands_on_traces and status in (503, 504) and self._found.announced(begun, time.monotonic())):
            self._found.wrong.append(f"{kind}: {status} {response.text[:200]}")
        return False

    def _check(self, answer: Mapping[str, Any], begun: float) -> None:
        ended = time.monotonic()
        self._found.answer_ms.append(1000 * (ended - begun))
        self._found.traces[answer["trace_id"]] = ended
        if answer["answer"] != self._says.get(answer["release"]):
            self._found.wrong.append(f"answer of {answer['release']}: {answer['answer']!r}")
        if not self._found.may_answer(answer["release"], begun, ended):
            self._found.wrong.append(f"answer of a release that the channel did not name: {answer['release']}")


async def swap(estate: Estate, server: Replica, found: SoakFindings, digests: tuple[str, str], count: int, seconds: float) -> None:
    """Move the channel so many times; each move begins when the one before was followed."""
    begin = time.monotonic()
    async with httpx.AsyncClient(base_url=server.client.base_url, timeout=30 * found.patience) as client:
        for number in range(1, count + 1):
            await asyncio.sleep(max(begin + number * seconds / (count + 1) - time.monotonic(), 0.0))
            move = Move(digests[number % 2], time.monotonic())
            found.moves.append(move)
            await asyncio.to_thread(estate.promote, move.release)
            while (await client.get("/readyz")).json()["loaded"] != move.release:
                if time.monotonic() - move.at > FOLLOWED_S * found.patience:
                    found.wrong.append(f"the server did not follow the channel to {move.release} within {FOLLOWED_S * found.patience:g} s")
                    return
                await asyncio.sleep(0.05)
            move.followed = time.monotonic()


async def lose(found: SoakFindings, redis: RedisServer, way: Way, count: int, seconds: float) -> None:
    """Take Redis and the trace store away in turn, and give them back."""
    for number in range(count):
        await asyncio.sleep(max(seconds / (count + 1) - LOSS_S, 0.5))
        what, start = ("redis", "trace store")[number % 2], time.monotonic()
        found.losses.append((what, start, float("inf")))
        if what == "redis":
            await asyncio.to_thread(redis.kill)
        else:
            way.cut()
        await asyncio.sleep(LOSS_S)
        if what == "redis":
            await asyncio.to_thread(redis.start)
        else:
            await way.mend()
        found.losses[-1] = (what, start, time.monotonic())


async def watch(server: Replica, found: SoakFindings, until_s: float) -> None:
    begin = time.monotonic()
    while time.monotonic() < until_s:
        found.memory_mb.append((time.monotonic() - begin, rss_mb(server.process.pid)))
        await asyncio.sleep(1)


async def load(estate: Estate, server: Replica, found: SoakFindings, key: str, digests: tuple[str, str], redis: RedisServer, way: Way,
               options: argparse.Namespace, documents: bool) -> None:  # fmt: skip
    says = dict(zip(digests, SAYS, strict=True))
    end = time.monotonic() + options.seconds
    async with httpx.AsyncClient(base_url=server.client.base_url, timeout=90 * found.patience, headers=bearer(key)) as client:
        workers = [Worker(client, found, says, documents=documents, seed=seed, pause_s=options.pause) for seed in range(options.workers)]
        await asyncio.gather(
            *(worker.work(end) for worker in workers),
            swap(estate, server, found, digests, options.swaps, options.seconds),
            lose(found, redis, way, options.losses, options.seconds),
            watch(server, found, end),
        )


async def there_afterwards(server: Replica, found: SoakFindings, key: str) -> None:
    """Whether what was acknowledged is there, and what was deleted is not."""
    async with httpx.AsyncClient(base_url=server.client.base_url, timeout=90 * found.patience, headers=bearer(key)) as client:

        async def waiting(ask: Callable[[], Awaitable[bool]]) -> bool:
            end = time.monotonic() + 30 * found.patience
            while not (sound := await ask()) and time.monotonic() < end:  # noqa: ASYNC110  # another process does it
                await asyncio.sleep(0.2)
            return sound

        for text, trace in list(found.feedback.items())[-ASKED_FOR:]:

            async def told(trace: str = trace, text: str = text) -> bool:
                response = await client.get(f"/v1/traces/{trace}")
                return response.status_code == 200 and text in [one["text"] for one in response.json()["feedback"]]

            if not await waiting(told):
                found.wrong.append(f"feedback that was acknowledged is not there: {text!r} on {trace}")
        for ident, word in {**found.documents, **found.deleted}.items():

            async def sound(ident: str = ident, word: str = word) -> bool:
                wanted = ident in found.documents
                response = await client.get(f"/v1/documents/{ident}")
                if response.status_code != (200 if wanted else 404):
                    return False
                passages = (await client.post("/v1/retrieve", json={"question": f"Where is the {word} kept?"})).json()["passages"]
                return any(word in passage["text"] for passage in passages) == wanted

            if not await waiting(sound):
                found.wrong.append(f"document {ident} is not {'there' if ident in found.documents else 'gone'}")


def kept_texts(endpoint: str) -> set[str]:
    """The texts of all feedback in the table, read through once: the double takes long to find one thing among many."""
    client = boto3.client("dynamodb", region_name="us-east-1", endpoint_url=endpoint)
    pages = client.get_paginator("scan").paginate(TableName=TABLE)
    items = (item for page in pages for item in page["Items"])
    return {item["text"]["S"] for item in items if item["sk"]["S"].startswith("feedback#")}


def never_stored(store: DynamoTraceStore, traces: list[str], patience: float) -> list[str]:
    """Those of a sample that the store has not, after a server had time to bring them there."""
    end, gone = time.monotonic() + REPLAYED_S * patience, missing_traces(store, traces)
    while gone and time.monotonic() < end:
        time.sleep(1)
        gone = missing_traces(store, gone)
    return gone


def missing_traces(store: DynamoTraceStore, traces: list[str]) -> list[str]:
    """Those that the store has not, of a sample."""
    sample = traces if len(traces) <= CHECKED else random.Random(1).sample(traces, CHECKED)
    return [trace for trace in sample if store.get(trace) is None]


async def asked_until_killed(server: Replica, key: str, options: argparse.Namespace) -> dict[str, float]:
    """Questions for three seconds, then kill -9 while more are asked; the answers that came, by trace, in seconds before the kill."""
    came: dict[str, float] = {}

    async def ask(number: int) -> None:
        async with httpx.AsyncClient(base_url=server.client.base_url, timeout=60 * options.patience, headers=bearer(key)) as client:
            with suppress(httpx.TransportError):
                while True:
                    answer = await client.post("/v1/query", json={"question": f"What is said before the end, {number}, {len(came)}?"})
                    came[answer.json()["trace_id"]] = time.monotonic()
                    await asyncio.sleep(options.kill_pause)

    asking = [asyncio.create_task(ask(number)) for number in range(4)]
    await asyncio.sleep(3)
    killed = time.monotonic()
    await asyncio.to_thread(server.kill)
    await asyncio.gather(*asking)
    return {trace: killed - at for trace, at in came.items()}


def growth(memory: list[tuple[float, float]]) -> float:
    """The share by which memory grew from the second to the last quarter of the time; medians, so that one moment does not count."""
    quarter = max(len(memory) // 4, 1)
    before, after = (statistics.median(mb for _, mb in part) for part in (memory[quarter : 2 * quarter], memory[-quarter:]))
    return after / before - 1.0


def slope_mb_per_minute(memory: list[tuple[float, float]]) -> float:
    """Of a straight line through the memory of the second half."""
    half = memory[len(memory) // 2 :]
    if len(half) < 3:
        return 0.0
    return 60 * statistics.linear_regression([at for at, _ in half], [mb for _, mb in half]).slope


@contextmanager
def trace_store(patience: float = 1.0) -> Iterator[int]:
    """The port of a server that speaks DynamoDB's protocol."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: _answers(port), 60 * patience)
        yield port
    finally:
        process.terminate()
        process.wait()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/moto-api/", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


async def soak(options: argparse.Namespace, root: Path) -> dict[str, Any]:
    found, patience = SoakFindings(patience=options.patience), options.patience
    with ExitStack() as stack:
        port = stack.enter_context(trace_store(patience))
        redis = RedisServer(root)
        stack.callback(redis.kill)
        way = Way(port)
        await way.mend()
        direct = f"http://127.0.0.1:{port}"
        a_table(direct, TABLE)
        estate = Estate(root, "", {
            "TOUCHSTONE_RELEASES": str(root / "releases"), "TOUCHSTONE_INDEXES": str(root / "indexes"),
            "TOUCHSTONE_DOCUMENTS": str(root / "documents"), "TOUCHSTONE_TRACES": f"dynamodb:{TABLE}",
            "TOUCHSTONE_DYNAMODB_ENDPOINT": f"http://127.0.0.1:{way.port}", "TOUCHSTONE_REDIS": redis.url,
            "TOUCHSTONE_CACHE_SECRET": a_secret(), "TOUCHSTONE_API_KEYS": str(root / "keys.yaml"),
        })  # fmt: skip
        cached = {"cache.lookup": {"name": "exact"}}
        digests = (await estate.release(config(SAYS[0], **cached)), await estate.release(config(SAYS[1], **cached)))
        key = await asyncio.to_thread(create_key, root / "keys.yaml", Caller(id="soak", scopes=frozenset(SCOPES)))
        found.moves.append(Move(digests[0], 0.0, 0.0))
        await asyncio.to_thread(estate.promote, digests[0])
        store = DynamoTraceStore(TABLE, region="us-east-1", endpoint=direct, retention_s=86_400.0)

        server = await asyncio.to_thread(stack.enter_context, replica(estate, "first"))
        await asyncio.to_thread(until, lambda: server.serves(digests[0]), 60 * patience)
        documents = "post" in server.client.get("/openapi.json").json()["paths"].get("/v1/documents", {})
        before, begin = cpu_s(server.process.pid), time.monotonic()
        await load(estate, server, found, key, digests, redis, way, options, documents)
        spent, seconds = cpu_s(server.process.pid) - before, time.monotonic() - begin
        await there_afterwards(server, found, key)
        kept = await asyncio.to_thread(kept_texts, direct)
        found.wrong += [f"feedback that was acknowledged is not there: {text!r}" for text in found.feedback if text not in kept]
        grown = growth(found.memory_mb)
        if grown > GROWTH and seconds >= JUDGED_S:
            found.wrong.append(f"memory grew by {grown:.0%}")

        server.process.terminate()
        code = await asyncio.to_thread(server.process.wait, 60 * patience)
        if code != 0:
            found.wrong.append(f"a graceful stop ended with {code}")
        lost = await asyncio.to_thread(missing_traces, store, list(found.traces))
        found.wrong += [f"a trace is missing after a graceful stop: {trace}" for trace in lost]

        other = await asyncio.to_thread(stack.enter_context, replica(estate, "second"))
        await asyncio.to_thread(until, lambda: other.serves(found.moves[-1].release), 60 * patience)
        ages = await asked_until_killed(other, key, options)
        at_once = len(await asyncio.to_thread(missing_traces, store, list(ages)))
        last = await asyncio.to_thread(stack.enter_context, replica(estate, "second"))
        await asyncio.to_thread(until, lambda: last.serves(found.moves[-1].release), 60 * patience)
        gone = await asyncio.to_thread(never_stored, store, list(ages), options.patience)
        found.wrong += [f"a trace {ages[trace]:.1f} s older than the kill is missing" for trace in gone if ages[trace] > patience]
    return {
        "machine": machine("fastapi", "uvicorn", "redis", "moto"),
        "seconds": round(seconds, 1),
        "documents": documents,
        "requests": dict(sorted(found.requests.items())),
        "per_second": round(sum(found.requests.values()) / seconds, 1),
        "cpu_ms": round(1000 * spent / max(sum(found.requests.values()), 1), 2),
        "answer_p50_ms": round(statistics.median(found.answer_ms), 1),
        "answer_p99_ms": round(sorted(found.answer_ms)[int(0.99 * (len(found.answer_ms) - 1))], 1),
        "swaps": len(found.moves) - 1,
        "slowest_swap_s": round(max((move.followed - move.at for move in found.moves[1:]), default=0.0), 1),
        "losses": Counter(what for what, _, _ in found.losses),
        "memory_mb": {"first": round(found.memory_mb[0][1]), "last": round(found.memory_mb[-1][1])},
        "memory_growth": round(grown, 3),
        "memory_mb_per_minute": round(slope_mb_per_minute(found.memory_mb), 2),
        "feedback": len(found.feedback),
        "uploaded": len(found.documents) + len(found.deleted),
        "deleted": len(found.deleted),
        "traces": len(found.traces),
        "missing_after_stop": len(lost),
        "asked_before_kill": len(ages),
        "missing_at_the_kill": at_once,
        "missing_after_kill": len(gone),
        "oldest_missing_s": round(max((ages[trace] for trace in gone), default=0.0), 2),
        "wrong": found.wrong,
    }


def markdown(report: dict[str, Any]) -> str:
    wrong = report["wrong"]
    memory = report["memory_mb"]
    losses = ", ".join(f"{what} {count} times for {LOSS_S:g} s" for what, count in report["losses"].items())
    after_stop, after_kill = (min(report[count], CHECKED) for count in ("traces", "asked_before_kill"))
    rows = {
        "requests": f"{sum(report['requests'].values()):,}, {report['per_second']} a second",
        "processor time": f"{report['cpu_ms']} ms a request",
        "an answer": f"p50 {report['answer_p50_ms']} ms, p99 {report['answer_p99_ms']} ms",
        "swaps of the release": f"{report['swaps']}, followed within {report['slowest_swap_s']} s",
        "losses": losses or "none",
        "memory": f"{memory['first']} MB at first, {memory['last']} at last",
        "memory, second to last quarter": f"{report['memory_growth']:+.1%}",
        "memory, slope of the second half": f"{report['memory_mb_per_minute']:+.1f} MB a minute",
        "feedback acknowledged": f"{report['feedback']:,}, all looked for",
        "documents": f"{report['uploaded']} given, {report['deleted']} deleted" if report["documents"] else "this server takes none",
        "graceful stop": f"{report['missing_after_stop']} of {after_stop:,} traces missing",
        "kill -9": f"{report['missing_at_the_kill']} of {after_kill:,} traces not stored",
        "the next start": f"{report['missing_after_kill']} of {after_kill:,} traces missing, the oldest {report['oldest_missing_s']} s old",
    }
    verdict = "Nothing was wrong." if not wrong else f"**{len(wrong)} findings**, the first: {wrong[0]}"
    return "\n".join(
        [
            "# A server under load, while releases are swapped and what it stands on is lost",
            "",
            f"Machine: {machine_line(report['machine'])}, shared with other work. {report['seconds']:g} seconds.",
            "Made by `python bench/soak.py`, which says at its head what counts as wrong.",
            "",
            verdict,
            "",
            table(["what", "how much"], list(rows.items())),
            "",
            table(["request and status", "count"], [[name, f"{count:,}"] for name, count in report["requests"].items()]),
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--swaps", type=int, default=20)
    parser.add_argument("--losses", type=int, default=4, help="of Redis and the trace store in turn (default: %(default)s)")
    parser.add_argument("--workers", type=int, default=6, help="clients at a time (default: %(default)s)")
    parser.add_argument(
        "--pause", type=float, default=0.5, help="seconds on average between two requests of a client (default: %(default)s)"
    )
    parser.add_argument(
        "--kill-pause", type=float, default=0.0, help="seconds between two questions before the kill (default: %(default)s)"
    )
    parser.add_argument("--patience", type=float, default=1.0, help="with the server, times the usual one (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    if PROGRAM is None:
        raise SystemExit("redis-server is not installed: apt install redis-server")
    import os

    os.environ.update(KEYS | {"AWS_DEFAULT_REGION": "us-east-1"})
    with tempfile.TemporaryDirectory() as root:
        report = asyncio.run(soak(options, Path(root)))
    write_report("soak", report, markdown(report), options.out)
    print(markdown(report))
    for one in report["wrong"]:
        print(one, file=sys.stderr)
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
