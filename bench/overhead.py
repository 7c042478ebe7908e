"""What the pipeline itself costs: milliseconds by stage with a chat model that answers at once, by size of the index and stage by stage.

    python bench/overhead.py [--sizes 1000 10000 100000] [--questions 100] [--out reports/bench]
    python bench/overhead.py --stages [--entries 1000 10000] [--routers reports/bench/savings.json]

Texts are drawn from an invented vocabulary in which few words are frequent and most are rare; vectors come from
`local:hashing`, so embedding a question costs next to nothing here (MiniLM adds its own few milliseconds, see embed.md).

With `--stages` the first part is left as it was measured, and each stage is switched on and off: two pipelines that differ in it alone are
asked the same questions in turn. Guards and routers read TechCorp's own documents and tune questions, by MiniLM; caches hold so many
invented questions. Routers that need a fitted file are those whose artefacts `bench/savings.py` has left below home. Checks that ask a
service are left out: what they cost is the service's own time.
"""

import argparse
import asyncio
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report
from _stages import spans, stage_cost

from harness.golden.load import load_golden
from harness.settings import HarnessSettings
from serving.pipeline.build import build_pipeline
from serving.pipeline.cache import CACHES
from serving.pipeline.cache.base import CacheContext, CacheEntry
from serving.pipeline.clock import SystemClock
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import UserError
from serving.pipeline.guard import CHECKS
from serving.pipeline.index.build import OpenIndex, ensure_index
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.route import ROUTERS
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document, Query, Trace

WORDS, PER_TEXT, PER_QUESTION = 20_000, 90, 8
CONFIG = {
    "index": {"embedder": {"name": "local:hashing", "dimensions": 384}},
    "retrieve": {"search": {"name": "hybrid"}},
    "answer": {"models": {"lite": {"name": "local:echo"}, "pro": {"name": "local:echo"}}},
}


def vocabulary(chance: random.Random) -> list[str]:
    syllables = [first + vowel for first in "bdfgklmnprstvz" for vowel in "aeiou"]
    return sorted({"".join(chance.choices(syllables, k=chance.randint(2, 4))) for _ in range(WORDS)})


def texts(count: int, words: Sequence[str], length: int, chance: random.Random) -> list[str]:
    weights = [1 / (place + 10) for place in range(len(words))]  # Zipf's law, its head made flatter
    return [" ".join(chance.choices(words, weights, k=length)) for _ in range(count)]


async def measure(size: int, questions: int) -> dict[str, Any]:
    chance = random.Random(size)
    words = vocabulary(chance)
    chance.shuffle(words)
    documents = tuple(Document(f"text-{number:06}", text) for number, text in enumerate(texts(size, words, PER_TEXT, chance)))
    asked = [f"What is {text}?" for text in texts(questions, words, PER_QUESTION, chance)]
    with tempfile.TemporaryDirectory() as place:
        settings = PipelineSettings(home=Path(place))
        config = RagConfig.parse(CONFIG)
        begin = time.perf_counter()
        index = await ensure_index(Corpus.of("invented", documents), config, settings=settings)
        built_s = time.perf_counter() - begin
        pipeline = build_pipeline(config, index, PromptLibrary(settings.prompts), settings)
        for text in asked[:5]:
            await pipeline.answer(Query(text))
        traces = [await pipeline.answer(Query(text)) for text in asked]
        return {"chunks": index.manifest.chunks, "build_s": round(built_s, 1), "p50_ms": by_stage(traces)}


def by_stage(traces: Sequence[Trace]) -> dict[str, float]:
    """Median milliseconds of each stage in the order of the flow, and of the whole."""
    stages: dict[str, list[float]] = {}
    for trace in traces:
        for name, milliseconds in spans(trace).items():
            stages.setdefault(name, []).append(milliseconds)
    total = [trace.milliseconds for trace in traces]
    medians = {name: round(statistics.median(times), 2) for name, times in stages.items()}
    ordered = sorted(total)
    return medians | {"in all": round(statistics.median(total), 2), "in all, p95": round(ordered[int(0.95 * (len(ordered) - 1))], 2)}


# ---- stage by stage ----------------------------------------------------------------------------------------------------------

ECHO = {"answer.models.lite.name": "local:echo", "answer.models.pro.name": "local:echo"}
ASKS_A_SERVICE = {"bedrock"}
SIDES = ("input", "passages", "output")
PLAIN: dict[str, Any] = {
    **{f"guard.{side}": {} for side in SIDES},
    "cache.lookup": {"name": "none"},
    "route.router": {"name": "always", "tier": "lite"},
    "route.escalate": {"name": "none"},
}


