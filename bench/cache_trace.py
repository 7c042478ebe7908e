"""The cache on a trace of questions, and how long a hit takes: calls saved, false hits, p50 and p95 in process and on Redis.

    python bench/cache_trace.py [PAIRS…] [--golden techcorp/v1] [--asks 3000] [--sizes 1000 10000 100000] [--out reports/bench]

The verifier and the threshold are fitted on the golden set's tune split, and on files of labelled pairs where some are given, as
`touchstone calibrate cache` does it; the trace asks about the holdout's questions alone, so neither saw any of them. How often a question
is asked follows Zipf's law. How it is worded is drawn again each time: word for word, as typed (case, mark, white space), reworded (polite,
a synonym, its parts in another order), reworded and typed, in the golden set's second wording where there is one, or altered so that its
answer is another: the hard negatives, for which a hit is false unless the very same alteration was asked before.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report

from harness.calibrate import SOURCES
from harness.calibrate.artefact import calibrated_threshold, keep_threshold
from harness.calibrate.cache_pairs import golden_pairs
from harness.calibrate.cache_verifier import FitPair, fit_verifier
from harness.calibrate.calibrate import calibrate
from harness.calibrate.source import SourceRequest
from harness.golden.hard_negatives import hard_negatives
from harness.golden.load import load_golden
from harness.golden.rewordings import rewordings
from harness.golden.sets import GoldenSet
from harness.settings import HarnessSettings
from serving.pipeline.artefacts import FolderArtefacts
from serving.pipeline.cache import CACHES
from serving.pipeline.cache.base import CacheContext, CacheEntry
from serving.pipeline.cache.equivalence import VerifiedEquivalence
from serving.pipeline.cache.reuse import ReuseRule
from serving.pipeline.checks.equivalence.guards import disagreement
from serving.pipeline.checks.equivalence.verifier import Verifier
from serving.pipeline.checks.equivalence.wording import wording_of
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.parts import Digests, Parts
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Answer, Chunk, Citation, Hit, Query, Span

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.support.redis import PROGRAM, RedisServer

EMBEDDER = "local:minilm"
MIXES = {
    "many repeat": {
        "word for word": 0.40,
        "as typed": 0.25,
        "reworded": 0.15,
        "reworded, typed": 0.05,
        "second wording": 0.10,
        "altered": 0.05,
    },
    "few repeat": {
        "word for word": 0.05,
        "as typed": 0.20,
        "reworded": 0.25,
        "reworded, typed": 0.30,
        "second wording": 0.10,
        "altered": 0.10,
    },
}
KINDS = list(MIXES["many repeat"])
SEED = 7
DIGESTS = Digests("config", "index", "corpus", "prompts", "release")


@dataclass(frozen=True)
class Ask:
    text: str
    intent: str  # which answer is right
    wording: str


class Known:
    """Vectors that were made before, so that what is timed is the cache."""

    def __init__(self, vectors: Mapping[str, Any]) -> None:
        self.vectors = vectors

    async def aembed_query(self, text: str) -> Any:
        return self.vectors[text]


def typed(question: str) -> list[str]:
    return [question.lower(), question.rstrip("?"), f"  {question.rstrip('?')} ?", question[0].lower() + question[1:].rstrip("?"), question]


def retyped(text: str) -> list[str]:
    """Reworded once more, and typed in some hurry."""
    more = [one.reworded for one in rewordings([text])]
    hurried = [one.lower().replace("what is", "what's").replace(",", "").rstrip("?. ") for one in (text, *more)]
    return [one for one in dict.fromkeys([*more, *hurried]) if one != text]


def wordings(golden: GoldenSet) -> dict[str, dict[str, list[Ask]]]:
    """By intent of the holdout, what may be asked by the kind of wording."""
    intents: dict[str, dict[str, list[Ask]]] = {}
    seconds: dict[str, list[str]] = {}
    cases = [case for case in golden.cases if golden.split_of(case) == "holdout" and case.answerable]
    for case in cases:
        seconds.setdefault(case.group or case.id, []).append(case.question)
    questions = [case.question for case in cases]
    others: dict[str, list[str]] = {}
    for one in rewordings(questions):
        others.setdefault(one.question, []).append(one.reworded)
    altered: dict[str, list[str]] = {}
    for negative in hard_negatives(questions):
        altered.setdefault(negative.question, []).append(negative.altered)
    for intent, (first, *rest) in seconds.items():
        intents[intent] = {
            "word for word": [Ask(first, intent, "word for word")],
            "as typed": [Ask(text, intent, "as typed") for text in typed(first)],
            "reworded": [Ask(text, intent, "reworded") for text in others.get(first, [])],
            "reworded, typed": [Ask(again, intent, "reworded, typed") for text in others.get(first, []) for again in retyped(text)],
            "second wording": [Ask(text, intent, "second wording") for text in rest],
            "altered": [Ask(text, f"altered: {text}", "altered") for text in altered.get(first, [])],
        }
    return intents


def drawn(intents: Mapping[str, Mapping[str, list[Ask]]], asks: int, mix: Mapping[str, float], chance: random.Random) -> list[Ask]:
    names = sorted(intents)
    chance.shuffle(names)
    weights = [1 / rank for rank in range(1, len(names) + 1)]
    trace = []
    for name in chance.choices(names, weights, k=asks):
        kinds = {kind: share for kind, share in mix.items() if intents[name][kind]}
        [kind] = chance.choices(list(kinds), list(kinds.values()))
        trace.append(chance.choice(intents[name][kind]))
    return trace


def embedded(texts: Sequence[str], cache: Path) -> dict[str, Any]:
    """MiniLM's vectors, kept between runs."""
    known: dict[str, Any] = {}
    if cache.with_suffix(".json").exists():
        known = dict(zip(json.loads(cache.with_suffix(".json").read_text()), np.load(cache), strict=True))
    missing = [text for text in dict.fromkeys(texts) if text not in known]
    if missing:
        settings = PipelineSettings(_env_file=None)
        rows = np.asarray(connect_embeddings(Spec(name=EMBEDDER), settings).embed_documents(missing), dtype=np.float32)
        known |= dict(zip(missing, rows, strict=True))
        np.save(cache, np.stack(list(known.values())))
        cache.with_suffix(".json").write_text(json.dumps(list(known)))
    return known


