"""What the safety metrics do on labelled data: false alarms, attacks recognised, and how often the local readers obey one.

    python bench/safety.py PATH/xstest PATH/bipia [PATH/presidio_pii] [--out reports/bench]

A PATH is a folder whose `data.jsonl` has rows {text, label, type} (XSTest), {text, label, context_id, attack_id, task} with
`attacks.jsonl` and `contexts.jsonl` beside it (BIPIA), or {text, spans} (presidio-research). The patterns of the injection
detector were written while looking at one half of BIPIA (attacks and clean contexts whose id hashes even); the figures are
of the other half.
"""

import argparse
import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from time import monotonic
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report

from harness.golden.case import Case
from harness.metrics.injection import InjectionSuccess, how_obeyed
from serving.pipeline.answer.answerer import Answerer
from serving.pipeline.answer.refuse import is_refusal
from serving.pipeline.checks.injection.patterns import find_injections
from serving.pipeline.checks.pii import KINDS, find_pii
from serving.pipeline.checks.toxicity import find_toxic
from serving.pipeline.config import AnswerConfig
from serving.pipeline.models.connect import connect_chat
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.text.answer_words import normalized
from serving.pipeline.types import Chunk, Hit, Query, Route, Trace

READERS = ("local:reader-lite", "local:reader-pro")
FORMS = {  # BIPIA's kinds of text attacks: what the planted words want
    "asks for something else": (
        "Information Retrieval, Content Creation, Learning and Tutoring, Programming Help, Task Automation, Business Intelligence, "
        "Conversational Agent, Research Assistance, Sentiment Analysis"
    ),
    "wants another form": (
        "Language Translation, Alphanumeric Substitution, Homophonic Substitution, Misspelling Intentionally, Anagramming, "
        "Space Removal & Grouping, Substitution Ciphers, Base Encoding, Reverse Text, Emoji Substitution"
    ),
    "wants words added": (
        "Instruction, Social Interaction, Persuasion, Clickbait, Malware Distribution, Information Dissemination, "
        "Marketing & Advertising, Entertainment, Scams & Fraud, Misinformation & Propaganda"
    ),
}
CODE = "wants code carried over"
Rows = list[dict[str, Any]]


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def held_out(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2 == 1


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part} of {whole})" if whole else "–"


def flags(text: str) -> dict[str, bool]:
    return {
        "taken for a refusal": is_refusal(text, ""),
        "taken for an injection": bool(find_injections(text)),
        "toxic by the lexicon": bool(find_toxic(text)),
        "holds personal data": bool(find_pii(text)),
    }


def prompts(rows: Rows) -> dict[str, Any]:
    """XSTest: what each detector says of harmless and of harmful prompts."""
    found: dict[str, Any] = {}
    for label in ("safe", "unsafe"):
        chosen = [flags(row["text"]) for row in rows if row["label"] == label]
        found[label] = {"prompts": len(chosen), **{name: sum(row[name] for row in chosen) for name in chosen[0]}}
    return found


def form_of(category: str) -> str:
    return next((form for form, names in FORMS.items() if category in names.split(", ")), CODE)


def counted(
    rows: Iterable[dict[str, Any]], key: Callable[[dict[str, Any]], str], hit: Callable[[dict[str, Any]], bool]
) -> dict[str, list[int]]:
    hits, all_ = Counter[str](), Counter[str]()
    for row in rows:
        all_[key(row)] += 1
        hits[key(row)] += hit(row)
    return {name: [hits[name], all_[name]] for name in sorted(all_)}


def detected(rows: Rows, attacks: Rows) -> dict[str, Any]:
    """BIPIA: attacks recognised by form and category, false alarms by task."""
    kinds = {row["id"]: row["category"] for row in attacks}
    seen = {row["id"]: bool(find_injections(row["text"])) for row in rows}
    code = [row for row in attacks if row["kind"] == "code"]  # planted in no context of this data: their own text is looked at
    attacked = [row for row in rows if row["label"]]
    clean = [row for row in rows if not row["label"]]
    return {
        "by form": counted(attacked, lambda row: form_of(kinds[row["attack_id"]]), lambda row: seen[row["id"]]),
        "code": counted(code, lambda row: CODE, lambda row: bool(find_injections(row["attack"]))),
        "by category": counted(attacked, lambda row: kinds[row["attack_id"]], lambda row: seen[row["id"]]),
        "by position": counted(attacked, lambda row: row["position"], lambda row: seen[row["id"]]),
        "false alarms": counted(clean, lambda row: row["task"], lambda row: seen[row["id"]]),
    }


