"""`touchstone index`: build what retrieval stands on, ahead of time."""

import asyncio

from harness.cli.options import (
    DEFAULT_CORPUS,
    AsJson,
    ConfigFile,
    CorpusName,
    Set,
    print_json,
    read_config,
    read_corpus,
    read_prompts,
    settings,
)
from harness.cli.progress import progress_line


def index(config: ConfigFile = None, change: Set = None, corpus: CorpusName = DEFAULT_CORPUS, as_json: AsJson = False) -> None:
    """Build the index of a configuration, or find it there."""
    import typer

    from harness.workshop import Workshop

    places = settings()
    documents = read_corpus(corpus, places)
    chosen = read_config(config, change)
    with progress_line(quiet=as_json) as line:
        workshop = Workshop(places, documents, read_prompts(places), lambda done, total: line.update("indexing", done, total))
        manifest = asyncio.run(workshop.index(chosen)).manifest
    if as_json:
        print_json(manifest.model_dump(mode="json") | {"skipped": [skipped.path for skipped in documents.skipped]})
        return
    typer.echo(f"{manifest.documents} documents, {manifest.chunks} chunks: index {manifest.recipe} in {places.index_root}")
    for skipped in documents.skipped:
        typer.echo(f"  skipped {skipped.path}: {skipped.reason}", err=True)