def calibrated(golden: GoldenSet, pairs: Sequence[Path], folder: Path) -> dict[str, dict[str, Any]]:
    """A verifier and a threshold from the tune split and files of pairs, by the level of false hits: none where no threshold is safe."""
    file = folder / "tune.jsonl"
    cases = [case for case in golden.cases if golden.split_of(case) == "tune"]
    lines = [
        {"text_a": pair.question, "text_b": pair.other, "label": int(pair.same), "group": pair.group, "family": pair.family}
        for pair in golden_pairs(cases)
    ]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = HarnessSettings(home=folder, _env_file=None)
    source = SOURCES.build(Spec.model_validate({"name": "cache", "nearest": 3}), settings=settings)
    labelled = asyncio.run(source.decisions(SourceRequest((file, *pairs))))
    found: dict[str, dict[str, Any]] = {}
    for level in (0.01, 0.05):
        calibration = calibrate(labelled.examples, labelled.limit(level, 0.95, "per_action"))
        found[f"{level:.0%}"] = {"pairs": len(lines), "threshold": calibration.threshold, "reason": calibration.reason}
        if calibration.threshold is not None:
            threshold = calibrated_threshold(calibration, labelled, "2026-01-01")
            found[f"{level:.0%}"]["artefact"] = keep_threshold(threshold, labelled.config, settings.artefact_folder).digest
    return found


def fitted_on_tune(golden: GoldenSet, vectors_file: Path) -> Verifier:
    """A verifier of the tune split's pairs, all of them: for a threshold that is chosen without proof."""
    pairs = golden_pairs([case for case in golden.cases if golden.split_of(case) == "tune"])
    known = embedded([text for pair in pairs for text in (pair.question, pair.other)], vectors_file)
    fit = [
        FitPair(wording_of(pair.question), wording_of(pair.other), float(known[pair.question] @ known[pair.other]), pair.same)
        for pair in pairs
        if disagreement(pair.question, pair.other) is None
    ]
    return fit_verifier(fit)


