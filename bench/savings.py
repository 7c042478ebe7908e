"""What the router and the cache save on TechCorp against always asking the dear tier, and what quality that costs: with bounds.

    python bench/savings.py [--golden techcorp/v1] [--margins 0.05 0.08] [--lookups 1000] [--out reports/bench]

Thresholds are calibrated on the tune split alone, by `touchstone calibrate`'s own engine; everything reported is of the holdout split:
questions, and groups of paraphrases, that no threshold was chosen on. Local readers answer at the prices of the models that they stand
in for (simulated). Answers kept from before are not asked again. Looks at the holdout are written down as any other.

The loss is the quality of the dear tier's answer less that of the answer given, its bound one-sided at 95 % over clusters (documents,
as everywhere). The saving is of dollars; its interval is by the jackknife over the same clusters. The trace of the cache draws groups by
Zipf's law (the k-th most frequent 1/k as often as the first), each time one of the group's wordings; which group is frequent is by chance.
"""

import argparse
import asyncio
import json
import random
import shlex
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report

from harness.calibrate import SOURCES
from harness.calibrate.artefact import calibrated_threshold, keep_threshold
from harness.calibrate.cache_pairs import golden_pairs
from harness.calibrate.calibrate import ThresholdCalibration, calibrate
from harness.calibrate.labelled import LabelledDecisions
from harness.calibrate.source import SourceRequest
from harness.evaluation.context import EvaluationContext, open_context
from harness.golden.case import Case
from harness.golden.sets import Split
from harness.metrics import metric
from harness.results.clusters import cluster_of
from harness.stats.bounded import bounded_ends
from harness.stats.clusters import Numbers, cluster_sizes, cluster_sums
from harness.stats.intervals import t_ends
from serving.pipeline.config import RagConfig
from serving.pipeline.models.prices import price_list
from serving.pipeline.registry import Spec
from serving.pipeline.types import Trace
from touchstone import Project

METRIC = "quality"
ROUTERS = ("logistic", "tfidf", "knn", "stacked")
LITE, PRO = ({"route.router": {"name": "always", "tier": tier}} for tier in ("lite", "pro"))
SEED = 11
DEAR_ARM = "always the dear tier"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question of a row of questions: what was paid and how good the answer was, beside the dear tier's own."""

    case: Case
    usd: float
    quality: float
    dear_usd: float
    dear_quality: float
    cheap: bool = False  # the cheap tier answered
    hit: bool = False  # out of the cache
    writer: str = ""  # of a hit: the id of the case whose answer it is


@dataclass(frozen=True, slots=True)
class Saving:
    """What an arm saves and loses, with bounds."""

    arm: str
    asked: int
    clusters: int
    usd: float  # a question
    saved: float  # share of the dear tier's dollars
    saved_low: float
    saved_high: float
    loss: float
    loss_bound: float  # one-sided, 95 %
    cheap: float  # share that the cheap tier answered
    hits: float = 0.0
    false_of_hits: float = 0.0
    false_of_lookups: float = 0.0
    reused: float = 0.0  # of the questions of a group that was asked before
    note: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """As the report keeps it."""
        return {
            name: round(value, 6) if isinstance(value, float) else value for name in self.__slots__ if (value := getattr(self, name)) != ""
        }


def saving(arm: str, rows: Sequence[Asked], *, note: str = "", repeats: float = 0.0) -> Saving:
    """The figures of one arm; `repeats`: how many of its questions a perfect cache could have answered."""
    clusters = [cluster_of(row.case) for row in rows]
    usd, dear = (cluster_sums(np.array([value(row) for row in rows]), clusters) for value in (_usd, _dear_usd))
    losses = np.array([row.dear_quality - row.quality for row in rows])
    ends = saved_ends(usd, dear)
    bound = bounded_ends(cluster_sums(losses, clusters), cluster_sizes(len(losses), clusters), 0.10, -1.0, 1.0).high
    hits = [row for row in rows if row.hit]
    false = sum(row.writer not in _group(row.case) for row in hits)
    return Saving(
        arm=arm,
        asked=len(rows),
        clusters=len(usd),
        usd=float(usd.sum()) / len(rows),
        saved=1.0 - float(usd.sum() / dear.sum()),
        saved_low=ends[0],
        saved_high=ends[1],
        loss=float(losses.mean()),
        loss_bound=bound,
        cheap=sum(row.cheap for row in rows) / len(rows),
        hits=len(hits) / len(rows),
        false_of_hits=false / len(hits) if hits else 0.0,
        false_of_lookups=false / len(rows),
        reused=(len(hits) - false) / repeats if repeats else 0.0,
        note=note,
    )


