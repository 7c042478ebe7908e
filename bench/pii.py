"""Precision and recall of personal data by kind: our recognisers beside Presidio's own defaults, and false alarms in texts without any.

    python bench/pii.py PATH/presidio_pii [PATH/questions.jsonl …] [--out reports/bench]

The first PATH is a folder whose `data.jsonl` has rows {text, spans, template_id} (presidio-research's synthetic sentences). Presidio's
defaults are its AnalyzerEngine with every recogniser it loads for English, on a blank spaCy pipeline and without the network, at the
threshold it ships (0) and at the one that we hold its recognisers to (0.4). A span is found when a detection of its kind shares
characters with it; a detection is right when it does so. Sentences are filled templates: the two halves have no template in common, and
the patterns and exceptions were written while looking at the first. Further PATHs are JSON lines with a question each, meant to hold no
personal data.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _bench import REPORTS, machine, machine_line, table, write_report

from serving.pipeline.checks.pii import EVERY_KIND, LEAST_CONFIDENCE, find_pii, prepare

LABELLED = ("EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD", "IP_ADDRESS", "US_SSN", "US_DRIVER_LICENSE")


@dataclass(frozen=True, slots=True)
class Found:
    kind: str
    start: int
    end: int


Detect = Callable[[str], Sequence[Found]]


def ours(text: str) -> list[Found]:
    return [Found(one.kind, one.start, one.end) for one in find_pii(text, EVERY_KIND)]


def presidio(threshold: float) -> Detect:
    """Presidio's AnalyzerEngine as it comes, with nothing that needs a model or the network."""
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from tldextract import TLDExtract, tldextract

    tldextract.TLD_EXTRACTOR = TLDExtract(suffix_list_urls=(), cache_dir=None)

    class Blank(SpacyNlpEngine):
        def __init__(self) -> None:
            super().__init__()
            self.nlp: Any = {"en": spacy.blank("en")}

    engine = AnalyzerEngine(nlp_engine=Blank(), supported_languages=["en"])

    def detect(text: str) -> list[Found]:
        results = engine.analyze(text, language="en", score_threshold=threshold)
        return [Found(one.entity_type, one.start, one.end) for one in results]

    return detect


def half_of(row: dict[str, Any]) -> str:
    return "seen" if row["template_id"] % 2 == 0 else "unseen"


def measured(rows: Sequence[dict[str, Any]], detect: Detect) -> dict[str, Any]:
    """Spans, spans found, detections and right ones of each kind, by half; what is detected of kinds that nobody labelled."""
    counts: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
    unlabelled = Counter[str]()
    begin = time.perf_counter()
    for row in rows:
        found = detect(row["text"])
        for kind in LABELLED:
            spans = [span for span in row["spans"] if span["type"] == kind]
            detected = [one for one in found if one.kind == kind]
            count = counts[half_of(row)][kind]
            count["spans"] += len(spans)
            count["found"] += sum(any(one.start < span["end"] and span["start"] < one.end for one in detected) for span in spans)
            count["detections"] += len(detected)
            count["right"] += sum(any(one.start < span["end"] and span["start"] < one.end for span in spans) for one in detected)
        unlabelled.update(one.kind for one in found if one.kind not in LABELLED)
    milliseconds = (time.perf_counter() - begin) * 1000 / len(rows)
    halves = {half: {kind: dict(counts[half][kind]) for kind in LABELLED} for half in ("seen", "unseen")}
    return {"halves": halves, "unlabelled": dict(unlabelled.most_common()), "ms_per_text": round(milliseconds, 3)}


def alarms(path: Path, detect: Detect) -> dict[str, Any]:
    """How many questions that hold no personal data are said to hold some, and of what kinds."""
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    texts = [line.get("question") or line.get("text") for line in lines]
    found = [[one.kind for one in detect(text)] for text in texts]
    return {"texts": len(texts), "flagged": sum(map(bool, found)), "kinds": dict(Counter(kind for kinds in found for kind in set(kinds)))}


def share(part: int, whole: int) -> str:
    return f"{part / whole:.3f} ({part}/{whole})" if whole else "–"


def markdown(report: dict[str, Any]) -> str:
    lines = ["# Personal data: ours beside Presidio's defaults", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += ["Made by `python bench/pii.py PATH…`; the docstring says what counts.", ""]
    for half in ("seen", "unseen"):
        rows = []
        for kind in LABELLED:
            cells = [counts["halves"][half][kind] for counts in report["engines"].values()]
            if cells[0].get("spans"):
                rows.append(
                    [
                        kind,
                        *(share(cell["found"], cell["spans"]) for cell in cells),
                        *(share(cell["right"], cell["detections"]) for cell in cells),
                    ]
                )
        head = [f"recall, {name}" for name in report["engines"]] + [f"precision, {name}" for name in report["engines"]]
        lines += [f"## Templates: {half} half", "", table(["kind", *head], rows), ""]
    lines += ["## Detections of kinds that nobody labelled, in 1,500 texts", ""]
    for name, engine in report["engines"].items():
        said = ", ".join(f"{kind} {count}" for kind, count in engine["unlabelled"].items()) or "none"
        lines += [f"- {name}: {said} ({engine['ms_per_text']} ms a text)"]
    if report["alarms"]:
        rows = [
            [name, engine, share(found["flagged"], found["texts"]), ", ".join(f"{k} {n}" for k, n in found["kinds"].items()) or "–"]
            for name, engines in report["alarms"].items()
            for engine, found in engines.items()
        ]
        lines += ["", "## Questions without personal data that are flagged", "", table(["questions", "by", "flagged", "kinds"], rows)]
    lines += [
        "",
        "Many cards of this data fail the checksum that real ones pass, and many of its telephone numbers exist in no country's plan.",
        "Names, addresses, ages and dates need a language model, which neither has. Ours finds further kinds that the data does not label.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("questions", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    prepare()
    rows = [json.loads(line) for line in (arguments.path / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    engines: dict[str, Detect] = {"ours": ours, "Presidio": presidio(0.0), f"Presidio ≥ {LEAST_CONFIDENCE}": presidio(LEAST_CONFIDENCE)}
    report = {
        "machine": machine("presidio-analyzer", "spacy"),
        "engines": {name: measured(rows, detect) for name, detect in engines.items()},
        "alarms": {f"{path.parent.parent.name}/{path.parent.name}" if path.parent.name.startswith("v") else path.parent.name:
                   {name: alarms(path, detect) for name, detect in engines.items()} for path in arguments.questions},
    }  # fmt: skip
    write_report("pii", report, markdown(report), arguments.out)
    print((arguments.out / "pii.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