def cache_of(params: Mapping[str, Any], known: Any, settings: PipelineSettings, artefacts: Path) -> Any:
    parts = Parts(
        settings=settings,
        embeddings=known,
        embedder=EMBEDDER,
        digests=DIGESTS,
        artefacts=FolderArtefacts(artefacts),
    )
    return CACHES.build(Spec.model_validate({"max_entries": 200_000, "ttl_s": 86_400.0, **params}), parts=parts)


async def played(trace: Sequence[Ask], cache: Any) -> dict[str, Any]:
    """The trace, one question after another; a miss is answered and kept."""
    hits: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    false: Counter[str] = Counter()
    wrong: set[tuple[str, str]] = set()
    for ask in trace:
        query = Query(ask.text)
        context = CacheContext.of(query, DIGESTS, "1")
        lookup = await cache.get(query, context)
        asked[ask.wording] += 1
        if lookup.hit is None:
            await cache.put(query, context, CacheEntry(Answer(ask.intent), writer=ask.intent))
            lookup.flight.end()
            continue
        hits[ask.wording] += 1
        if lookup.hit.entry.writer != ask.intent:
            false[ask.wording] += 1
            wrong.add((ask.text, lookup.hit.question))
    total, served = len(trace), sum(hits.values())
    return {
        "calls_saved": served / total,
        "false_of_hits": sum(false.values()) / served if served else 0.0,
        "false_of_lookups": sum(false.values()) / total,
        "false_hits": sum(false.values()),
        "distinct_false": sorted(map(list, wrong)),
        "hit_rate": {kind: round(hits[kind] / asked[kind], 4) for kind in KINDS if asked[kind]},
        "asked": dict(asked),
    }


def entry_for(number: int) -> CacheEntry:
    """An answer of three sentences with three passages of 600 characters."""
    text = f"Answer {number}: " + "the notice period is thirty days and is given in writing to the office manager. " * 3
    chunks = [Chunk(f"d{number}-{n}#0", f"d{number}-{n}", 0, 600, "the passage says so in other words. " * 17) for n in range(3)]
    return CacheEntry(Answer(text, (Citation(1, chunks[0].id, Span(chunks[0].document_id, 0, 600)),)), tuple(Hit(c, 1.0) for c in chunks))


