"""`touchstone golden import`: other people's golden sets as ordinary ones."""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import AsJson, print_json
from harness.settings import HarnessSettings, read_settings
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus

SHOWN = 3  # settings named for each reason


def import_set(
    source: Annotated[
        list[str],
        typer.Argument(metavar="[FORMAT] SOURCE", help="A file or folder; the format before it: cases, ids, spans, beir or squad."),
    ],
    name: Annotated[str, typer.Option("--name", help="Name of the new golden set, and of its corpus.")],
    corpus: Annotated[
        str, typer.Option("--corpus", help="Its documents: a known corpus, a folder or a .jsonl file; default: beside it.")
    ] = "",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Only the first so many cases; the documents stay whole.")] = None,
    domain_from: Annotated[str, typer.Option("--domain-from", metavar="KEY", help="Key of the metadata that names the domain.")] = "",
    split_file: Annotated[str, typer.Option("--split-file", metavar="NAME", help="BEIR: which file of qrels/, e.g. test.")] = "",
    licence: Annotated[str, typer.Option("--licence", help="The licence, for the card.")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Nothing may be left out.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a golden set and its corpus of JSONL, BEIR or SQuAD; the format is guessed where only one fits."""
    from harness.golden.check import split_sizes
    from harness.golden.formats import FORMATS, format_of
    from harness.golden.formats.base import ReadOptions
    from harness.golden.importing import ImportedSet, ImportOptions, check_free, import_golden
    from harness.golden.write import NAME
    from serving.pipeline.registry import Spec

    if len(source) > 2:
        raise ConfigError(f"One source at a time, not {len(source) - 1}: touchstone golden import [FORMAT] SOURCE --name NAME")
    settings, path = read_settings(), Path(source[-1])
    format_name = format_of(path, source[0] if len(source) == 2 else "")
    known = corpus if NAME.fullmatch(corpus) and (settings.datasets / "corpora" / corpus).exists() else ""
    options = ImportOptions(name, format_name, known, limit, domain_from, strict, licence)
    check_free(settings.datasets, options)
    reader = FORMATS.build(Spec(name=format_name))
    imported: ImportedSet = import_golden(
        settings.datasets, reader.read(path, ReadOptions(_documents(corpus, settings), split_file)), options
    )

    sizes = split_sizes(imported.golden)
    if as_json:
        left_out = [{"where": entry.where, "reason": entry.reason} for entry in imported.left_out]
        numbers = {
            "format": format_name,
            "cases": len(imported.golden.cases),
            "splits": sizes,
            "documents": imported.documents,
            "reasons": imported.reasons,
        }
        golden_facts = {"golden": imported.golden.id, "corpus": imported.golden.card.corpus, "digest": imported.golden.digest}
        print_json({**golden_facts, **numbers, "left_out": left_out, "notes": list(imported.notes)})
        return
    typer.echo(
        f"{imported.golden.id}: {len(imported.golden.cases)} cases ({sizes['tune']} tune, {sizes['holdout']} holdout) "
        f"over {imported.documents} documents of corpus {imported.golden.card.corpus}, format {format_name}"
    )
    for note in imported.notes:
        typer.echo(f"  note: {note}")
    for reason, count in imported.reasons.items():
        where = [entry.where for entry in imported.left_out if entry.reason == reason][:SHOWN]
        typer.echo(f"  left out: {count} × {reason}: {', '.join(where)}{' …' if count > SHOWN else ''}")
    typer.echo(f"\nnext: touchstone golden check {name}\n      touchstone eval --golden {name}")


def _documents(name: str, settings: HarnessSettings) -> Corpus | None:
    from harness.cli.options import read_corpus

    return read_corpus(name, settings) if name else None