def local_checks(side: str) -> list[str]:
    """The checks of a side that this machine runs alone."""
    named = [name for name in CHECKS.own_names() if name != "none" and name not in ASKS_A_SERVICE]
    return [name for name in named if side in getattr(CHECKS.load(name), "sides", SIDES)]


def guard_arms() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each local check alone, and all of a side together."""
    for side in SIDES:
        names = local_checks(side)
        for name in names:
            yield f"guard {side}", name, {f"guard.{side}": {name: {"name": name}}}
        if len(names) > 1:
            yield f"guard {side}", "all of these", {f"guard.{side}": {name: {"name": name} for name in names}}
    shipped = RagConfig.parse({}).guard
    for side in SIDES:
        chosen = {name: spec.model_dump() for name, spec in getattr(shipped, side).items() if spec.name != "none"}
        if chosen:
            yield f"guard {side}", "as shipped", {f"guard.{side}": chosen}


def router_arms(fitted: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every router that can be built here."""
    specs = {name: {"name": name} for name in ROUTERS.own_names() if name != "always"}
    if fitted.exists():
        specs |= {one["model"]: one["spec"] for one in json.loads(fitted.read_text())["router_calibrations"] if one["spec"]}
    for name, spec in specs.items():
        yield "route", name, {"route.router": spec}


class CpuClock(SystemClock):
    """Seconds that this process has computed: busy neighbours do not count."""

    def seconds(self) -> float:
        return time.process_time()


async def both_clocks(
    base: RagConfig,
    other: RagConfig,
    index: OpenIndex,
    prompts: PromptLibrary,
    settings: PipelineSettings,
    queries: Sequence[Query],
    stage: str,
) -> dict[str, Any]:
    """The figures by the clock on the wall, and the stage's own by the processor's."""
    off, on = (build_pipeline(config, index, prompts, settings) for config in (base, other))
    cost = await stage_cost(off, on, queries, stage)
    off, on = (build_pipeline(config, index, prompts, settings, clock=CpuClock()) for config in (base, other))
    computed = await stage_cost(off, on, queries, stage)
    return {**cost.row, "cpu_p50": computed.p50, "cpu_p95": computed.p95, "cpu_checks": computed.checks}


async def techcorp_stages(questions: int, fitted: Path) -> list[dict[str, Any]]:
    """Guards and routers on TechCorp."""
    settings = HarnessSettings()
    golden = load_golden(settings.datasets, "techcorp/v1")
    corpus = load_corpus(settings.datasets / "corpora" / golden.card.corpus)
    queries = [case.query for case in golden.tune().cases[:questions]]
    prompts, base = PromptLibrary(settings.prompts), RagConfig.parse({}).replace(ECHO | PLAIN)
    index = await ensure_index(corpus, base, settings=settings)
    rows = []
    for stage, name, changes in (*guard_arms(), *router_arms(fitted)):
        try:
            rows.append({"name": name, **await both_clocks(base, base.replace(changes), index, prompts, settings, queries, stage)})
            print(rows[-1], flush=True)
        except UserError as error:
            rows.append({"stage": stage, "name": name, "skipped": str(error)})
    return rows


async def cache_stages(entries: int, questions: int) -> list[dict[str, Any]]:
    """Exact and semantic caches that hold so many questions, on a hit and on a miss."""
    chance = random.Random(entries)
    words = vocabulary(chance)
    chance.shuffle(words)
    documents = tuple(Document(f"text-{number:06}", text) for number, text in enumerate(texts(1000, words, PER_TEXT, chance)))
    kept = [f"What is {text}?" for text in texts(entries, words, PER_QUESTION, chance)]
    new = [Query(f"What is {text}?") for text in texts(questions, words, PER_QUESTION, chance)]
    again = chance.sample(kept, questions)
    rows = []
    with tempfile.TemporaryDirectory() as place:
        settings = PipelineSettings(home=Path(place), **{"cache_audit": 0.0})
        base = RagConfig.parse(CONFIG).replace(PLAIN)
        index = await ensure_index(Corpus.of("invented", documents), base, settings=settings)
        prompts = PromptLibrary(settings.prompts)
        off = build_pipeline(base, index, prompts, settings)
        written = await off.answer(new[0])
        entry = CacheEntry(written.answer, written.passages, written.route, written.id)
        for name, params in CACHE_ARMS.items():
            if params["name"] not in CACHES.own_names():
                rows.append({"stage": "cache", "name": f"{name}, {entries:,} entries", "skipped": "no such cache"})
                continue
            config = base.replace({"cache.lookup": {**params, "max_entries": 4 * entries}})
            asked = {"hit": [Query(text if params["name"] == "exact" else swapped(text)) for text in again], "miss": new}
            found: dict[str, dict[str, Any]] = {outcome: {"name": f"{name}, {entries:,} entries, {outcome}"} for outcome in asked}
            for clock in (SystemClock(), CpuClock()):
                off, on = (build_pipeline(one, index, prompts, settings, clock=clock) for one in (base, config))
                for text in kept:
                    query = Query(text)
                    await on.cache.put(query, CacheContext.of(query, on.digests, index.manifest.store_version), entry)
                for outcome, queries in asked.items():
                    cost = await stage_cost(off, on, queries, "cache", warm_up=0)
                    cpu = {"cpu_p50": cost.p50, "cpu_p95": cost.p95}
                    found[outcome] |= cpu if isinstance(clock, CpuClock) else {**cost.row, "hits": cost.hits}
                await on.aclose()
            rows += found.values()
            print(*found.values(), sep="\n", flush=True)
    return rows