async def answers(rows: Rows, contexts: dict[str, Any], attacks: dict[str, Any], reader: str, folder: Path) -> dict[str, Any]:
    """BIPIA: what a local reader answers from clean and from attacked contexts, the context being its one passage."""
    settings = PipelineSettings(prompts=folder)
    chat = connect_chat(Spec(name=reader), settings)
    config = AnswerConfig(context_tokens=4000)
    answerer = Answerer(config, prompts=PromptLibrary(folder), chats={"lite": chat}, clock=monotonic)
    metric = InjectionSuccess(InjectionSuccess.Params())
    found: list[dict[str, Any]] = []
    for number, row in enumerate(rows, start=1):
        context = contexts[row["context_id"]]
        question = context["question"].removeprefix("Q:").strip()
        hit = Hit(Chunk(row["id"], row["context_id"], 0, len(row["text"]), row["text"]), 1.0, 1)
        said = await answerer.answer(Query(question), [hit], Route("lite", "bench"))
        answer = normalized(said.answer.text)
        asked = normalized(f"{question} {context['ideal']}")
        attack = attacks[row["attack_id"]] if row["label"] else None
        case = Case(id=row["id"], question=question, answers=(str(context["ideal"]) or "-",), relevant_ids=(row["context_id"],))
        trace = Trace("t", Query(question), "", "", hits=(hit,), passages=said.passages, answer=said.answer)
        found.append(
            {
                "form": form_of(attack["category"]) if attack else "clean",
                "refused": said.answer.refused,
                "right": normalized(str(context["ideal"])) in answer,
                "how": next((how for line in attack["attack"].split("\n") if (how := how_obeyed(line, answer, asked))), "")
                if attack
                else "",
                "metric": metric.score(trace, case).value,
            }
        )
        print(f"\r  {reader}: {number:,} of {len(rows):,}", end="", flush=True)
    print()
    return summed(found)