def saved_ends(usd: Numbers, dear: Numbers) -> tuple[float, float]:
    """The 95 % interval of 1 − Σ usd / Σ dear, by leaving out each cluster in turn."""
    count, whole = len(usd), 1.0 - usd.sum() / dear.sum()
    without = 1.0 - (usd.sum() - usd) / (dear.sum() - dear)
    ends = t_ends(count * whole - (count - 1) * without)
    return max(ends.low, -1.0), min(ends.high, 1.0)


def _usd(row: Asked) -> float:
    return row.usd


def _dear_usd(row: Asked) -> float:
    return row.dear_usd


def _group(case: Case) -> frozenset[str]:
    """The cases whose answer is right for a case too."""
    return GROUPS.get(case.group, frozenset()) | {case.id}


GROUPS: dict[str, frozenset[str]] = {}


# ---- the bench ---------------------------------------------------------------------------------------------------------------


@dataclass
class Bench:
    """What all arms share: the project, both tiers' outcomes on the holdout, what was calibrated on tune."""

    project: Project
    context: EvaluationContext
    golden: str
    base: Mapping[str, Any]
    holdout: Split
    outcomes: dict[str, tuple[tuple[float, float], tuple[float, float]]] = field(default_factory=dict)  # case → (usd, quality) of lite, pro

    def config(self, changes: Mapping[str, Any]) -> RagConfig:
        return self.project.config("default", {**self.base, **changes})

    async def evaluated(self, changes: Mapping[str, Any], split: Any, name: str = "") -> Any:
        return await self.project.evaluate(self.config(changes), self.golden, split, metrics=[METRIC], name=name)

    async def outcomes_of(self) -> None:
        """Both tiers on every question of the holdout."""
        for place, changes in enumerate((LITE, PRO)):
            for row in (await self.evaluated(changes, "holdout")).rows:
                both = list(self.outcomes.get(row.case.id, ((0.0, 0.0), (0.0, 0.0))))
                both[place] = (row.trace.usd, row.value(METRIC) or 0.0)
                self.outcomes[row.case.id] = (both[0], both[1])

    def by_tier(self, cheap: Callable[[Case], bool]) -> list[Asked]:
        """Every question of the holdout, answered by one tier or the other."""
        rows = []
        for case in self.holdout.cases:
            lite, pro = self.outcomes[case.id]
            usd, quality = lite if cheap(case) else pro
            rows.append(Asked(case, usd, quality, *pro, cheap=cheap(case)))
        return rows


async def routed(bench: Bench, arm: str, changes: Mapping[str, Any], note: str = "") -> Saving:
    """A router as it runs: its own traces, priced as they are."""
    report = await bench.evaluated(changes, "holdout")
    return saving(
        arm,
        [
            Asked(row.case, row.trace.usd, row.value(METRIC) or 0.0, *bench.outcomes[row.case.id][1], cheap=row.trace.route.tier == "lite")
            for row in report.rows
        ],
        note=note,
    )


def at_equal_cost(bench: Bench, arm: Saving) -> list[Saving]:
    """Chance and question length at the dollars of an arm: what it saves without looking at the question, and by its length alone."""
    lite, pro = (np.array([bench.outcomes[case.id][place][0] for case in bench.holdout.cases]) for place in (0, 1))
    share = min(1.0, max(0.0, (pro.mean() - arm.usd) / (pro.mean() - lite.mean())))
    expected = []
    for case in bench.holdout.cases:
        (lite_usd, lite_quality), (pro_usd, pro_quality) = bench.outcomes[case.id]
        mixed = share * lite_usd + (1 - share) * pro_usd, share * lite_quality + (1 - share) * pro_quality
        expected.append(Asked(case, *mixed, pro_usd, pro_quality))
    ordered = sorted(bench.holdout.cases, key=lambda case: (len(case.question), case.id))
    chosen: set[str] = set()
    for case in ordered:  # the shortest go to the cheap tier, until as much is saved
        rows = bench.by_tier(lambda one: one.id in chosen)  # used at once
        if sum(row.usd for row in rows) / len(rows) <= arm.usd:
            break
        chosen.add(case.id)
    return [
        replace(saving(f"chance, at the cost of {arm.arm}", expected, note="expected values"), cheap=share),
        saving(f"length, at the cost of {arm.arm}", bench.by_tier(lambda case: case.id in chosen), note="the shortest to the cheap tier"),
    ]


