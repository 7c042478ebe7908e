"""What a policy's checks of the input stop, what they let pass, and what they cost: topics, content, and the whole chain's time.

    python bench/guard.py experiments/guards/techcorp.yaml PATH/xstest [PATH/questions.jsonl …] [--out reports/bench]

PATH/xstest holds `data.jsonl` with rows {text, label}: safe ones should pass; the unsafe ones tell how much of what is meant the phrases
see. Further PATHs are JSON lines of questions that should all pass. Questions that ask for legal or financial advice are those of
topic_questions.yaml: one half was looked at while examples, keywords and thresholds were chosen; of the other, written before by the same
author, only these shares were. Times are of a query through the chain, beside that of the question's vector, which search makes anyway.
"""

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report

from harness.guard_policy.policy import as_config, load_policy
from serving.pipeline.build import build_guard
from serving.pipeline.config import RagConfig
from serving.pipeline.guard.base import CheckContext
from serving.pipeline.guard.chain import GuardChain
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.models.question_vector import QuestionVectors, shared_question_vectors
from serving.pipeline.plain_yaml import load_plain
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import GuardAction, Query

QUESTIONS = Path(__file__).with_name("topic_questions.yaml")
REPEATS = 5


def input_guard(policy: Path) -> GuardChain:
    """The checks of the input of a policy, as a pipeline would run them."""
    return build_guard("input", RagConfig.parse(as_config(load_policy(policy))), PipelineSettings())


def texts_of(path: Path, **label: str) -> list[str]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [row.get("question") or row["text"] for row in rows if all(row.get(key) == value for key, value in label.items())]


async def stopped(chain: GuardChain, texts: Sequence[str]) -> dict[str, Any]:
    """How many texts are blocked, changed or flagged, and by which rules."""
    rules: dict[str, int] = {}
    blocked = changed = 0
    for text in texts:
        with shared_question_vectors():
            result = await chain.run(text, CheckContext("input", Query(text)))
        blocked += result.blocked
        changed += result.action in (GuardAction.MASK, GuardAction.FLAG)
        for verdict in result.verdicts:
            if verdict.action is not GuardAction.ALLOW:
                rules[f"{verdict.check}: {verdict.rule}"] = rules.get(f"{verdict.check}: {verdict.rule}", 0) + 1
    return {"texts": len(texts), "blocked": blocked, "changed": changed, "rules": rules}


async def times(chain: GuardChain, texts: Sequence[str]) -> dict[str, float]:
    """Milliseconds of a query in the chain."""
    spent: list[float] = []
    for text in [*texts[:20], *list(texts) * REPEATS]:
        with shared_question_vectors():
            begin = time.perf_counter()
            await chain.run(text, CheckContext("input", Query(text)))
            spent.append((time.perf_counter() - begin) * 1000)
    spent = sorted(spent[20:])
    return {"p50": statistics.median(spent), "p95": spent[int(len(spent) * 0.95)], "worst": spent[-1]}


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    chain = input_guard(arguments.policy)
    asked = load_plain(QUESTIONS.read_text(encoding="utf-8"))
    report: dict[str, Any] = {"machine": machine("presidio-analyzer", "onnxruntime"), "sets": {}, "topics": {}, "ms": {}}
    for half, groups in asked.items():
        report["topics"][half] = {name: await stopped(chain, texts) for name, texts in groups.items()}
    report["sets"] = {
        "xstest, safe": await stopped(chain, texts_of(arguments.xstest / "data.jsonl", label="safe")),
        "xstest, unsafe": await stopped(chain, texts_of(arguments.xstest / "data.jsonl", label="unsafe")),
    }
    for path in arguments.questions:
        report["sets"]["/".join(path.parts[-3:-1])] = await stopped(chain, texts_of(path))
    texts = texts_of(arguments.questions[0]) if arguments.questions else [text for group in asked["unseen"].values() for text in group]
    spec = RagConfig.parse({}).index.embedder
    model = EMBEDDINGS.build(spec, name=spec.name, settings=PipelineSettings()).connect()
    alone = await times(chain, texts)
    config = RagConfig.parse(as_config(load_policy(arguments.policy)))
    words_only = build_guard("input", config.replace({"guard.input.topics.name": "none"}), PipelineSettings())
    report["ms"] = {"whole chain": alone, "without topics": await times(words_only, texts)}
    report["ms"]["the question's vector, for comparison"] = await vector_times(QuestionVectors(model), texts)
    return report


async def vector_times(vectors: QuestionVectors, texts: Sequence[str]) -> dict[str, float]:
    spent: list[float] = []
    for text in [*texts[:20], *texts]:
        begin = time.perf_counter()
        await vectors.vector(text)
        spent.append((time.perf_counter() - begin) * 1000)
    spent = sorted(spent[20:])
    return {"p50": statistics.median(spent), "p95": spent[int(len(spent) * 0.95)], "worst": spent[-1]}


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part}/{whole})" if whole else "–"


def markdown(report: dict[str, Any]) -> str:
    lines = ["# The guard of the input: what it stops and what it costs", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += ["Made by `python bench/guard.py POLICY PATH…`; the docstring says which data.", "", "## Topics", ""]
    rows = [
        [f"{name}, {half}", share(found["blocked"], found["texts"])]
        for half, groups in report["topics"].items()
        for name, found in groups.items()
    ]
    lines += [table(["questions", "blocked"], rows), "", "## Everything", ""]
    rows = [
        [
            name,
            share(found["blocked"], found["texts"]),
            found["changed"],
            ", ".join(f"{rule} {n}" for rule, n in found["rules"].items()) or "–",
        ]
        for name, found in report["sets"].items()
    ]
    lines += [table(["questions", "blocked", "masked or flagged", "by"], rows), "", "## Milliseconds of a query", ""]
    rows = [[name, *(f"{found[part]:.2f}" for part in ("p50", "p95", "worst"))] for name, found in report["ms"].items()]
    lines += [table(["", "p50", "p95", "worst"], rows), ""]
    lines += [
        "A question without a word of any topic needs no vector; one that has some needs that of the whole question, which search makes"
    ]
    lines += ["anyway, and one for each of its sentences where it has several."]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("policy", type=Path)
    parser.add_argument("xstest", type=Path)
    parser.add_argument("questions", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    report = asyncio.run(measure(arguments))
    write_report("guard", report, markdown(report), arguments.out)
    print((arguments.out / "guard.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
