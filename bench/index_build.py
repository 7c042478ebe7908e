"""An index by Ray workers against one process: chunks a second, what each part takes, and a plan on paper to 100 million chunks.

    python bench/index_build.py [--chunks 400] [--rounds 3] [--large 8000] [--out reports/bench]

Texts are drawn from an invented vocabulary, ten paragraphs a file, one paragraph a chunk. Each round builds an index three ways, in
turns, so that a busy neighbour slows all: by one process, by one Ray worker and by two; a core each, MiniLM, Ray started before. One
build of `--large` chunks with the hashing embedder tells what the rest takes: reading, indexing the table, checking it, sums, memory, size.
The plan multiplies these figures and infra/costs/prices.yaml; nothing in it was run.
"""

import argparse
import asyncio
import json
import math
import os
import resource
import statistics
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import Any

import yaml
from _bench import REPORTS, machine, machine_line, table, write_report
from scale import documents, size_of

from harness.index_build.build import build_sharded
from harness.index_build.connect import connect_workers
from harness.index_build.plan import PartLimits
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from serving.pipeline.index.build import build_index
from serving.pipeline.index.corpus import load_corpus

CONFIG = {"index": {"chunker": {"name": "recursive", "size": 620, "overlap": 0}, "context": "none", "embedder": {"name": "local:minilm"}}}
WAYS = {"one process": 0, "one Ray worker": 1, "two Ray workers": 2}
GOAL = 100_000_000
CHUNKS_A_DOCUMENT = 10
NODE, VCPUS, NODE_GB = "c6a.xlarge", 4, 8  # a worker for each vCPU; a vCPU is taken for a core of the machine that was measured
BIG = {"name": "a machine of 64 vCPUs and 256 GB for the last steps", "vcpus": 64, "usd": 64 / VCPUS}  # at the node's price for a vCPU
GRAPH_BYTES = 384 + 2 * 20 * 4  # of one vector in the graph: eight bits a number, and some forty neighbours
STREAM_GB_S = 0.15  # of one stream from a bucket
PARTITION = 1_000_000  # vectors in one graph, where there are several
MARK = "INDEX_BENCH"  # in the environment of our own workers
HOURS = (6, 12, 24)  # in which the embedding is to be done


def write_corpus(folder: Path, chunks: int) -> Path:
    folder.mkdir(parents=True)
    for document in documents(chunks):
        (folder / f"{document.id}.txt").write_text(document.text)
    return folder


async def built(corpus: Path, home: Path, workers: int, config: RagConfig, limits: PartLimits) -> dict[str, Any]:
    """Seconds, chunks and the digest of a build; with workers, also when each step began."""
    settings = HarnessSettings(home=home)
    begin = time.perf_counter()
    if not workers:
        index = await build_index(load_corpus(corpus), config, settings=settings)
        index.close()
        return {"seconds": time.perf_counter() - begin, "chunks": index.manifest.chunks, "digest": index.manifest.content_digest}
    steps: dict[str, float] = {}

    def progress(what: str, done: int, total: int) -> None:
        steps.setdefault(what, time.perf_counter() - begin)

    sharded = await build_sharded(config, str(corpus), settings, connect_workers("", workers), progress=progress, limits=limits)
    seconds = time.perf_counter() - begin
    names = list(steps)
    took = {name: (steps[names[place + 1]] if place + 1 < len(names) else seconds) - steps[name] for place, name in enumerate(names)}
    return {"seconds": seconds, "chunks": sharded.manifest.chunks, "digest": sharded.manifest.content_digest, "steps": took}


def workers_mb() -> float:
    """The most memory that a worker of Ray has had."""
    most = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            ours = f"{MARK}={os.getpid()}".encode() in (path / "environ").read_bytes()
            if ours and b"ray::" in (path / "cmdline").read_bytes():
                [line] = [line for line in (path / "status").read_text().splitlines() if line.startswith("VmHWM")]
                most = max(most, int(line.split()[1]) / 1024)
        except (OSError, ValueError):
            continue
    return most


def driver_bytes(count: int = 100_000) -> float:
    """What the driver remembers of a document: its id and its digest."""
    tracemalloc.start()
    known = {f"folder-{number % 100}/text-{number:09}.md": f"{number:016x}" for number in range(count)}
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(known)