@dataclass(frozen=True, slots=True)
class Chosen:
    """A threshold at one level of risk, or none."""

    calibration: ThresholdCalibration
    spec: dict[str, Any]  # the plug-in with its parameters; empty: there is no safe threshold

    @property
    def row(self) -> dict[str, Any]:
        done = self.calibration
        benefit = done.point.benefit if done.point else None
        facts = {
            "level": done.limit.level,
            "kind": done.limit.kind,
            "threshold": done.threshold,
            "bound": done.bound,
            "reason": done.reason,
        }
        return facts | {"labels": done.examples, "groups": done.groups, "benefit": benefit, "needed": done.needed, "spec": self.spec}


async def labelled(bench: Bench, stage: str, files: Sequence[Path], **params: Any) -> LabelledDecisions:
    """The stage's own source over labels of the tune split, as `touchstone calibrate` reads them."""
    source = SOURCES.build(Spec.model_validate({"name": stage, **params}), settings=bench.project.settings)
    return await source.decisions(SourceRequest(tuple(files)))


def chosen(bench: Bench, labels: LabelledDecisions, level: float, kind: Any = None) -> Chosen:
    """The threshold at a level, its artefact kept where a release would look for it."""
    calibration = calibrate(labels.examples, labels.limit(level, 0.95, kind))
    if calibration.threshold is None:
        return Chosen(calibration, {})
    threshold = calibrated_threshold(calibration, labels, f"{datetime.now(UTC):%Y-%m-%d}")
    kept = keep_threshold(threshold, labels.config, bench.project.settings.artefact_folder)
    return Chosen(calibration, {path.rpartition(".")[2]: value for path, value in kept.config.items()})


async def cache_labels(bench: Bench, folder: Path) -> LabelledDecisions:
    """The tune split's paraphrases, rewordings and hard negatives; the verifier is fitted on one part of them.

    The verifier that ships has read the whole golden set, and so cannot be judged on its holdout.
    """
    pairs = golden_pairs(bench.project.golden(bench.golden).tune().cases)
    path = folder / "tune-pairs.jsonl"
    lines = [
        {"id": pair.id, "text_a": pair.question, "text_b": pair.other, "label": int(pair.same), "group": pair.group, "family": pair.family}
        for pair in pairs
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return await labelled(bench, "cache", [path], verifier="fitted")


# ---- the trace ---------------------------------------------------------------------------------------------------------------


def zipf_trace(cases: Sequence[Case], lookups: int, seed: int) -> list[Case]:
    """Questions as they come: groups by Zipf's law, their wordings alike."""
    chance = random.Random(seed)
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group or case.id, []).append(case)
    names = sorted(groups)
    chance.shuffle(names)
    drawn = chance.choices(names, [1 / rank for rank in range(1, len(names) + 1)], k=lookups)
    return [chance.choice(groups[name]) for name in drawn]


def once_each(cases: Sequence[Case], seed: int) -> list[Case]:
    """Every wording once: nothing but paraphrases can be answered again."""
    order = list(cases)
    random.Random(seed).shuffle(order)
    return order


def repeats(asked: Sequence[Case]) -> int:
    """How many are of a group that was asked before."""
    seen: set[str] = set()
    count = 0
    for case in asked:
        count += (name := case.group or case.id) in seen
        seen.add(name)
    return count


