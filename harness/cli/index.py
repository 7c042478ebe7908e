"""`touchstone index`: build what retrieval stands on, ahead of time."""

import asyncio
from typing import Annotated

import typer

from harness.cli.options import DEFAULT_CORPUS, AsJson, ConfigFile, CorpusName, Set, print_json, read_config
from harness.cli.progress import progress_line
from harness.settings import read_settings

Verify = Annotated[bool, typer.Option("--verify", help="Build nothing; check every file and row of the index that is there.")]


def index(
    config: ConfigFile = None, change: Set = None, corpus: CorpusName = DEFAULT_CORPUS, verify: Verify = False, as_json: AsJson = False
) -> None:
    """Build the index of a configuration, or find it there, and say who may read its documents."""
    from harness.project import Project

    settings, chosen = read_settings(), read_config(config, change)
    with progress_line(quiet=as_json) as line:
        project = Project(settings, line.update)
        documents = project.corpus(corpus)
        manifest = asyncio.run(project.verify_index(chosen, corpus=corpus) if verify else project.index(chosen, corpus=corpus))
    if as_json:
        access = {"public": documents.public, "unused_rules": list(documents.unused_rules)}
        files = {"skipped": [skipped.path for skipped in documents.skipped]}
        print_json(manifest.model_dump(mode="json") | files | access | ({"verified": True} if verify else {}))
        return
    typer.echo(f"{manifest.documents} documents, {manifest.chunks} chunks: index {manifest.recipe} in {settings.index_root}")
    typer.echo(f"{documents.public} documents are public, {len(documents.documents) - documents.public} are restricted")
    if verify:
        typer.echo("verified: every file, row and vector is what was built")
    for rule in documents.unused_rules:
        typer.echo(f"  matched no document: {rule}", err=True)
    for skipped in documents.skipped:
        typer.echo(f"  skipped {skipped.path}: {skipped.reason}", err=True)
