"""Accepted candidates become the next version of their set: every old line as it was, then the new ones."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from harness.golden.candidate import Candidate, locate_proposal
from harness.golden.case import Case
from harness.golden.check import set_problems
from harness.golden.lines import refuse
from harness.golden.load import SEALED, load_golden
from harness.golden.queue import Queue
from harness.golden.seal import case_line
from harness.golden.sets import GoldenSet
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError, StoreError
from serving.pipeline.index.corpus import Corpus
from serving.storage.draft import draft_folder
from serving.storage.files import write_bytes, write_text

VERSION = re.compile(r"^version:[ \t]*\d+[ \t]*$", re.MULTILINE)


def publish(root: Path, name: str, corpus: Corpus, *, reviewer: str, today: str) -> GoldenSet:
    """Write version N+1 with every accepted candidate, sealed; whole or not at all, and not when a check fails."""
    if not reviewer.strip():
        raise DataError("A new version needs a reviewer's name: --reviewer NAME.")
    queue = Queue(root / "golden" / name)
    with queue.locked():
        golden = load_golden(root, name)
        chosen = [candidate for candidate in queue.read() if candidate.state == "accepted" and not candidate.published]
        before = {case.id: case for case in golden.cases}
        published_before = {
            candidate.id
            for candidate in chosen
            if candidate.case_id in before and before[candidate.case_id].provenance == candidate.provenance.text
        }
        queue.mark_published(published_before, golden.id)  # a process was killed after it had written the version
        new = [candidate for candidate in chosen if candidate.id not in published_before]
        if not new:
            raise DataError(f"No accepted candidate waits for {golden.card.name}. Accept some: touchstone golden review {golden.card.name}")
        after = _next_version(golden, new, corpus)
        _write(golden, after, card=_card(golden, new, reviewer, today))
        queue.mark_published({candidate.id for candidate in new}, after.id)
        return load_golden(root, after.id)


def _next_version(golden: GoldenSet, candidates: Sequence[Candidate], corpus: Corpus) -> GoldenSet:
    """The next version in memory, checked."""
    lines = dict(golden.lines)
    cases = list(golden.cases)
    for candidate in candidates:
        located = candidate.model_copy(update={"case": locate_proposal(candidate.case, corpus, f"candidate {candidate.id!r}")})
        case = located.as_case()
        if case.id in lines:
            raise DataError(f"candidate {candidate.id!r}: {golden.id} has a case {case.id!r} already. Edit its 'id'.")
        lines[case.id] = max(lines.values()) + 1
        cases.append(case)
    folder = golden.folder.with_name(f"v{golden.card.version + 1}")
    card = golden.card.model_copy(update={"version": golden.card.version + 1})
    after = GoldenSet(folder, card, tuple(cases), lines, "")
    refuse(set_problems(after, corpus))
    return after


def _write(golden: GoldenSet, after: GoldenSet, *, card: str) -> None:
    if after.folder.exists():
        raise DataError(f"{after.folder} is there already, without cases. Move it away.")
    old = (golden.folder / "cases.jsonl").read_bytes()
    new = after.cases[len(golden.cases) :]
    try:
        with draft_folder(after.folder) as draft:
            write_bytes(draft / "cases.jsonl", old + (b"" if old.endswith(b"\n") else b"\n") + _lines(new))
            write_text(draft / "CARD.md", card)
            write_text(draft / "SHA256", "".join(f"{sha256_file(draft / file)}  {file}\n" for file in SEALED))
            draft.rename(after.folder)
    except OSError as error:
        raise StoreError(f"{after.folder} could not be written: {error.strerror or error}.") from error


def _lines(cases: Sequence[Case]) -> bytes:
    return "".join(f"{json.dumps(case_line(case), ensure_ascii=False)}\n" for case in cases).encode()


def _card(golden: GoldenSet, candidates: Sequence[Candidate], reviewer: str, today: str) -> str:
    """The card with the next version and a section on what was added; the rest is unchanged."""
    path = golden.folder / "CARD.md"
    version = golden.card.version + 1
    _, head, body = path.read_text(encoding="utf-8-sig").split("---\n", 2)
    new_head, count = VERSION.subn(f"version: {version}", head)
    if count != 1:
        raise DataError(f"{path}: the front matter needs one line 'version: {golden.card.version}', on its own.")
    title = f"# {golden.id}\n"
    body = body.replace(title, f"# {golden.card.name}/v{version}\n", 1) if body.lstrip().startswith(title) else body
    sources = ", ".join(
        f"{count} {source}" for source, count in sorted(Counter(candidate.provenance.source for candidate in candidates).items())
    )
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(candidate.case.kind for candidate in candidates).items()))
    reviewers = ", ".join(sorted({candidate.reviewer for candidate in candidates}))
    pinned = sum(candidate.provenance.source == "feedback" for candidate in candidates)
    lines = [
        f"{len(candidates)} cases from the queue, after those of v{golden.card.version}, which are as they were; figures above are older.",
        f"Source: {sources}. Kind: {kinds}. Accepted by {reviewers}; published by {reviewer} on {today}.",
        *([f"{pinned} came from feedback and are pinned to the tune split."] if pinned else []),
    ]
    return f"---\n{new_head}---\n{body.rstrip()}\n\n## Added in v{version}\n\n" + "\n".join(lines) + "\n"