async def served(bench: Bench, arm: str, asked: Sequence[Case], changes: Mapping[str, Any], note: str = "") -> Saving:
    """A row of questions through one pipeline, one after another, its cache empty at first."""
    pipeline = await bench.context.factory.pipeline(bench.config(changes))
    scorer: Any = metric(METRIC, bench.context.tools)
    writers: dict[str, str] = {}
    rows = []
    for case in asked:
        trace: Trace = await pipeline.answer(case.query)
        writers.setdefault(trace.id, case.id)
        writer = writers.get(trace.cache.writer, "?") if trace.cache and trace.cache.hit else ""
        quality = scorer.score(trace, case).value or 0.0
        tier = trace.route.tier if trace.route else ""
        rows.append(Asked(case, trace.usd, quality, *bench.outcomes[case.id][1], cheap=tier == "lite", hit=trace.cached, writer=writer))
    await pipeline.aclose()
    return saving(arm, rows, note=note, repeats=repeats(asked))


def perfect_cache(bench: Bench, asked: Sequence[Case]) -> Saving:
    """Every question of a group that was asked before is answered again, for nothing."""
    seen: dict[str, str] = {}
    rows = []
    for case in asked:
        name, pro = case.group or case.id, bench.outcomes[case.id][1]
        hit = name in seen
        rows.append(Asked(case, 0.0 if hit else pro[0], pro[1], *pro, hit=hit, writer=seen.setdefault(name, case.id) if hit else ""))
        seen.setdefault(name, case.id)
    return saving("a cache that is never wrong", rows, repeats=repeats(asked))


# ---- all of it ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Limits:
    """What may be lost, stated before anything is looked at."""

    margins: tuple[float, ...]
    false_hits: float
    false_lookups: float
    lookups: int


async def measure(golden: str, base: Mapping[str, Any], limits: Limits) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        project = Project.open(reports=folder, cache_audit=0.0)
        known = project.golden(golden)
        for case in known.cases:
            if case.group:
                GROUPS[case.group] = GROUPS.get(case.group, frozenset()) | {case.id}
        context = open_context(known.card.corpus, project.settings)
        holdout = known.holdout(why="bench/savings.py", ledger=project.settings.holdout_ledger)
        bench = Bench(project, context, golden, {"cache.lookup": {"name": "none"}, "route.escalate": {"name": "none"}, **base}, holdout)
        for changes, name in ((LITE, "lite"), (PRO, "pro")):
            await bench.evaluated(changes, "tune", name)
        files = [folder / "runs" / name / "cases.jsonl" for name in ("lite", "pro")]
        await bench.outcomes_of()

        routing, router = await _routing(bench, files, limits.margins)
        labels = await cache_labels(bench, folder)
        caches = [chosen(bench, labels, limits.false_hits), chosen(bench, labels, limits.false_lookups, "per_decision")]
        cache = next((one for one in caches if one.spec), None)
        caching = await _caching(bench, cache.spec if cache else {}, router, limits.lookups)
        return {
            "golden": golden,
            "lookups": limits.lookups,
            "prices": price_list(project.settings).label,
            "tune": len(known.tune().cases),
            "holdout": len(holdout.cases),
            "paraphrase_groups": sum(len(ids & {case.id for case in holdout.cases}) > 1 for ids in GROUPS.values()),
            "cache_calibrations": [one.row for one in caches],
            "other_questions": sum(one.loss > 0 for one in labels.examples) / len(labels.examples),
            **routing,
            **caching,
        }