def questions_for(size: int) -> tuple[list[str], Any]:
    """Invented questions and their vectors, and near ones."""
    numbers = np.random.default_rng(SEED)
    rows = numbers.standard_normal((size, 384)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return [f"what does the rule about subject w{number} say" for number in range(size)], rows


def near_ones(rows: Any, chosen: Sequence[int]) -> Any:
    turned = rows[list(chosen)] + np.random.default_rng(SEED + 1).standard_normal((len(chosen), 384)).astype(np.float32) * 0.012
    return turned / np.linalg.norm(turned, axis=1, keepdims=True)


HIT = {"name": "semantic", "scorer": "cosine", "threshold": 0.9}


async def fill(cache: Any, texts: Sequence[str]) -> float:
    begin = time.perf_counter()
    context = CacheContext.of(Query(""), DIGESTS, "1")
    for start in range(0, len(texts), 16):
        await asyncio.gather(*(cache.put(Query(texts[n]), context, entry_for(n)) for n in range(start, min(start + 16, len(texts)))))
    return time.perf_counter() - begin


async def timed(cache: Any, texts: Sequence[str]) -> dict[str, float]:
    context = CacheContext.of(Query(""), DIGESTS, "1")
    times: list[float] = []
    busy: list[float] = []
    found = 0
    for text in texts:
        begin, worked = time.perf_counter(), time.process_time()
        lookup = await cache.get(Query(text), context)
        times.append((time.perf_counter() - begin) * 1000)
        busy.append((time.process_time() - worked) * 1000)
        found += lookup.hit is not None
        lookup.flight.end()
    times.sort()
    busy.sort()
    return {
        "p50_ms": round(statistics.median(times), 3),
        "p95_ms": round(times[int(0.95 * (len(times) - 1))], 3),
        "busy_p95_ms": round(busy[int(0.95 * (len(busy) - 1))], 3),
        "hits": found / len(texts),
    }


async def measured(size: int, looks: int, settings: PipelineSettings, folder: Path) -> dict[str, Any]:
    texts, rows = questions_for(size)
    chosen = random.Random(SEED).sample(range(size), looks)
    vectors = dict(zip(texts, rows, strict=True))
    near = [f"{texts[n]} please" for n in chosen]
    vectors |= dict(zip(near, near_ones(rows, chosen), strict=True))
    known = Known(vectors)
    writer = cache_of(HIT, known, settings, folder)
    filled_s = await fill(writer, texts)
    result: dict[str, Any] = {"put_ms": round(filled_s / size * 1000, 3)}
    reader = writer
    if settings.redis:  # a process that begins, and learns what others wrote
        reader, context = cache_of(HIT, known, settings, folder), CacheContext.of(Query(""), DIGESTS, "1")
        begin = time.perf_counter()
        backend, place = reader._answers.backend, ""
        known_before, changed = 0, begin
        while known_before < size and time.perf_counter() - changed < 3:  # some may have been lost while Redis was slow
            (await reader.get(Query(near[0]), context)).flight.end()
            place = place or backend._log(reader._answers.key_of("", context))
            learnt = len(backend._scopes.of(place))
            if learnt > known_before:
                known_before, changed = learnt, time.perf_counter()
            await asyncio.sleep(0.01)
        result |= {"learnt_s": round(changed - begin, 2), "learnt": known_before}
    await timed(reader, near[:20])
    result["exact"] = await timed(reader, [texts[n] for n in chosen])
    result["semantic"] = await timed(reader, near)
    for cache in {id(writer): writer, id(reader): reader}.values():
        await cache.aclose()
    return result


def one_of_several(url: str, secret: str, size: int, looks: int, seed: int, sink: Any) -> None:
    async def run() -> dict[str, float]:
        texts, rows = questions_for(size)
        chosen = random.Random(seed).sample(range(size), looks)
        near = [f"{texts[n]} please" for n in chosen]
        vectors = dict(zip(near, near_ones(rows, chosen), strict=True))
        settings = PipelineSettings(_env_file=None, redis=url, cache_secret=secret, cache_audit=0.0)
        cache = cache_of(HIT, Known(vectors), settings, Path())
        for _ in range(60):  # learns the vectors
            await timed(cache, near[:5])
            await asyncio.sleep(0.05)
        found = await timed(cache, near)
        await cache.aclose()
        return found

    sink.put(asyncio.run(run()))


def several(server: RedisServer, size: int, looks: int, processes: int, folder: Path) -> list[dict[str, float]]:
    secret = secrets.token_hex(32)
    settings = PipelineSettings(_env_file=None, redis=server.url, cache_secret=secret, cache_audit=0.0)

    async def prepare() -> None:
        texts, rows = questions_for(size)
        cache = cache_of(HIT, Known(dict(zip(texts, rows, strict=True))), settings, folder)
        await fill(cache, texts)
        await cache.aclose()

    asyncio.run(prepare())
    spawn = multiprocessing.get_context("spawn")
    sink = spawn.Queue()
    running = [spawn.Process(target=one_of_several, args=(server.url, secret, size, looks, seed, sink)) for seed in range(processes)]
    for process in running:
        process.start()
    found = [sink.get(timeout=300) for _ in running]
    for process in running:
        process.join()
    return found


def rules(calibrations: Mapping[str, Mapping[str, Any]], tuned: Verifier) -> dict[str, dict[str, Any]]:
    """What the trace is played with."""
    chosen: dict[str, dict[str, Any]] = {"exact only": {"name": "exact"}}
    for threshold in (0.95, 0.9, 0.85, 0.8):
        chosen[f"cosine ≥ {threshold}, guards"] = {"name": "semantic", "scorer": "cosine", "threshold": threshold}
    for threshold in (0.95, 0.9, 0.8, 0.7):
        chosen[f"verifier of the tune split ≥ {threshold}, guards"] = {"name": "semantic", "threshold": threshold, "verifier": tuned}
    chosen["built-in verifier ≥ 0.9, guards (fitted on both splits)"] = {"name": "semantic", "threshold": 0.9}
    for level, found in calibrations.items():
        if found["threshold"] is not None:
            chosen[f"calibrated on tune at {level} of hits"] = {"name": "semantic", "threshold": None, "calibrated": found["artefact"]}
    return chosen


def traced(golden: GoldenSet, pairs: Sequence[Path], asks: int, folder: Path, vectors_file: Path) -> dict[str, Any]:
    intents = wordings(golden)
    calibrations = calibrated(golden, pairs, folder)
    print(calibrations, flush=True)
    chosen = rules(calibrations, fitted_on_tune(golden, vectors_file))
    settings = PipelineSettings(_env_file=None, cache_audit=0.0)
    mixes: dict[str, Any] = {}
    for mix, shares in MIXES.items():
        trace = drawn(intents, asks, shares, random.Random(SEED))
        known = Known(embedded([ask.text for ask in trace], vectors_file))
        results = {}
        for name, params in chosen.items():
            cache = cache_of({key: value for key, value in params.items() if key != "verifier"}, known, settings, folder / "artefacts")
            if "verifier" in params:
                cache._rules = {"full": ReuseRule(VerifiedEquivalence(params["verifier"]), params["threshold"], 0.6)}
            results[name] = asyncio.run(played(trace, cache))
            print(mix, name, {key: value for key, value in results[name].items() if key not in ("distinct_false", "asked")}, flush=True)
        most = 1 - len({ask.intent for ask in trace}) / asks
        mixes[mix] = {"shares": shares, "most": most, "wordings": len({ask.text for ask in trace}), "rules": results}
    return {"asks": asks, "intents": len(intents), "calibrated": calibrations, "mixes": mixes}


def markdown(report: dict[str, Any]) -> str:
    trace = report["trace"]
    lines = [
        "# The cache on a trace of questions",
        "",
        f"Machine: {machine_line(report['machine'])}. Made by `python bench/cache_trace.py`; the load average was {report['load'][0]}.",
        "",
        f"{trace['asks']:,} questions about {trace['intents']} things, drawn by Zipf's law from the holdout of {report['golden']}.",
        "An altered question has another answer: its hits are right only where the very same alteration was asked before. Of the golden",
        "set's second wordings none is near the first (cosine .69 at most, by design): they are answered anew once each. False hits are",
        "counted against the intent that a question was drawn for, whatever the two answers say. Rewordings and alterations come from the",
        "same generators for the tune split and the trace, of other questions: what real users write may be harder.",
        "",
        "Calibrated on the tune split"
        + (f" and {', '.join(report['pairs'])}" if report["pairs"] else "")
        + ": "
        + "; ".join(
            f"at {level} of hits " + (f"no safe threshold ({one['reason']})" if one["threshold"] is None else f"{one['threshold']:.3f}")
            for level, one in trace["calibrated"].items()
        )
        + ".",
        "",
    ]
    head = ["rule", "calls saved", "false, of hits", "false, of look-ups", *(f"hits: {kind}" for kind in KINDS)]
    for mix, found in trace["mixes"].items():
        shares = ", ".join(f"{kind} {share:.0%}" for kind, share in found["shares"].items())
        rows = [
            [
                name,
                f"{one['calls_saved']:.1%}",
                f"{one['false_of_hits']:.2%}",
                f"{one['false_of_lookups']:.2%}",
                *(f"{one['hit_rate'].get(kind, 0):.0%}" for kind in KINDS),
            ]
            for name, one in found["rules"].items()
        ]
        lines += [f"## {mix.capitalize()}", "", f"{shares}; what a question lacks, the others share.", ""]
        lines += [f"{found['wordings']:,} different texts. A cache that knew every meaning would save {found['most']:.1%}.", ""]
        lines += [table(head, rows), ""]
    return "\n".join([*lines, *_times(report)])


def _times(report: dict[str, Any]) -> list[str]:
    lines = [
        "## Milliseconds of a hit",
        "",
        "Vectors are made before (MiniLM adds its own); an entry has three passages of 600 characters; one question after another; guards",
        "and cosine, no verifier. Busy: processor time of the process, which other programs do not lengthen.",
        "",
    ]
    rows = []
    for place, sizes in report["times"].items():
        for size, one in sizes.items():
            figures = [f"{one[kind][name]:.2f}" for kind in ("exact", "semantic") for name in ("p50_ms", "p95_ms", "busy_p95_ms")]
            learnt = f"{one['learnt_s']:.1f}" if "learnt_s" in one else ""
            rows.append([f"{place}, {int(size):,} entries", *figures, f"{one['semantic']['hits']:.1%}", f"{one['put_ms']:.2f}", learnt])
    head = ["where", "exact p50", "p95", "busy p95", "semantic p50", "p95", "busy p95", "found", "put", "s until a new process knows all"]
    lines += [table(head, rows), ""]
    if report["several"]:
        each, size = report["several"]["each"], report["several"]["size"]
        rows = [
            [f"process {number}", f"{one['p50_ms']:.2f}", f"{one['p95_ms']:.2f}", f"{one['busy_p95_ms']:.2f}", f"{one['hits']:.1%}"]
            for number, one in enumerate(each, 1)
        ]
        lines += [f"{len(each)} processes at once on one Redis, {size:,} entries, semantic hits:", ""]
        lines += [table(["", "p50", "p95", "busy p95", "found"], rows)]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="*", type=Path, help="files of labelled pairs to calibrate on beside the tune split")
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--asks", type=int, default=3000)
    parser.add_argument("--sizes", nargs="+", type=int, default=[1_000, 10_000, 100_000])
    parser.add_argument("--looks", type=int, default=500)
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--vectors", type=Path, default=Path(tempfile.gettempdir()) / "cache-trace-vectors.npy")
    parser.add_argument("--times", action="store_true", help="measure the times of these sizes only; the rest stays as the report has it")
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if arguments.times:
            report: dict[str, Any] = json.loads((arguments.out / "cache_trace.json").read_text(encoding="utf-8"))
        else:
            report = described(arguments.golden, arguments.pairs)
            golden = load_golden(Path("datasets"), arguments.golden)
            report["trace"] = traced(golden, arguments.pairs, arguments.asks, folder, arguments.vectors)
        clock(report, arguments, folder)
        print(markdown(report))


