"""How well the confidence of an answer agrees with its rightness, on techcorp/v1.

    python bench/confidence.py WORK          answers of the holdout, with the coefficients in the tree; writes reports/bench/confidence.*
    python bench/confidence.py WORK --fit    fits them on the answers of the tune split and rewrites them; the holdout stays unread

WORK is a folder for the answers of each configuration (`tune-<name>.jsonl`, `holdout-<name>.jsonl`); what is there is not made again.
An answer is right when it says every key fact of an answerable question. The local readers quote, so that their answers lack what a
language model does wrong: for the fit, a copy of each answer of three configurations with its first number altered and one that is cut
off are added, at a quarter of an answer's weight each, judged by the same key facts. Cross-validation is by group, on real answers alone.
"""

import argparse
import asyncio
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import date
from pathlib import Path
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report

from harness.calibrate.confidence import JudgedAnswer, fit_confidence, judged_answers, signs_of_trace, was_right
from harness.calibrate.reliability import Reliability, reliability
from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.golden.case import Case
from harness.golden.load import load_golden
from harness.metrics.key_facts import KeyFacts
from harness.reports.reliability import curve_svg
from harness.results.case_result import CaseResult
from harness.results.report_file import read_report
from harness.results.report_file import write_report as write_cases
from harness.settings import HarnessSettings
from harness.stats import Interval
from serving.pipeline.answer.cite import parse_citations
from serving.pipeline.checks.confidence.model import COEFFICIENTS, FittedConfidence, shipped
from serving.pipeline.config import RagConfig
from serving.pipeline.guard.confidence import ConfidenceCheck
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.parts import Parts
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.types import Trace
from serving.storage.files import write_text

GOLDEN = "techcorp/v1"
MINILM = "local:minilm"
METRICS = ("key_facts", "token_f1")
COPIES = 0.25  # weight of a copy, an answer having 1
FOLDS = 10
LITE = {"route.router.name": "always", "route.router.tier": "lite"}
PRO = {"route.router.name": "always", "route.router.tier": "pro"}
SHOWN: dict[str, dict[str, Any]] = {"default": {}, "lite": LITE, "pro": PRO}
CONFIGS: dict[str, dict[str, Any]] = {
    **SHOWN,
    **{f"{name}-kw": tier | {"retrieve.search.name": "keyword"} for name, tier in (("lite", LITE), ("pro", PRO))},
    **{f"{name}-vec": tier | {"retrieve.search.name": "vector"} for name, tier in (("lite", LITE), ("pro", PRO))},
    **{f"{name}-k3": tier | {"retrieve.top_k": 3} for name, tier in (("lite", LITE), ("pro", PRO))},
    "pro-k12": PRO | {"retrieve.top_k": 12, "answer.context_tokens": 3000},
    **{f"{name}-v1": tier | {"answer.prompt.version": 1} for name, tier in (("lite", LITE), ("pro", PRO))},
}
_NUMBER = re.compile(r"(?<![\w\[.,])\d+(?![\w\]]|[.,]\d)")


def check_of(settings: HarnessSettings) -> ConfidenceCheck:
    embeddings = EMBEDDINGS.build(Spec(name=MINILM), name=MINILM, settings=settings).connect()
    return ConfidenceCheck(ConfidenceCheck.Params(), Parts(settings, embeddings=embeddings, embedder=MINILM))


async def answered(work: Path, split: str, names: Sequence[str], settings: HarnessSettings) -> dict[str, Sequence[CaseResult]]:
    """The rows of each configuration, evaluated where they are not there yet."""
    golden = load_golden(settings.datasets, GOLDEN)
    factory: PipelineFactory | None = None
    for name in names:
        path = work / f"{split}-{name}.jsonl"
        if path.exists():
            continue
        if factory is None:
            factory = PipelineFactory(
                settings, load_corpus(settings.datasets / "corpora" / golden.card.corpus), PromptLibrary(settings.prompts)
            )
        cases = golden.tune() if split == "tune" else golden.holdout(why="bench/confidence.py", ledger=work / "looks.jsonl")
        write_cases(await factory.evaluate(RagConfig.parse({}).replace(CONFIGS[name]), cases, Evaluator(METRICS)), path)
        print(f"{split} {name}: answered", flush=True)
    return {name: read_report(work / f"{split}-{name}.jsonl").rows for name in names}