async def measured(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    config = RagConfig.parse(CONFIG)
    warm = write_corpus(home / "warm", 40)  # imports and models; and the same index, however it is built
    same = [await built(warm, home / f"warm {name}", workers, config, PartLimits(files=1)) for name, workers in WAYS.items()]
    assert len({run["digest"] for run in same}) == 1, "not the same index"
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in WAYS}
    for turn in range(options.rounds):
        for place, name in enumerate(sorted(WAYS, reverse=turn % 2 == 1)):
            # texts that no build has seen before: a worker remembers the vectors of the last ones
            corpus = write_corpus(home / f"corpus {turn} {place}", options.chunks + len(WAYS) * turn + place)
            run = await built(corpus, home / f"{name} {turn}", WAYS[name], config, PartLimits(bytes=size_of(corpus) // 8 + 1))
            runs[name].append(run)
            print(turn, name, f"{run['seconds']:.1f} s", flush=True)
    large = write_corpus(home / "large", options.large)
    hashing = config.replace({"index.embedder": {"name": "local:hashing", "dimensions": 384}})
    text = size_of(large)
    rest = await built(large, home / "large home", 2, hashing, PartLimits())
    rest |= {"text_bytes": text / rest["chunks"], "index_bytes": size_of(home / "large home" / "indexes") / rest["chunks"]}
    rest |= {"worker_mb": workers_mb(), "driver_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    return {"runs": runs, "rest": rest, "driver_bytes": driver_bytes()}


def plan(data: dict[str, Any]) -> dict[str, Any]:
    """Nodes, hours and dollars for 100 million chunks, from what was measured and the list prices."""
    prices = {name: one["usd"] for name, one in yaml.safe_load(Path("infra/costs/prices.yaml").read_text())["prices"].items()}
    rest, chunks = data["rest"], data["rest"]["chunks"]
    per_worker = data["ways"]["two Ray workers"]["rate"] / 2
    node_usd = prices[NODE] * (1 + prices["eks_auto_mode"])
    fleets = []
    for hours in HOURS:
        nodes = math.ceil(GOAL / (per_worker * VCPUS * 3600 * hours))
        fleets.append({"hours": hours, "nodes": nodes, "usd": nodes * hours * node_usd + hours * prices["eks_cluster"]})
    lines = json.loads((REPORTS / "ann.json").read_text())["lines"]
    ann = [line for line in lines if line["search"] == "hnsw_sq, refine 1"]
    small, big = ann[-2], ann[-1]
    power = math.log(big["build_s"] / small["build_s"]) / math.log(big["rows"] / small["rows"])
    core_s = big["build_s"] * 2  # measured on two cores
    one_graph_s = core_s * (GOAL / big["rows"]) ** power / BIG["vcpus"]
    graphs_s = GOAL / PARTITION * core_s * (PARTITION / big["rows"]) ** power / BIG["vcpus"]
    scale = GOAL / chunks
    last = {
        "compacting, full text and scalar indexes": rest["steps"]["indexing the table"] * scale,
        "reading every row back to check it": rest["steps"]["checking chunks"] * scale,
        "sums of all files": rest["steps"]["writing sums"] * scale,
    }
    usd_hour = prices[NODE] * BIG["usd"] * (1 + prices["eks_auto_mode"])
    serial_s = sum(last.values())
    part_chunks = PartLimits().bytes / rest["text_bytes"]
    return {
        "per_worker": per_worker,
        "fleets": fleets,
        "last_h": {name: seconds / 3600 for name, seconds in last.items()},
        "serial_h": serial_s / 3600,
        "serial_usd": serial_s / 3600 * usd_hour,
        "power": power,
        "one_graph_h": one_graph_s / 3600,
        "graphs_h": graphs_s / 3600,
        "graphs_usd": graphs_s / 3600 * usd_hour,
        "graph_gb": GOAL * GRAPH_BYTES / 1e9,
        "fetch_h": GOAL * rest["index_bytes"] / 1e9 / STREAM_GB_S / 3600,
        "table_gb": GOAL * rest["index_bytes"] / 1e9,
        "text_gb": GOAL * rest["text_bytes"] / 1e9,
        "month_usd": GOAL * rest["index_bytes"] / 1e9 * prices["s3_standard"],
        "driver_gb": GOAL / CHUNKS_A_DOCUMENT * data["driver_bytes"] * 2 / 1e9,  # ids and digests, and once more while they are joined
        "digests_gb": GOAL * 32 / 1e9,
        "parts": math.ceil(GOAL / part_chunks),
        "usd_hour": usd_hour,
    }


def figures(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    found = {}
    for name, some in runs.items():
        rates = [run["chunks"] / run["seconds"] for run in some]
        first = [run["chunks"] / run["seconds"] for run in runs["one process"]]
        faster, rate = [other / one for one, other in zip(first, rates, strict=True)], statistics.median(rates)
        found[name] = {"seconds": statistics.median(run["seconds"] for run in some), "rate": rate, "faster": faster}
    return found


def markdown(data: dict[str, Any]) -> str:
    rows = [
        [name, f"{one['seconds']:.1f}", f"{one['rate']:.1f}", f"{statistics.median(one['faster']):.2f}", "yes"]
        for name, one in data["ways"].items()
    ]
    rest, to = data["rest"], data["plan"]
    steps = [[name, f"{seconds:.1f}", f"{rest['chunks'] / seconds:,.0f}"] for name, seconds in rest["steps"].items()]
    fleets = [[f"{one['hours']} h", f"{one['nodes']:,}", f"{one['usd']:,.0f}"] for one in to["fleets"]]
    last = [[name, f"{hours:.1f}"] for name, hours in to["last_h"].items()]
    return "\n\n".join(
        [
            "# An index by Ray workers",
            f"Machine: {machine_line(data['machine'])}, shared with other work (load "
            f"{data['load']:.0f} on average). Made by `python bench/index_build.py --chunks "
            f"{data['chunks']} --rounds {data['rounds']} --large {data['large']}`.",
            "## Measured",
            f"Some {data['count']:,} chunks of {rest['text_bytes']:.0f} bytes, MiniLM, a core for each worker, medians of {data['rounds']} "
            "rounds in turns; the whole build from files to the opened index, Ray started before. The ratio is the median of the rounds'.",
            table(["", "seconds", "chunks/s", "times as fast", "same rows and vectors"], rows),
            f"Where the time goes beside the model: {rest['chunks']:,} chunks with the hashing embedder, two workers.",
            table(["step", "seconds", "chunks/s"], steps),
            f"At most {rest['worker_mb']:.0f} MB in a worker and {rest['driver_mb']:.0f} MB in the driver, models and libraries included; "
            f"{rest['index_bytes']:,.0f} bytes a chunk in the index.",
            "## On paper: 100 million chunks",
            f"Computed from the figures above (a worker embeds {to['per_worker']:.1f} chunks a second here) and the list prices of "
            f"`infra/costs/prices.yaml`; nothing of it was run. {CHUNKS_A_DOCUMENT} chunks a document, {to['text_gb']:,.0f} GB of text in "
            f"{to['parts']:,} parts, {VCPUS} workers on a {NODE} at on-demand price; a vCPU is taken for a core of this machine, which a "
            "shared core of a hyperthreaded one is not quite.",
            "### Reading, chunking, embedding, appending: shared by all nodes",
            table(["done in", "nodes", "US dollars"], fleets),
            f"### The last steps: by the driver alone, on {BIG['name']} (${to['usd_hour']:.2f} an hour)",
            table(["step, at the rate measured here", "hours"], last),
            f"Together {to['serial_h']:.1f} hours, ${to['serial_usd']:,.0f}. They are not shared out yet, and each grows with the table: "
            f"in proportion, it is assumed here, from {rest['chunks']:,} chunks. In a bucket the last two fetch the table besides: "
            f"{to['fetch_h']:.1f} hours each at {STREAM_GB_S * 1000:.0f} MB/s, which is assumed too.",
            f"The vector graph is the part that does not fit: its building time grew with the {to['power']:.2f}th power of the rows "
            f"([ann.md](ann.md)). One graph, as it is built today, would take {to['one_graph_h']:,.0f} hours if it kept 64 vCPUs busy, and "
            f"{to['graph_gb']:.0f} GB of memory. A graph for each million vectors would take {to['graphs_h']:.1f} hours and "
            f"${to['graphs_usd']:,.0f} there; that needs partitions in the store, and their recall measured, first.",
            "### Memory and size",
            f"The driver remembers an id and a digest of each document: {to['driver_gb']:.1f} GB. Digests of rows lie on its disk: "
            f"{to['digests_gb']:.1f} GB. A worker's memory does not grow with the corpus. The index is {to['table_gb']:,.0f} GB, "
            f"${to['month_usd']:,.0f} a month in S3, and about twice that while it is compacted.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", type=int, default=8000)
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    os.environ[MARK] = str(os.getpid())
    os.environ["TOUCHSTONE_THREADS"] = "1"  # a worker each, a core each
    from harness.ray import RayConnection

    connection = RayConnection("")
    connection.open(2)
    try:
        with tempfile.TemporaryDirectory() as home:
            found = asyncio.run(measured(options, Path(home)))
    finally:
        connection.close()
    data: dict[str, Any] = {"machine": machine("ray", "lancedb", "onnxruntime"), "chunks": options.chunks, "rounds": options.rounds}
    data |= {"large": options.large, "count": found["runs"]["one process"][0]["chunks"], "ways": figures(found["runs"])}
    data |= {"rest": found["rest"], "driver_bytes": found["driver_bytes"]}
    data["load"] = os.getloadavg()[2]
    data["plan"] = plan(data)
    write_report("index_build", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
