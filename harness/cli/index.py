"""`touchstone index`: build what retrieval stands on, ahead of time."""

import asyncio
from dataclasses import asdict

from harness.cli.options import DEFAULT_CORPUS, AsJson, ConfigFile, CorpusName, Set, print_json, read_config
from harness.cli.progress import progress_line
from harness.settings import read_settings


def index(config: ConfigFile = None, change: Set = None, corpus: CorpusName = DEFAULT_CORPUS, as_json: AsJson = False) -> None:
    """Build the index of a configuration, or find it there."""
    import typer

    from harness.project import Project

    settings, chosen = read_settings(), read_config(config, change)
    with progress_line(quiet=as_json) as line:
        project = Project(settings, line.update)
        documents = project.corpus(corpus)
        manifest = asyncio.run(project.index(chosen, corpus=corpus))
    if as_json:
        print_json(manifest.model_dump(mode="json") | {"skipped": [asdict(skipped) for skipped in documents.skipped]})
        return
    typer.echo(f"{manifest.documents} documents, {manifest.chunks} chunks: index {manifest.recipe} in {settings.index_root}")
    for skipped in documents.skipped:
        typer.echo(f"  skipped {skipped.path}: {skipped.reason}", err=True)
