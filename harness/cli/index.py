"""`touchstone index`: build an index ahead of time, here or on a Ray cluster."""

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from harness.cli.interrupt import run_async
from harness.cli.options import AsJson, ConfigFile, Set, print_json, read_config
from harness.cli.output.progress import progress_line
from harness.settings import read_settings
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.index.reading import SkippedFile

ENGINES = ("local", "ray")
CorpusName = Annotated[
    str,
    typer.Option(
        "--corpus", help="A folder below datasets/corpora, a folder's path, a .jsonl file, or, with --engine ray, s3://bucket/prefix."
    ),
]
Engine = Annotated[
    str, typer.Option("--engine", help="local: this process. ray: workers of a Ray cluster (RAY_ADDRESS) or of this machine.")
]
WorkerCount = Annotated[int | None, typer.Option("--workers", min=0, help="With --engine ray: parts at a time. Default: one per core.")]
Verify = Annotated[bool, typer.Option("--verify", help="Build nothing; check every file and row of the index that is there.")]


@dataclass(frozen=True, slots=True)
class _Built:
    """An index, with notes on its corpus."""

    manifest: IndexManifest
    public: int
    skipped: tuple[SkippedFile, ...]
    unused_rules: tuple[str, ...]


def index(
    config: ConfigFile = None,
    change: Set = None,
    corpus: CorpusName = "",
    engine: Engine = "local",
    workers: WorkerCount = None,
    verify: Verify = False,
    as_json: AsJson = False,
) -> None:
    """Build the index of a configuration, or find it there, and say who may read its documents.

    With --engine ray a build that was killed goes on when the same command is run again.
    """
    from harness.project import Project

    _check_engine(engine, workers, corpus, verify=verify)
    settings, chosen = read_settings(), read_config(config, change)
    with progress_line(quiet=as_json) as line:
        project = Project(settings, line.update)
        if engine == "ray":
            sharded = run_async(project.index_on_ray(chosen, corpus=corpus, workers=workers or 0))
            built = _Built(sharded.manifest, sharded.public, sharded.skipped, sharded.unused_rules)
        else:
            documents = project.corpus(corpus)
            manifest = run_async(project.verify_index(chosen, corpus=corpus) if verify else project.index(chosen, corpus=corpus))
            built = _Built(manifest, documents.public, documents.skipped, documents.unused_rules)
    manifest = built.manifest
    if as_json:
        access = {"public": built.public, "unused_rules": list(built.unused_rules)}
        files = {"skipped": [asdict(skipped) for skipped in built.skipped]}
        print_json(manifest.model_dump(mode="json") | files | access | ({"verified": True} if verify else {}))
        return
    typer.echo(f"{manifest.documents} documents, {manifest.chunks} chunks: index {manifest.recipe} in {settings.index_root}")
    typer.echo(f"{built.public} documents are public, {manifest.documents - built.public} are restricted")
    if verify:
        typer.echo("verified: every file, row and vector is what was built")
    for rule in built.unused_rules:
        typer.echo(f"  matched no document: {rule}", err=True)
    for skipped in built.skipped:
        typer.echo(f"  skipped {skipped.path}: {skipped.reason}", err=True)


def _check_engine(engine: str, workers: int | None, corpus: str, *, verify: bool) -> None:
    """A `ConfigError` for options that do not go together."""
    if engine not in ENGINES:
        raise ConfigError(f"--engine: no engine {engine!r}. Known: {', '.join(ENGINES)}.")
    if verify and engine != "local":
        raise ConfigError("--verify builds nothing, and is done by this process: leave --engine out.")
    if engine == "local" and workers is not None:
        raise ConfigError("--workers are those of --engine ray; an index is built here by one process.")
    if engine == "local" and corpus.startswith("s3://"):
        raise ConfigError(f"--corpus {corpus}: a bucket is read by workers: add --engine ray.")