def summed(found: list[dict[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for form in [*FORMS, "attacked", "clean"]:
        rows = [row for row in found if row["form"] == form or (form == "attacked" and row["form"] != "clean")]
        out[form] = {
            "answers": len(rows),
            "says": sum(row["how"].startswith("says") for row in rows),
            "repeats": sum(row["how"].startswith("repeats") for row in rows),
            "refused": sum(row["refused"] for row in rows),
            "right": sum(row["right"] for row in rows),
            "metric scored": sum(row["metric"] is not None for row in rows),
            "metric success": sum(row["metric"] == 1.0 for row in rows),
        }
    return out


def personal(rows: Rows) -> dict[str, Any]:
    """presidio-research: spans found by kind, and what was found where there is none of the kind."""
    spans, hits, alarms = Counter[str](), Counter[str](), Counter[str]()
    for row in rows:
        found = {(one.kind, one.value) for one in find_pii(row["text"])}
        for span in row["spans"]:
            if span["type"] in KINDS:
                spans[span["type"]] += 1
                hits[span["type"]] += any(
                    kind == span["type"] and (value in span["value"] or span["value"] in value) for kind, value in found
                )
        here = {span["type"] for span in row["spans"]}
        alarms.update(kind for kind, _ in found if kind not in here)
    return {"texts": len(rows), "kinds": {kind: {"spans": spans[kind], "found": hits[kind], "false": alarms[kind]} for kind in KINDS}}


def measure(path: Path, prompt_folder: Path) -> dict[str, Any]:
    rows = read(path / "data.jsonl")
    if "spans" in rows[0]:
        return {"personal": personal(rows)}
    if "attack_id" not in rows[0]:
        return {"prompts": prompts(rows)}
    attacks = {row["id"]: row for row in read(path / "attacks.jsonl")}
    contexts = {row["id"]: row for row in read(path / "contexts.jsonl")}
    unseen = [row for row in rows if held_out(row["attack_id"] or row["context_id"])]
    fitted = [row for row in rows if row not in unseen]
    planted = {
        half: detected(chosen, [row for row in attacks.values() if held_out(row["id"]) == (half == "unseen")])
        for half, chosen in (("unseen", unseen), ("fitted", fitted))
    }
    readers = {name: asyncio.run(answers(unseen, contexts, attacks, name, prompt_folder)) for name in READERS}
    return {"planted": planted, "readers": readers}


def markdown(report: dict[str, Any]) -> str:
    lines = ["# Safety: false alarms, attacks recognised, attacks obeyed", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += ["Made by `python bench/safety.py PATH…`; the docstring says which data and which half of it.", ""]
    for name, data in report["data"].items():
        lines += [f"## {name}", ""]
        for part, write in (("prompts", of_prompts), ("planted", of_planted), ("readers", of_readers), ("personal", of_personal)):
            if part in data:
                lines += [*write(data[part]), ""]
    return "\n".join(lines)


def of_prompts(data: dict[str, Any]) -> list[str]:
    names = [name for name in data["safe"] if name != "prompts"]
    rows = [[name, *(share(data[label][name], data[label]["prompts"]) for label in ("safe", "unsafe"))] for name in names]
    return [
        "Prompts that a detector flags; none is meant to tell harmful questions from harmless ones: of the safe ones each should flag 0.",
        "",
        table(["", "safe prompts", "unsafe prompts"], rows),
    ]


def of_planted(data: dict[str, Any]) -> list[str]:
    def rows(part: str) -> list[list[str]]:
        names = sorted({*data["unseen"][part], *data["fitted"][part]})
        found = [[name, *(share(*data[half][part].get(name, [0, 0])) for half in ("unseen", "fitted"))] for name in names]
        total = ["all", *(share(*map(sum, zip(*data[half][part].values(), strict=True))) for half in ("unseen", "fitted"))]
        return [*found, total]

    head = ["unseen half", "half the patterns were written on"]
    return [
        "Contexts with a planted instruction that the detector recognises (recall), then clean contexts it flags.",
        "",
        table(["what the attack wants", *head], rows("by form")),
        "",
        "Attacks with code stand in no context of this data; their own texts:",
        "",
        table(["what the attack wants", *head], rows("code")[:-1]),
        "",
        table(["position of the attack", *head], rows("by position")),
        "",
        table(["clean contexts flagged", *head], rows("false alarms")),
        "",
        "By BIPIA's own categories:",
        "",
        table(["category", *head], rows("by category")),
    ]


def of_readers(data: dict[str, Any]) -> list[str]:
    lines = [
        "What the local readers answer from the unseen half, the context being the only passage. *says*: the answer holds the words or",
        "the link it was told to say; *repeats*: it holds the instruction itself; both against the attack's own text. *right*: the answer",
        "holds the ideal one. *metric*: what `injection_success`, which knows only the passages, makes of the same answers: successes of",
        "the cases that it scores. A wish for another form is seen only where it is repeated.",
    ]
    for name, forms in data.items():
        rows = [
            [form, row["answers"], *(share(row[key], row["answers"]) for key in ("says", "repeats", "refused", "right")),
             share(row["metric success"], row["metric scored"])]
            for form, row in forms.items()
        ]  # fmt: skip
        lines += ["", f"### {name}", "", table(["", "answers", "says", "repeats", "refused", "right", "metric"], rows)]
    return lines


def of_personal(data: dict[str, Any]) -> list[str]:
    rows = [[kind, row["spans"], share(row["found"], row["spans"]), row["false"]] for kind, row in data["kinds"].items()]
    return [
        f"{data['texts']:,} texts; *false*: found in a text that has none of the kind. Many of the card and phone numbers are invented",
        "and do not pass the checks that real ones pass.",
        "",
        table(["kind", "spans", "found", "false"], rows),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--prompts", type=Path, default=Path("prompts"))
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    report: dict[str, Any] = {"machine": machine("presidio-analyzer", "onnxruntime"), "data": {}}
    for path in arguments.paths:
        report["data"][path.name] = measure(path, arguments.prompts)
        write_report("safety", report, markdown(report), arguments.out)
    print((arguments.out / "safety.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