async def judged(rows: Sequence[CaseResult], check: ConfidenceCheck) -> list[JudgedAnswer]:
    return await judged_answers(rows, check)


async def copies(rows: Sequence[CaseResult], check: ConfidenceCheck) -> list[JudgedAnswer]:
    """Answers made worse by rule, judged by the key facts as the others are."""
    made: list[JudgedAnswer] = []
    for row in rows:
        if was_right(row) is None or row.trace is None or not row.case.key_facts:
            continue
        for kind, trace in (("altered", altered(row.trace)), ("cut", cut(row.trace))):
            if trace is not None:
                signs = await signs_of_trace(trace, check)
                made.append(JudgedAnswer(f"{row.case.id} {kind}", row.case.group or row.case.id, signs, says_all(trace, row.case), COPIES))
    return made


def says_all(trace: Trace, case: Case) -> bool:
    return case.answerable and KeyFacts(KeyFacts.Params()).measure(trace, case).value == 1.0


def altered(trace: Trace) -> Trace | None:
    """The first number of the answer, another one."""
    text = _NUMBER.sub(lambda match: str(int(match[0]) * 7 + 3), trace.answer.text, count=1)
    return None if text == trace.answer.text else replace(trace, answer=replace(trace.answer, text=text))


def cut(trace: Trace) -> Trace | None:
    """The first half of the answer, as a limit of output leaves it."""
    text = trace.answer.text[: len(trace.answer.text) // 2].rsplit(" ", 1)[0]
    if not text.strip():
        return None
    citations = parse_citations(text, trace.passages).citations
    return replace(trace, answer=replace(trace.answer, text=text, citations=citations, truncated=True))


def fitted_on(answers: Sequence[JudgedAnswer]) -> FittedConfidence:
    return fit_confidence(answers, embedder=MINILM, data=f"{GOLDEN} tune: {len(CONFIGS)} configurations", date=date.today().isoformat())


async def fit(work: Path) -> None:
    settings = HarnessSettings()
    check = check_of(settings)
    rows = await answered(work, "tune", list(CONFIGS), settings)
    real: dict[str, list[JudgedAnswer]] = {}
    made: list[JudgedAnswer] = []
    for name, configured in rows.items():
        real[name] = await judged(configured, check)
        made += await copies(configured, check) if name in SHOWN else []
        print(f"{name}: {len(real[name])} answers", flush=True)
    everything = [one for answers in real.values() for one in answers]
    fitted = fitted_on([*everything, *made])
    write_text(COEFFICIENTS, fitted.model_dump_json(indent=1) + "\n")
    for embedder, model in fitted.models.items():
        print(embedder, model.weights, model.bias)
    out_of_fold = cross_validated(everything, made)
    for embedder in fitted.models:
        said = [model[embedder] for model in out_of_fold]
        figures = reliability(said, [one.right for one in everything], [one.group for one in everything])
        print(f"tune, out of fold, {embedder}:", text_of(figures))


def cross_validated(real: Sequence[JudgedAnswer], made: Sequence[JudgedAnswer]) -> list[dict[str, float]]:
    """For each answer, the probability by models that have seen nothing of its group."""
    from sklearn.model_selection import GroupKFold

    said: list[dict[str, float]] = [{} for _ in real]
    groups = [one.group for one in real]
    for train, test in GroupKFold(FOLDS, shuffle=True, random_state=0).split(real, groups=groups):
        seen = {groups[row] for row in train}
        fitted = fitted_on([*(real[row] for row in train), *(one for one in made if one.group in seen)])
        for row in test:
            said[row] = {name: model.probability(real[row].signs) for name, model in fitted.models.items()}
    return said


async def measure(work: Path) -> dict[str, Any]:
    settings = HarnessSettings()
    check = check_of(settings)
    rows = await answered(work, "holdout", list(SHOWN), settings)
    fitted = shipped()
    report: dict[str, Any] = {"machine": machine("onnxruntime", "scikit-learn"), "golden": GOLDEN, "fitted": fitted.model_dump()}
    report["configurations"] = {}
    for name, configured in rows.items():
        answers = await judged(configured, check)
        right, groups = [one.right for one in answers], [one.group for one in answers]
        scores = {
            "confidence": [fitted.model_for(MINILM).probability(one.signs) for one in answers],
            "confidence, words only": [fitted.model_for("").probability(one.signs) for one in answers],
            "groundedness alone": [one.signs["groundedness"] for one in answers],
            "similarity alone": [max(0.0, one.signs["similarity"]) for one in answers],
        }
        report["configurations"][name] = {
            "refused": sum(row.trace is not None and row.trace.answer.refused for row in configured),
            "cases": len(configured),
            **{score: asdict(reliability(values, right, groups)) for score, values in scores.items()},
            "verdict": reliability(scores["confidence"], right, groups).verdict,
            "thresholds": [warned(scores["confidence"], right, at) for at in (0.1, 0.15, 0.2, 0.3, 0.4, 0.5)],
        }
        if name == "default":
            write_text(Path("docs/confidence.svg"), curve_svg(reliability(scores["confidence"], right, groups)))
    return report


def warned(said: Sequence[float], right: Sequence[bool], threshold: float) -> dict[str, Any]:
    """What a warning below a threshold does: how many answers it is on, and how many of either part are right."""
    low = [good for value, good in zip(said, right, strict=True) if value < threshold]
    high = [good for value, good in zip(said, right, strict=True) if value >= threshold]
    return {"threshold": threshold, "warned": len(low), "right if warned": sum(low), "not warned": len(high), "right if not": sum(high)}


def text_of(figures: Reliability) -> str:
    parts = {"right": figures.right, "AUC": figures.auc, "Brier": figures.brier, "ECE": figures.error, "gap": figures.gap}
    shown = ", ".join(f"{name} {ends(interval)}" for name, interval in parts.items())
    return f"{shown}; by chance ECE {figures.expected_error:.3f}; {figures.verdict}"


def ends(interval: Interval | dict[str, Any]) -> str:
    one = interval if isinstance(interval, dict) else asdict(interval)
    return "–" if one["mean"] is None else f"{one['mean']:.3f} ({one['low']:.3f} to {one['high']:.3f})"


def markdown(report: dict[str, Any]) -> str:
    fitted = report["fitted"]
    lines = [
        "# Confidence against rightness",
        "",
        f"Machine: {machine_line(report['machine'])}. Made by `python bench/confidence.py WORK`.",
        "",
        f"Fitted on {fitted['answers']:,} answers (copies included) to {fitted['cases']} cases of {fitted['data']}; shown: the holdout of "
        f"{report['golden']}. Right: {fitted['right']}. 95 % intervals over groups of paraphrases.",
        "",
    ]
    for name, data in report["configurations"].items():
        lines += [f"## {name}", "", f"{data['confidence']['right']['count']} answers to {data['cases']} cases ({data['refused']} refused). "
                  f"**{data['verdict'].capitalize()}.**", ""]  # fmt: skip
        scores = [key for key in data if isinstance(data[key], dict)]
        rows = [
            [score, ends(one["auc"]), ends(one["brier"]), f"{one['constant_brier']:.3f}", ends(one["error"]),
             f"{one['expected_error']:.3f}", ends(one["gap"])]
            for score in scores for one in [data[score]]
        ]  # fmt: skip
        lines += [table(["", "AUC", "Brier", "constant", "ECE", "by chance", "said − right"], rows), ""]
        bins = [[f"{one['low']:.2f}–{one['high']:.2f}", one["right"]["count"], f"{one['said']:.3f}", ends(one["right"])]
                for one in data["confidence"]["bins"]]  # fmt: skip
        lines += [table(["confidence", "answers", "said", "right"], bins), ""]
        marks = [
            [one["threshold"], f"{one['warned']} ({one['right if warned']} right)", f"{one['not warned']} ({one['right if not']} right)"]
            for one in data["thresholds"]
        ]
        lines += [table(["threshold", "answers below", "answers above"], marks), ""]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.fit:
        asyncio.run(fit(arguments.work))
        return
    report = asyncio.run(measure(arguments.work))
    write_report("confidence", json.loads(json.dumps(report)), markdown(report), arguments.out)
    print((arguments.out / "confidence.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
