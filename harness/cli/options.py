"""Options that several commands share, and how they find the things they name."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli.output.clean import escaped_json
from harness.evaluation.context import open_corpus
from harness.settings import DEFAULT_CORPUS, HarnessSettings
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.plain_yaml import YamlError, load_plain
from serving.pipeline.prompts import PromptLibrary

USUAL = f"default: the project's only one, else {DEFAULT_CORPUS}"
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="A configuration file; default: every default.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", "-s", metavar="PATH=VALUE", help="Change one config field, e.g. retrieve.top_k=8. Repeatable.")
]
CorpusName = Annotated[
    str, typer.Option("--corpus", help=f"A folder below datasets/corpora, a folder's path, or a .jsonl file; {USUAL}.", show_default=False)
]
UseStore = Annotated[bool, typer.Option("--store/--no-store", help="Keep what was computed, and use what is kept.")]
ReplayOnly = Annotated[bool, typer.Option("--replay-only", help="Hosted models answer from what is kept, or the command stops.")]
Metrics = Annotated[
    list[str] | None,
    typer.Option("--metric", "-m", help="A metric or a group (default, retrieval, answers, safety, cost, judged). Repeatable."),
]
JudgeName = Annotated[str, typer.Option("--judge", help="Who judges: local, or llm:<provider>:<model>; asked by judged metrics only.")]


def read_config(path: Path | None, changes: Sequence[str] | None) -> RagConfig:
    """The configuration of a file (or of all defaults) with the changes of `--set`."""
    return changed(load_config(path) if path else RagConfig.parse({}), changes)


def changed(config: RagConfig, changes: Sequence[str] | None) -> RagConfig:
    """The configuration with the changes of `--set`."""
    values: dict[str, Any] = {}
    for change in changes or ():
        dotted, equals, value = change.partition("=")
        if not equals:
            raise ConfigError(f"--set {change!r}: write PATH=VALUE, for example retrieve.top_k=8.")
        try:
            values[dotted.strip()] = load_plain(value)
        except YamlError as error:
            raise ConfigError(f"--set {change!r}: the value {value!r} cannot be read: {error}. Put it in quotes.") from None
    return config.replace(values) if values else config


def read_corpus(name: str, settings: HarnessSettings) -> Corpus:
    """A corpus by name or by path."""
    return open_corpus(name, settings)


def read_prompts(settings: HarnessSettings) -> PromptLibrary:
    """The prompts."""
    return PromptLibrary(settings.prompts)


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(escaped_json(json.dumps(value, indent=2, ensure_ascii=False)) + "\n")


def follow_channels(settings: HarnessSettings) -> None:
    """Let MLflow's aliases follow a channel that was moved; where they cannot, the move holds and a line says so."""
    from harness.project.registration import follow

    if problem := follow(settings):
        typer.echo(f"touchstone: {problem}", err=True)
