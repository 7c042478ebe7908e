"""Importing: what a format found, held against its documents, becomes an ordinary golden set with its corpus."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.golden.case import Case
from harness.golden.formats.base import LeftOut, SourceContents
from harness.golden.lines import refuse
from harness.golden.load import golden_sets, load_golden
from harness.golden.sets import Card, GoldenSet
from harness.golden.sieve import Sieve, with_domain
from harness.golden.write import check_name, new_folders, write_version
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError, DataError, IntegrityError
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.registry import near
from serving.pipeline.types import PUBLIC, Document
from serving.storage.files import write_text


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """What the user chose for the new set."""

    name: str
    format: str
    corpus: str = ""  # a corpus that is known already; empty: the documents are written as corpus <name>
    limit: int | None = None
    domain_from: str = ""  # key of the metadata that names the domain; default: domain
    strict: bool = False
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Imported:
    """The new set, and what is not in it."""

    golden: GoldenSet
    documents: int
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """How often each thing was left out, the most frequent first."""
        return dict(Counter(one.reason for one in self.left_out).most_common())


def check_free(root: Path, choice: ImportOptions) -> None:
    """Refuse a name that a golden set or a corpus has already."""
    check_name(choice.name)
    mend = "Choose another --name, or remove it."
    if (root / "golden" / choice.name).exists():
        known = ", ".join(one for one in golden_sets(root) if one.split("/")[0] == choice.name)
        raise ConfigError(f"There is a golden set {known or choice.name!r} already, and none is overwritten. {mend}")
    if not choice.corpus and (root / "corpora" / choice.name).exists():
        raise ConfigError(f"There is a corpus {choice.name!r} already, and none is overwritten. {mend} To use it: --corpus {choice.name}.")


def import_golden(root: Path, found: SourceContents, choice: ImportOptions) -> Imported:
    """Write the set and its corpus, both or none; anything malformed stops it, anything left out is told (or stops it, if strict)."""
    check_free(root, choice)
    corpus = Corpus.of(choice.name, [with_domain(one, choice.domain_from) for one in found.corpus.documents if one.text.strip()])
    sieve = Sieve(corpus, choice.domain_from or "domain")
    sieve.left_out += [LeftOut(f"document {one.path!r}", f"a document that is {one.reason}") for one in found.corpus.skipped]
    sieve.left_out += found.left_out
    for draft in found.drafts:
        if choice.limit is not None and len(sieve.cases) >= choice.limit:
            break
        sieve.take(draft)
    refuse(sieve.problems)
    if choice.strict:
        refuse([f"{one.where}: {one.reason}" for one in sieve.left_out])
    if not sieve.cases:
        why = "; ".join(f"{count} × {reason}" for reason, count in Counter(one.reason for one in sieve.left_out).most_common(3))
        raise DataError(f"{found.files[0]}: no case is left to import.{f' Left out: {why}.' if why else ''}")
    _check_domains(found, choice)
    left_out = tuple(sieve.left_out)
    _write(root, corpus, sieve.cases, found, left_out, choice)
    return Imported(load_golden(root, f"{choice.name}/v1"), len(corpus.documents), left_out, found.notes)


def _check_domains(found: SourceContents, choice: ImportOptions) -> None:
    """A key that no case and no document has is most likely a slip of the pen."""
    keys = {key for draft in found.drafts for key, value in draft.about.items() if isinstance(value, str)}
    keys |= {key for one in found.corpus.documents for key in one.metadata}
    known = sorted(keys | {"domain", "title"})
    if choice.domain_from and choice.domain_from not in known:
        raise ConfigError(
            f"--domain-from {choice.domain_from!r}: no case or document has it.{near(choice.domain_from, known)} Known: {', '.join(known)}."
        )


def _write(
    root: Path, corpus: Corpus, cases: Sequence[Case], found: SourceContents, left_out: Sequence[LeftOut], choice: ImportOptions
) -> None:
    card = Card(name=choice.name, version=1, corpus=choice.corpus or choice.name, licence=choice.licence, salt=choice.name)
    body = _body(corpus, cases, found, left_out, choice)
    targets = [*([] if choice.corpus else [root / "corpora" / choice.name]), root / "golden" / choice.name]  # a set never stands without
    with new_folders(*targets) as (*beside, golden):
        write_version(golden / "v1", card, body, cases)
        for folder in beside:
            write_text(folder / "corpus.jsonl", "".join(_line(document) for document in corpus.documents))
            if load_corpus(folder).digest != corpus.digest:
                raise IntegrityError(f"The documents of {choice.name!r} do not read as they were written; nothing was imported.")


def _line(document: Document) -> str:
    """A document as the loader of .jsonl files reads it."""
    about: dict[str, Any] = dict(document.metadata)
    usual = {"domain": "general", "source": document.id, "version": "", "tenant": PUBLIC, "groups": ()}
    about |= {name: getattr(document, name) for name, value in usual.items() if getattr(document, name) != value}
    row = {"id": document.id, "title": document.title, "text": document.text, "metadata": about}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _body(corpus: Corpus, cases: Sequence[Case], found: SourceContents, left_out: Sequence[LeftOut], choice: ImportOptions) -> str:
    """The card's text: where the set comes from, what is in it and what is not."""
    retrieval = sum(case.scope == "retrieval" for case in cases)
    refusals = sum(not case.answerable for case in cases)
    parts = [
        f"# {choice.name}/v1",
        f"{len(cases)} cases over {len(corpus.documents)} documents, imported from the format `{choice.format}`.",
        "\n".join(f"- `{path.name}` sha256 {sha256_file(path)}" for path in found.files),
    ]
    if retrieval:
        parts.append(f"{retrieval} cases have no reference answer and are scored on retrieval only.")
    if refusals:
        parts.append(f"{refusals} cases are unanswerable: the right answer is a refusal.")
    if left_out:
        counts = Counter(one.reason for one in left_out).most_common()
        parts.append("Left out:\n" + "\n".join(f"- {count} × {reason}" for reason, count in counts))
    parts += found.limits
    return "\n\n".join(parts) + "\n"