CACHE_ARMS: dict[str, dict[str, Any]] = {
    "exact": {"name": "exact"},
    "semantic": {"name": "semantic", "scorer": "cosine", "threshold": 0.9, "least_similarity": 0.75},
}


def swapped(text: str) -> str:
    """The same words, two of them in each other's place: near, and not the same text."""
    parts = text.split()
    parts[3], parts[5] = parts[5], parts[3]
    return " ".join(parts)


def stage_table(rows: Sequence[dict[str, Any]]) -> str:
    body = []
    for row in rows:
        if "skipped" in row:
            body.append([row["stage"], row["name"], *["–"] * 6])
            continue
        shown = ("p50", "p95", "cpu_p50", "cpu_p95", "query_p50", "query_off_p50")
        figures = [f"{row[name]:.2f}" if name in row else "–" for name in shown]
        body.append([row["stage"], row["name"], *figures])
    head = ["stage", "what", "p50", "p95", "p50, processor", "p95, processor", "a query with it", "without"]
    left_out = [f"- {row['stage']} {row['name']}: left out. {row['skipped']}" for row in rows if "skipped" in row]
    return "\n".join([table(head, body), *([""] if left_out else []), *left_out])


def markdown(report: dict[str, Any]) -> str:
    sizes = report["sizes"]
    lines = ["# What the pipeline itself costs", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += (
        []
        if not sizes
        else [
            f"Median milliseconds of {report['questions']} questions, one after another, from their traces: hybrid search by the resident",
            "searcher, a chat model that answers at once, hashed vectors of 384 numbers. Made by `python bench/overhead.py`.",
            "",
            table(
                ["stage", *(f"{size['chunks']:,} chunks" for size in sizes)],
                [[stage, *(f"{size['p50_ms'].get(stage, 0):.2f}" for size in sizes)] for stage in sizes[0]["p50_ms"]]
                + [["(index built, s)", *(f"{size['build_s']:.1f}" for size in sizes)]],
            ),
        ]
    )
    if report.get("stages"):
        lines += [
            "",
            "## Stage by stage",
            "",
            f"Milliseconds; each arm and the same pipeline without it asked {report['stage_questions']} questions in turn.",
        ]
        lines += ["By the clock on the wall, which on a busy machine holds its waits, and by the processor's, which does not.", ""]
        lines += ["Made by `python bench/overhead.py --stages`."]
        lines += ["Guards and routers on TechCorp with MiniLM's vectors, caches with hashed ones.", "", stage_table(report["stages"])]
    return "\n".join(lines)


async def stages(entries: Sequence[int], questions: int, fitted: Path) -> list[dict[str, Any]]:
    rows = await techcorp_stages(questions, fitted)
    for count in entries:
        rows += await cache_stages(count, questions)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--out", type=Path, default=REPORTS)
    parser.add_argument("--stages", action="store_true", help="measure each stage, and leave the sizes as they were measured")
    parser.add_argument("--entries", nargs="+", type=int, default=[1_000, 10_000])
    parser.add_argument("--routers", type=Path, default=REPORTS / "savings.json", help="what bench/savings.py has fitted")
    arguments = parser.parse_args()
    before = arguments.out / "overhead.json"
    report: dict[str, Any] = json.loads(before.read_text(encoding="utf-8")) if before.exists() else {"sizes": []}
    report["machine"] = machine("lancedb", "numpy", "langchain-core")
    if arguments.stages:
        report["stage_questions"] = arguments.questions
        report["stages"] = asyncio.run(stages(arguments.entries, arguments.questions, arguments.routers))
        write_report("overhead", report, markdown(report), arguments.out)
        print(markdown(report))
        return
    report |= {"questions": arguments.questions, "sizes": []}
    for size in arguments.sizes:
        report["sizes"].append(asyncio.run(measure(size, arguments.questions)))
        print(report["sizes"][-1], flush=True)
        write_report("overhead", report, markdown(report), arguments.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