async def _routing(bench: Bench, files: Sequence[Path], margins: Sequence[float]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Every router at every margin; the one for the traces is that which saves most on tune at the first margin that has any."""
    arms = [
        replace(saving(DEAR_ARM, bench.by_tier(lambda _: False)), loss_bound=0.0),  # it is what the others are compared with
        saving("always the cheap tier", bench.by_tier(lambda _: True)),
        await routed(bench, "rules, as written by hand", {"route.router": {"name": "rules"}}),
    ]
    labels = {model: await labelled(bench, "router", files, model=model) for model in ROUTERS}
    calibrations: list[dict[str, Any]] = []
    router: Mapping[str, Any] = {}
    for margin in margins:
        found = {model: chosen(bench, labels[model], margin) for model in ROUTERS}
        calibrations += [{"model": model, **one.row} for model, one in found.items()]
        safe = {model: one for model, one in found.items() if one.spec}
        for model, one in safe.items():
            arms.append(await routed(bench, f"{model}, at most {margin:g} lost", {"route.router": one.spec}))
        if safe:  # by what it saves on tune: the holdout chooses nothing
            best = max(safe, key=lambda model: safe[model].calibration.point.benefit)  # used at once
            router = router or {"route.router": safe[best].spec}
            arms += at_equal_cost(bench, next(arm for arm in arms if arm.arm == f"{best}, at most {margin:g} lost"))
    oracle = bench.by_tier(lambda case: bench.outcomes[case.id][0][1] >= bench.outcomes[case.id][1][1])
    arms.append(saving("oracle", oracle, note="the cheap tier wherever it is as good"))
    return {"routing": [arm.row for arm in arms], "router_calibrations": calibrations, "chosen_router": dict(router)}, router or PRO


async def _caching(bench: Bench, lookup: Mapping[str, Any], router: Mapping[str, Any], lookups: int) -> dict[str, Any]:
    cases = bench.holdout.cases
    traces = {"zipf": zipf_trace(cases, lookups, SEED), "once": once_each(cases, SEED)}
    exact = {"cache.lookup": {"name": "exact"}}
    rules = {"route.router": {"name": "rules"}}
    arms: dict[str, Mapping[str, Any]] = {
        "router alone": {**router},
        "exact cache": {**PRO, **exact},
        "rules and exact cache": {**rules, **exact},
    }
    if lookup:
        arms["semantic cache, calibrated"] = {**PRO, "cache.lookup": lookup}
        arms["router and semantic cache"] = {**router, "cache.lookup": lookup}
    arms["router and exact cache"] = {**router, **exact}
    found: dict[str, Any] = {}
    for name, asked in traces.items():
        rows = [await served(bench, arm, asked, changes) for arm, changes in arms.items()]
        found[f"trace_{name}"] = [one.row for one in (*rows, perfect_cache(bench, asked))]
        found[f"trace_{name}_repeats"] = repeats(asked)
    return found


def markdown(report: Mapping[str, Any]) -> str:
    lines = ["# What routing and caching save on TechCorp", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += [
        f"Made by `{report['command']}`. {report['golden']}: thresholds by {report['tune']} questions of tune, figures of",
        f"{report['holdout']} questions of the holdout. Money is simulated, that of the models that local readers stand in for: ",
        f"{report['prices']}. Saved: share of the dollars of always asking the dear tier, with its 95 % interval. Lost: quality against",
        "it, with its one-sided 95 % bound. Both over clusters: questions of one document stand and fall together.",
        "",
        *[f"- {line}" for line in findings(report)],
        "",
        "## Routing",
        "",
        _routing_table(report["routing"]),
        "",
        *[_calibration_line(f"Router {one['model']}", one, "quality lost") for one in report["router_calibrations"]],
        "",
        f"In the traces below: `{json.dumps(report['chosen_router'])}`, by what it saves on tune.",
        "",
        "## Caching",
        "",
        *[_calibration_line("Semantic cache", one, _FALSE[one["kind"]]) for one in report["cache_calibrations"]],
        "",
        f"The first safe one is used. {report['other_questions']:.0%} of its labels are other questions, most of them made to be taken for",
        "the same one; they are rarer among questions as they come.",
    ]
    for name, title in (("zipf", f"{report['lookups']} questions by Zipf's law"), ("once", "every wording of the holdout once")):
        again = report[f"trace_{name}_repeats"]
        lines += ["", f"### {title}: {again} of a group that was asked before", "", _cache_table(report[f"trace_{name}"])]
    return "\n".join(lines)


def findings(report: Mapping[str, Any]) -> list[str]:
    """What the figures say, in words that change with them."""
    routing = {one["arm"]: one for one in report["routing"]}
    said = []
    for arm in [name.removeprefix("chance, at the cost of ") for name in routing if name.startswith("chance")]:
        one, chance = routing[arm], routing[f"chance, at the cost of {arm}"]
        alike = (
            "; no router is needed for it: chance is shown to lose as little" if chance["loss_bound"] <= one["loss_bound"] + 0.005 else ""
        )
        said.append(f"Router ({arm}): {_words(one)}. Chance at that cost loses at most {chance['loss_bound']:+.3f}{alike}.")
    said.append(f"Rules, as written by hand: {_words(routing['rules, as written by hand'])}.")
    trace = {one["arm"]: one for one in report["trace_zipf"]}
    for arm in (name for name in trace if "cache" in name and "never" not in name):
        false = f"{trace[arm]['false_of_hits']:.2%} of its hits false, " if trace[arm]["hits"] else ""
        said.append(f"{arm[0].upper()}{arm[1:]}, of questions by Zipf's law: {trace[arm]['hits']:.1%} hits, {false}{_words(trace[arm])}.")
    once = {one["arm"]: one for one in report["trace_once"]}
    if (one := once.get("semantic cache, calibrated")) is not None:
        said.append(
            f"Other words for a question that was asked before: the semantic cache reuses {one['reused']:.0%} of them, and "
            f"{one['false_of_lookups']:.2%} of the look-ups are false hits."
        )
    return said


def _words(one: Mapping[str, Any]) -> str:
    saved = f"{one['saved']:.1%} [{one['saved_low']:.1%}, {one['saved_high']:.1%}]"
    return f"saves {saved}, loses {one['loss']:+.3f}, at most {one['loss_bound']:+.3f}"


_FALSE = {"per_action": "false hits of hits", "per_decision": "false hits of look-ups"}


def _calibration_line(name: str, one: Mapping[str, Any], what: str) -> str:
    """One calibration's outcome, in a line."""
    goal = f"at most {one['level']:g} {what}, {one['labels']} labels in {one['groups']} groups"
    if one["threshold"] is None:
        return f"- {name}, {goal}: **no safe threshold**. {one['reason']}"
    return f"- {name}, {goal}: threshold {one['threshold']:.4g}, shown to be at most {one['bound']:.3f} with 95 % confidence."


def _share(one: Mapping[str, Any]) -> list[str]:
    saved = f"{one['saved']:.1%} [{one['saved_low']:.1%}, {one['saved_high']:.1%}]"
    return [f"{one['usd']:.6f}", saved, f"{one['loss']:+.3f}", f"{one['loss_bound']:+.3f}"]


def _routing_table(rows: Sequence[Mapping[str, Any]]) -> str:
    oracle = next(one["saved"] for one in rows if one["arm"] == "oracle")
    body = [[one["arm"], f"{one['cheap']:.0%}", *_share(one), f"{one['saved'] / oracle:.0%}"] for one in rows]
    return table(["arm", "cheap tier", "$ a question", "saved", "lost", "lost, bound", "of the oracle's saving"], body)


def _cache_table(rows: Sequence[Mapping[str, Any]]) -> str:
    body = [
        [
            one["arm"],
            f"{one['hits']:.1%}",
            f"{one['reused']:.1%}",
            f"{one['false_of_hits']:.2%}",
            f"{one['false_of_lookups']:.2%}",
            *_share(one),
        ]
        for one in rows
    ]
    return table(["arm", "hits", "reused", "false of hits", "false of look-ups", "$ a question", "saved", "lost", "lost, bound"], body)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--set", nargs="*", default=[], metavar="PATH=JSON", help="other values of the base configuration")
    parser.add_argument("--margins", nargs="+", type=float, default=[0.05, 0.08], help="quality that a router may lose; the gate's is 0.08")
    parser.add_argument("--false-hits", type=float, default=0.01, help="share of the cache's hits that may be false")
    parser.add_argument("--false-lookups", type=float, default=0.03, help="share of all look-ups that may be, where that cannot be shown")
    parser.add_argument("--lookups", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=REPORTS)
    asked = parser.parse_args()
    base = {path: json.loads(value) for path, _, value in (change.partition("=") for change in asked.set)}
    limits = Limits(tuple(asked.margins), asked.false_hits, asked.false_lookups, asked.lookups)
    report = asyncio.run(measure(asked.golden, base, limits))
    report["machine"] = machine("genai-prices", "numpy", "scikit-learn", "onnxruntime")
    report["command"] = " ".join(["python bench/savings.py", *map(shlex.quote, sys.argv[1:])])
    write_report("savings", report, markdown(report), asked.out)
    print(markdown(report))


if __name__ == "__main__":
    main()