def described(golden: str, pairs: Sequence[Path]) -> dict[str, Any]:
    facts = machine("numpy", "redis")
    if PROGRAM:
        told = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True).stdout
        facts["packages"]["redis-server"] = told.split("v=")[1].split()[0]
    load = [round(number, 1) for number in os.getloadavg()]
    names = [one.parent.name for one in pairs]
    return {"machine": facts, "golden": golden, "pairs": names, "load": load, "times": {"in process": {}, "Redis": {}}, "several": None}


def clock(report: dict[str, Any], arguments: argparse.Namespace, folder: Path) -> None:
    """Measure each size in process and on a Redis of its own, and write what there is after each."""
    plain = PipelineSettings(_env_file=None, cache_audit=0.0)
    for size in arguments.sizes:
        report["times"]["in process"][str(size)] = found = asyncio.run(measured(size, arguments.looks, plain, folder))
        print("in process", size, found, flush=True)
        write_report("cache_trace", report, markdown(report), arguments.out)
    for size in arguments.sizes if PROGRAM else ():
        server = RedisServer(folder)
        try:
            shared = PipelineSettings(_env_file=None, redis=server.url, cache_secret=secrets.token_hex(32), cache_audit=0.0)
            report["times"]["Redis"][str(size)] = found = asyncio.run(measured(size, arguments.looks, shared, folder))
            print("Redis", size, found, flush=True)
            if size == 10_000:
                each = several(server, size, arguments.looks, arguments.processes, folder)
                report["several"] = {"size": size, "each": each}
                print("several", each, flush=True)
        finally:
            server.kill()
        write_report("cache_trace", report, markdown(report), arguments.out)


if __name__ == "__main__":
    main()
