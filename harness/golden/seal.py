"""Sealing a golden set: quotes get their offsets, everything is checked, and the sums are written."""

import json
from pathlib import Path

from harness.golden.case import Case, Evidence
from harness.golden.load import SEALED, load_golden
from harness.golden.sets import GoldenSet
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError
from serving.pipeline.files import write_text
from serving.pipeline.index.corpus import Corpus


def seal(root: Path, name: str, corpus: Corpus) -> GoldenSet:
    """Find the offsets of quotes that have none, check everything, and write SHA256; nothing is written when a check fails."""
    golden = load_golden(root, name, sealed=False)
    texts = {document.id: document.text for document in corpus.documents}
    cases = [_located(case, texts, f"{golden.folder / 'cases.jsonl'}:{golden.lines[case.id]}") for case in golden.cases]
    whole = GoldenSet(golden.folder, golden.card, tuple(cases), golden.lines, golden.digest)
    if problems := whole.check(corpus):
        raise DataError("\n".join(problems[:20]))
    lines = [json.dumps(_line(case), ensure_ascii=False) for case in cases]
    write_text(golden.folder / "cases.jsonl", "\n".join(lines) + "\n")
    sums = [f"{sha256_file(golden.folder / file)}  {file}" for file in SEALED]
    write_text(golden.folder / "SHA256", "\n".join(sums) + "\n")
    return load_golden(root, golden.id)


def _line(case: Case) -> dict[str, object]:
    """A case as it is written: what is empty is left out, and `answerable` only said where it is false."""
    values = case.model_dump(mode="json")
    return {name: value for name, value in values.items() if value not in ("", [], True, "answer")}


def _located(case: Case, texts: dict[str, str], where: str) -> Case:
    found: list[Evidence] = []
    for evidence in case.evidence:
        text = texts.get(evidence.document, "")
        if evidence.start >= 0 or not text:
            found.append(evidence)
            continue
        times = text.count(evidence.quote)
        if times != 1:
            raise DataError(f"{where}: the quote {evidence.quote[:60]!r} stands {times} times in {evidence.document!r}; once is needed.")
        start = text.index(evidence.quote)
        found.append(evidence.model_copy(update={"start": start, "end": start + len(evidence.quote)}))
    return case.model_copy(update={"evidence": tuple(found)})
