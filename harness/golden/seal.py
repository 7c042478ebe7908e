"""Sealing a golden set: quotes get their offsets, everything is checked, and the sums are written."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.golden.case import Case, Evidence
from harness.golden.lines import refuse
from harness.golden.load import SEALED, load_golden
from harness.golden.sets import GoldenSet
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError
from serving.pipeline.index.corpus import Corpus
from serving.storage.files import write_text


def seal(root: Path, name: str, corpus: Corpus) -> GoldenSet:
    """Find the offsets of quotes that have none or moved, check everything, and write SHA256; nothing is written when a check fails."""
    golden = load_golden(root, name, sealed=False)
    texts = {document.id: document.text for document in corpus.documents}
    cases = [locate_case(case, texts, f"{golden.folder / 'cases.jsonl'}:{golden.lines[case.id]}") for case in golden.cases]
    sealed = GoldenSet(golden.folder, golden.card, tuple(cases), golden.lines, golden.digest)
    refuse(sealed.check(corpus))
    write_cases(golden.folder, cases)
    return load_golden(root, golden.id)


def write_cases(folder: Path, cases: Sequence[Case]) -> None:
    """Write the cases and, beside them, the sums of them and of the card that stands there already."""
    write_text(folder / "cases.jsonl", "".join(json.dumps(case_line(case), ensure_ascii=False) + "\n" for case in cases))
    write_text(folder / "SHA256", "".join(f"{sha256_file(folder / file)}  {file}\n" for file in SEALED))


def case_line(case: Case) -> dict[str, object]:
    """A case as it is written: empty fields and default flags are left out."""
    values = case.model_dump(mode="json")
    defaults = {"answerable": True, "scope": "answer"}
    return {name: value for name, value in values.items() if value not in ("", []) and not (name in defaults and value == defaults[name])}


def locate_case(case: Case, texts: Mapping[str, str], where: str) -> Case:
    """The case with the offsets of its quotes; one without any, or that moved in its document, must stand there once."""
    located: list[Evidence] = []
    for evidence in case.evidence:
        text = texts.get(evidence.document, "")
        times = text.count(evidence.quote)
        in_place = evidence.start >= 0 and text[evidence.start : evidence.end] == evidence.quote
        if in_place or not text or (evidence.start >= 0 and times != 1):  # what is wrong with the last one the checks will say
            located.append(evidence)
            continue
        if times != 1:
            raise DataError(f"{where}: the quote {evidence.quote[:60]!r} stands {times} times in {evidence.document!r}; once is needed.")
        start = text.index(evidence.quote)
        located.append(evidence.model_copy(update={"start": start, "end": start + len(evidence.quote)}))
    return case.model_copy(update={"evidence": tuple(located)})
