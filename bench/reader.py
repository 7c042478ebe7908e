"""How well the local readers answer new questions, asked as a new user would: right, partly, wrong, wrongly refused.

    python bench/reader.py [--half development|untouched|fresh|all] [--old FOLDER] [--show] [--out reports/bench]

bench/new_questions.jsonl holds the questions with what their answers must say, looked up in the documents of techcorp. The reader was
worked on with `development` in sight. `untouched` was asked once, and two faults that it showed (letters that happen to shorten a name, a
quantity that no passage states) were mended; `fresh` was written before its answers were seen, and asked once after. Everything is the
default configuration.
FOLDER is a checkout of an older version that answers the same questions: git worktree add FOLDER COMMIT. --show prints every answer of the
halves asked for. Writes reports/bench/reader.{json,md}.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from _bench import machine, machine_line, table, write_report

from harness.evaluation.factory import PipelineFactory
from harness.settings import read_settings
from serving.pipeline.config import RagConfig
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.text.answer_words import contains_fact, normalized
from serving.pipeline.types import Query

QUESTIONS = Path(__file__).with_name("new_questions.jsonl")
HALVES = ("development", "untouched", "fresh")
VERDICTS = ("right", "partly", "wrong", "wrongly refused")


def verdict(case: dict[str, Any], answer: str, *, refused: bool) -> str:
    """What an answer is worth: all facts and nothing that is false, some of them, none, or a refusal where there is an answer."""
    if case.get("refuse"):
        return "right" if refused else "wrong"
    if refused:
        return "wrongly refused"
    said = normalized(answer)
    found = [any(contains_fact(said, spelling) for spelling in fact) for fact in case["facts"]]
    false = any(contains_fact(said, other) for other in case.get("not", ()))
    if all(found):
        return "partly" if false else "right"
    return "partly" if any(found) and not false else "wrong"


async def answered(cases: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every question with its answer by the default configuration, and what that is worth."""
    settings = read_settings()
    corpus = load_corpus(settings.datasets / "corpora" / "techcorp")
    pipeline = await PipelineFactory(settings, corpus, PromptLibrary(settings.prompts)).pipeline(RagConfig())
    rows = []
    for case in cases:
        answer = (await pipeline.answer(Query(case["question"]))).answer
        rows.append(case | {"answer": answer.text, "model": answer.model, "verdict": verdict(case, answer.text, refused=answer.refused)})
    return rows


def of_checkout(checkout: Path, half: str) -> list[dict[str, Any]]:
    """The same by an older version."""
    command = [sys.executable, str(Path(__file__).absolute()), "--half", half, "--rows"]
    environment = os.environ | {"PYTHONPATH": str(checkout.absolute())}
    return list(json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout))


def counted(rows: list[dict[str, Any]]) -> list[str]:
    """Each verdict's share."""
    counts = Counter(row["verdict"] for row in rows)
    return [f"{counts[name]} ({counts[name] / len(rows):.0%})" for name in VERDICTS]


def markdown(data: dict[str, Any]) -> str:
    header = ["", "questions", *VERDICTS]
    rows: list[list[object]] = []
    for version, answers in data["answers"].items():
        for half in HALVES:
            of_half = [row for row in answers if row["half"] == half]
            if of_half:
                rows.append([f"{version}, {half}", len(of_half), *counted(of_half)])
    now = data["answers"]["now"]
    kinds = dict.fromkeys(row["kind"] for row in now)
    by_kind = [[kind, sum(row["kind"] == kind for row in now), *counted([row for row in now if row["kind"] == kind])] for kind in kinds]
    return "\n\n".join(
        [
            "# The local readers on new questions",
            f"Machine: {machine_line(data['machine'])}. Questions of a hurried employee, a careful buyer and a support agent over techcorp "
            "with the default configuration, restricted documents out of reach. Right: all that was asked for and nothing false beside it. "
            "Partly: some of it, or something false beside it. The reader was worked on with `development` in sight; `untouched` was asked "
            "once and two faults that it showed were mended (its row is from after); `fresh` was asked once, at the end. "
            f"Made by `python bench/reader.py{' --old FOLDER' if len(data['answers']) > 1 else ''}`; the answers are in reader.json.",
            table(header, rows),
            "By kind, all of them:",
            table(header, by_kind),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=[*HALVES, "all"], default="all")
    parser.add_argument("--old", type=Path)
    parser.add_argument("--show", action="store_true")
    parser.add_argument("--rows", action="store_true", help="print the answers as JSON and write no report")
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    asked = parser.parse_args()
    cases = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    rows = asyncio.run(answered([case for case in cases if asked.half in (case["half"], "all")]))
    if asked.rows:
        print(json.dumps(rows))
        return
    for row in rows if asked.show else ():
        print(f"{row['verdict']:>15}  {row['id']} {row['question']}\n{'':>17}{row['answer']}")
    answers = {"now": rows} | ({"before": of_checkout(asked.old, asked.half)} if asked.old else {})
    data = {"machine": machine(), "answers": answers}
    for version, of_version in answers.items():
        print(version, dict(zip(VERDICTS, counted(of_version), strict=True)))
    if asked.half == "all":
        write_report("reader", data, markdown(data), asked.out)


if __name__ == "__main__":
    main()
