"""`touchstone ingest`: add documents to what is served."""

import getpass
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.audit import audited_act
from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, print_json
from harness.cli.output.progress import ProgressLine, progress_line
from harness.settings import HarnessSettings, read_settings
from serving.audit.record import Detail
from serving.pipeline.types import PUBLIC

if TYPE_CHECKING:
    from harness.ingest.ingest import Ingest, IngestResult
    from serving.documents.record import DocumentRecord

SHOWN = 20  # skipped files that are named; --json names all


Source = Annotated[
    str, typer.Argument(metavar="SOURCE", help="A folder, a .jsonl file, s3://bucket/prefix, or git+https://host/repo[@ref][#folder].")
]
Prefix = Annotated[
    str | None,
    typer.Option("--as", help="What their ids begin with; default: the source's name. '' replaces documents of a release's own corpus."),
]
Groups = Annotated[list[str] | None, typer.Option("--groups", help="Who may read them: members of one of these. Repeatable.")]
Prune = Annotated[bool, typer.Option("--prune", help="Remove what an earlier run brought and the source has no more.")]
MayBeEmpty = Annotated[
    bool,
    typer.Option(
        "--may-be-empty", help="A source without a document is no mistake, as where files are put now and then; not with --prune."
    ),
]
Index = Annotated[bool, typer.Option("--index/--no-index", help="Index them here for the channel's release; else a server does.")]


def ingest(
    source: Source,
    tenant: Annotated[str, typer.Option("--tenant", help="Who may read them: callers of this tenant.")] = PUBLIC,
    groups: Groups = None,
    domain: Annotated[str, typer.Option("--domain", help="The domain of all of them; default: by folder, as in a corpus.")] = "",
    prefix: Prefix = None,
    prune: Prune = False,
    may_be_empty: MayBeEmpty = False,
    index: Index = True,
    channel: Annotated[str, typer.Option("--channel", help="Whose release they are indexed for.")] = "dev",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done; write nothing.")] = False,
    max_mb: Annotated[float, typer.Option("--max-mb", min=1, help="The most that a bucket or a repository may bring.")] = 2000.0,
    max_seconds: Annotated[float, typer.Option("--max-seconds", min=1, help="How long fetching a repository may take.")] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Add the documents of a source to those that are served. Run it again at any time: only what changed is read and indexed."""
    from harness.ingest.ingest import Ingest, IngestAccess
    from harness.ingest.source import SourceLimits, opened_source
    from serving.documents.open import open_documents
    from serving.pipeline.index.access import group_names
    from serving.release.bundle import open_releases
    from serving.release.channel import find_channel

    settings = read_settings()
    names = group_names(",".join(groups), "--groups") if groups else ()
    store = open_documents(settings)
    if index:
        find_channel(open_releases(settings.releases, settings), channel)  # a name that is none is refused before anything is written
    with progress_line(quiet=as_json) as line:
        with opened_source(source, settings, SourceLimits(megabytes=max_mb, seconds=max_seconds)) as opened:
            run = Ingest(store, opened, IngestAccess(tenant, names, domain), prefix=prefix, uploader=f"ingest:{getpass.getuser()}")
            if dry_run:
                done = run.run(
                    prune=prune, dry_run=True, may_be_empty=may_be_empty, progress=lambda read, total: line.update("reading", read, total)
                )
            else:
                done = _ingested(run, opened.collection, settings, tenant, line, prune=prune, may_be_empty=may_be_empty)
        indexed = None
        if index and not dry_run:
            indexed = run_async(_indexed(settings, channel, lambda made, total: line.update("indexing", made, total)))
    report: dict[str, Any] = asdict(done) | {"dry_run": dry_run, "indexed": indexed, "place": store.place}
    if as_json:
        print_json(report)
        return
    would = "would be " if dry_run else ""
    counts = f"{len(done.added)} documents {would}added, {len(done.changed)} {would}changed, {done.unchanged} unchanged"
    if done.gone:
        counts += f", {len(done.gone)} {would}removed" if prune else f", {len(done.gone)} gone from the source and kept (remove: --prune)"
    typer.echo(counts)
    if indexed is not None:
        failed = f", {indexed['failed']} failed" if indexed["failed"] else ""
        made = f"{indexed['documents']} indexed" if indexed["documents"] or failed else "all are indexed"
        typer.echo(f"{made} for {channel}'s release {indexed['release']}{failed}; servers find them within seconds")
    elif index and not dry_run:
        typer.echo(f"The channel {channel} of {settings.releases} serves nothing yet; they are indexed when it does.")
    for skipped in done.skipped[:SHOWN]:
        typer.echo(f"  skipped {skipped.path}: {skipped.reason}", err=True)
    if len(done.skipped) > SHOWN:
        typer.echo(f"  … and {len(done.skipped) - SHOWN} more; all of them: --json", err=True)


def _ingested(
    run: "Ingest", collection: str, settings: HarnessSettings, tenant: str, line: ProgressLine, *, prune: bool, may_be_empty: bool
) -> "IngestResult":
    """The result of a run; the run and every document that it removes are in the audit trail."""

    @contextmanager
    def removing(records: Sequence["DocumentRecord"]) -> Iterator[None]:
        with ExitStack() as acts:
            for record in records:
                details: dict[str, Detail] = {"collection": collection, "sha256": record.sha256, "bytes": record.bytes}
                acts.enter_context(audited_act(settings, "document.delete", record.id, details, tenant=record.tenant))
            yield

    with audited_act(settings, "document.ingest", collection, {"prune": prune}, tenant=tenant) as result:
        done = run.run(
            prune=prune,
            dry_run=False,
            may_be_empty=may_be_empty,
            progress=lambda read, total: line.update("reading", read, total),
            removing=removing,
        )
        result |= {"added": len(done.added), "changed": len(done.changed), "removed": len(done.gone) if done.pruned else 0}
    return done


async def _indexed(settings: HarnessSettings, channel: str, progress: Any) -> dict[str, Any] | None:
    """Index what is missing for a channel's release; nothing where it has none."""
    from serving.documents.indexing import IndexedDocuments
    from serving.documents.open import open_documents
    from serving.pipeline.index.build import open_index
    from serving.pipeline.index.parse import Parser
    from serving.release.bundle import load_release, open_releases
    from serving.release.channel import find_channel

    releases = open_releases(settings.releases, settings)
    found = find_channel(releases, channel)
    if found is None or not found.stable:
        return None
    release = load_release(releases, found.stable)
    index = await open_index(release.config, release.index.corpus_digest, settings=settings)
    documents = IndexedDocuments(open_documents(settings), release.config, index)
    with Parser() as parser:
        done = await documents.catch_up(parser, progress=progress)
    return {"release": found.stable, "documents": done.documents, "failed": done.failed, "added": documents.view.added}
