"""`touchstone index`: build what retrieval stands on, ahead of time."""

import asyncio

from harness.cli.options import DEFAULT_CORPUS, AsJson, ConfigFile, CorpusName, Set, print_json, read_config, read_corpus, read_prompts
from harness.cli.progress import progress_line
from harness.settings import read_settings


def index(config: ConfigFile = None, change: Set = None, corpus: CorpusName = DEFAULT_CORPUS, as_json: AsJson = False) -> None:
    """Build the index of a configuration, or find it there."""
    import typer

    from harness.evaluation.factory import PipelineFactory

    settings = read_settings()
    documents = read_corpus(corpus, settings)
    chosen = read_config(config, change)
    with progress_line(quiet=as_json) as line:
        factory = PipelineFactory(settings, documents, read_prompts(settings), lambda done, total: line.update("indexing", done, total))
        manifest = asyncio.run(factory.index(chosen)).manifest
    if as_json:
        print_json(manifest.model_dump(mode="json") | {"skipped": [skipped.path for skipped in documents.skipped]})
        return
    typer.echo(f"{manifest.documents} documents, {manifest.chunks} chunks: index {manifest.recipe} in {settings.index_root}")
    for skipped in documents.skipped:
        typer.echo(f"  skipped {skipped.path}: {skipped.reason}", err=True)
