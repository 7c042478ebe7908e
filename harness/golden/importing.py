"""Importing: the contents of a source become a golden set and its corpus."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.golden.case import Case
from harness.golden.draft_checker import DraftChecker, with_domain
from harness.golden.formats.base import SkippedPart, SourceContents
from harness.golden.lines import refuse
from harness.golden.load import golden_sets, load_golden
from harness.golden.sets import Card, GoldenSet
from harness.golden.write import check_name, new_folders, sweep_up, write_version
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError, DataError, IntegrityError
from serving.pipeline.index.corpus import Corpus, load_corpus
from serving.pipeline.registry import near
from serving.pipeline.types import PUBLIC, Document
from serving.storage.files import write_text


@dataclass(frozen=True, slots=True)
class ImportOptions:
    """The options of an import."""

    name: str
    format: str
    corpus: str = ""  # a corpus that is known already; empty: the documents are written as corpus <name>
    limit: int | None = None
    domain_from: str = ""  # key of the metadata that names the domain; default: domain
    strict: bool = False
    licence: str = ""


@dataclass(frozen=True, slots=True)
class ImportedSet:
    """The new set, and what is not in it."""

    golden: GoldenSet
    documents: int
    left_out: tuple[SkippedPart, ...]
    notes: tuple[str, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """How often each reason left something out, the most frequent first."""
        return dict(Counter(entry.reason for entry in self.left_out).most_common())


def check_free(root: Path, options: ImportOptions) -> None:
    """Refuse a name that a golden set or a corpus has already."""
    check_name(options.name)
    sweep_up(*_targets(root, options))
    mend = "Choose another --name, or remove it."
    if (root / "golden" / options.name).exists():
        known = ", ".join(entry for entry in golden_sets(root) if entry.split("/")[0] == options.name)
        raise ConfigError(f"There is a golden set {known or options.name!r} already, and none is overwritten. {mend}")
    if not options.corpus and (root / "corpora" / options.name).exists():
        raise ConfigError(
            f"There is a corpus {options.name!r} already, and none is overwritten. {mend} To use it: --corpus {options.name}."
        )


def import_golden(root: Path, source: SourceContents, options: ImportOptions) -> ImportedSet:
    """Write the set and its corpus, both or none; a problem stops the import, and so does anything left out if strict."""
    check_free(root, options)
    corpus = Corpus.of(options.name, [with_domain(entry, options.domain_from) for entry in source.corpus.documents if entry.text.strip()])
    checker = DraftChecker(corpus, options.domain_from or "domain")
    skipped = source.corpus.skipped
    checker.left_out += [SkippedPart(repr(entry.path), f"a document of the corpus, skipped: {entry.reason}") for entry in skipped]
    checker.left_out += source.left_out
    for draft in source.drafts:
        if options.limit is not None and len(checker.cases) >= options.limit:
            break
        checker.add(draft)
    refuse(checker.problems)
    if options.strict:
        refuse([f"{entry.where}: {entry.reason}" for entry in checker.left_out])
    if not checker.cases:
        why = "; ".join(f"{count} × {reason}" for reason, count in Counter(entry.reason for entry in checker.left_out).most_common(3))
        raise DataError(f"{source.files[0]}: no case is left to import.{f' Left out: {why}.' if why else ''}")
    _check_domains(source, options)
    left_out = tuple(checker.left_out)
    _write(root, corpus, checker.cases, source, left_out, options)
    return ImportedSet(load_golden(root, f"{options.name}/v1"), len(corpus.documents), left_out, source.notes)


def _check_domains(source: SourceContents, options: ImportOptions) -> None:
    """Refuse a domain key that no case and no document has."""
    keys = {key for draft in source.drafts for key, value in draft.metadata.items() if isinstance(value, str)}
    keys |= {key for entry in source.corpus.documents for key in entry.metadata}
    known = sorted(keys | {"domain", "title"})
    if options.domain_from and options.domain_from not in known:
        hint = near(options.domain_from, known)
        raise ConfigError(f"--domain-from {options.domain_from!r}: no case or document has it.{hint} Known: {', '.join(known)}.")


def _write(
    root: Path, corpus: Corpus, cases: Sequence[Case], source: SourceContents, left_out: Sequence[SkippedPart], options: ImportOptions
) -> None:
    card = Card(name=options.name, version=1, corpus=options.corpus or options.name, licence=options.licence, salt=options.name)
    body = _card_text(corpus, cases, source, left_out, options)
    with new_folders(*_targets(root, options)) as (*beside, golden):
        write_version(golden / "v1", card, body, cases)
        for folder in beside:
            write_text(folder / "corpus.jsonl", "".join(_line(document) for document in corpus.documents))
            if load_corpus(folder).digest != corpus.digest:
                raise IntegrityError(f"The documents of {options.name!r} do not read as they were written; nothing was imported.")


def _targets(root: Path, options: ImportOptions) -> list[Path]:
    """The folders that an import makes, the set last: it never stands without its corpus."""
    return [*([] if options.corpus else [root / "corpora" / options.name]), root / "golden" / options.name]


def _line(document: Document) -> str:
    """A document as the loader of .jsonl files reads it."""
    metadata: dict[str, Any] = dict(document.metadata)
    defaults = {"domain": "general", "source": document.id, "version": "", "tenant": PUBLIC, "groups": ()}
    metadata |= {name: getattr(document, name) for name, value in defaults.items() if getattr(document, name) != value}
    row = {"id": document.id, "title": document.title, "text": document.text, "metadata": metadata}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _card_text(
    corpus: Corpus, cases: Sequence[Case], source: SourceContents, left_out: Sequence[SkippedPart], options: ImportOptions
) -> str:
    """The card's text: where the set comes from, what is in it and what is not."""
    retrieval = sum(case.scope == "retrieval" for case in cases)
    refusals = sum(not case.answerable for case in cases)
    parts = [
        f"# {options.name}/v1",
        f"{len(cases)} cases over {len(corpus.documents)} documents, imported from the format `{options.format}`.",
        "\n".join(f"- `{path.name}` sha256 {sha256_file(path)}" for path in source.files),
    ]
    if retrieval:
        parts.append(f"{retrieval} cases have no reference answer and are scored on retrieval only.")
    if refusals:
        parts.append(f"{refusals} cases are unanswerable: the right answer is a refusal.")
    if left_out:
        counts = Counter(entry.reason for entry in left_out).most_common()
        parts.append("Left out:\n" + "\n".join(f"- {count} × {reason}" for reason, count in counts))
    parts += source.limits
    return "\n\n".join(parts) + "\n"
