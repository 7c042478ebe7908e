"""Resolves what a word or an object names: an evaluation, a sweep, a configuration, a release, an app of the user's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.evaluation.subject import Subject
from harness.evaluation.subjects import load_subject, subject_of
from harness.results.report import EvalReport
from harness.results.report_file import read_report
from harness.settings import HarnessSettings
from harness.sweep.folder import STATE, SweepFolder, latest
from serving.pipeline.artefacts import Artefacts, BundledArtefacts
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.prices import price_list
from serving.pipeline.packages import is_import_path
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.redact import without_password
from serving.pipeline.registry import near
from serving.release.bundle import load_release, open_releases, releases
from serving.release.channel import read_channel

CASES = "cases.jsonl"
LATEST = "latest"
CHANNEL = "channel:"
KINDS = "a configuration file (.yaml), a run's name, folder or .jsonl file, a release's digest, channel:<name>, or default"
ADDRESS = ("http://", "https://")
SHORTEST = 4  # characters of a digest that name a release


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """An evaluation made before."""

    label: str
    report: EvalReport
    path: Path = Path()  # of its file


@dataclass(frozen=True, slots=True)
class NamedConfig:
    """A configuration to evaluate, with the prompts it stands on."""

    label: str
    config: RagConfig
    prompts: PromptLibrary
    release: str = ""  # its digest, when it is one
    evidence: str | None = None  # that a channel names
    artefacts: Artefacts | None = None  # that a release carries


@dataclass(frozen=True, slots=True)
class NamedApp:
    """An app of the user's, to evaluate beside configurations."""

    label: str
    subject: Subject


Resolved = RecordedRun | NamedConfig | NamedApp


def resolve(what: object, settings: HarnessSettings) -> Resolved:
    """What a word or an object names: none is the default configuration, a mapping is one, a callable is an app."""
    match what:
        case RecordedRun() | NamedConfig() | NamedApp():
            return what
        case None:
            return resolve_word("default", settings)
        case str():
            return resolve_word(what, settings)
        case Path():
            return resolve_word(str(what), settings)
        case RagConfig():
            return NamedConfig("the given configuration", what.complete(), PromptLibrary(settings.prompts))
        case Mapping():
            return NamedConfig("the given configuration", RagConfig.parse(what), PromptLibrary(settings.prompts))
        case EvalReport():
            head = what.header
            return RecordedRun(head.app or f"configuration {head.config_digest}", what)
    subject = subject_of(what, prices=price_list(settings))
    return NamedApp(subject.identity.name, subject)


def config_of(found: Resolved, settings: HarnessSettings) -> NamedConfig:
    """The configuration that something names: that of a recorded evaluation is the one it evaluated."""
    if isinstance(found, NamedConfig):
        return found
    if isinstance(found, NamedApp) or found.report.header.app:
        raise ConfigError(f"{found.label} is an app of yours, not a configuration. Write {KINDS}.")
    config = RagConfig.parse(found.report.header.config, source=found.label)
    return NamedConfig(f"the configuration of {found.label}", config, PromptLibrary(settings.prompts))


def resolve_word(word: str, settings: HarnessSettings) -> Resolved:
    """What a word names, a file before a run and a run before a release; or a `ConfigError` that lists what it could."""
    if word == "default":
        return NamedConfig("the default configuration", RagConfig.parse({}), PromptLibrary(settings.prompts))
    if word.startswith(CHANNEL):
        channel = read_channel(open_releases(settings.releases, settings), word.removeprefix(CHANNEL))
        return release_config(channel.stable, settings, f" ({word})", channel.evidence)
    if word.startswith(ADDRESS) or is_import_path(word):
        return NamedApp(without_password(word), load_subject(word, price_list(settings)))
    path = Path(word)
    if path.is_file():
        if path.suffix in (".yaml", ".yml"):
            return NamedConfig(word, load_config(path), PromptLibrary(settings.prompts))
        return RecordedRun(word, read_report(path), path)
    runs = settings.reports / "runs"
    for folder in (path, runs / word) if word else ():
        if (folder / CASES).is_file():
            return RecordedRun(folder.name if folder.parent == runs else word, read_report(folder / CASES), folder / CASES)
    known = releases(open_releases(settings.releases, settings))
    if digest := release_beginning(word, known):
        return release_config(digest, settings)
    names = sorted(folder.parent.name for folder in runs.glob(f"*/{CASES}"))
    raise ConfigError(
        f"{word!r} names nothing to compare.{near(word, [*names, *known, 'default'])} Write {KINDS}. "
        f"Runs: {', '.join(names[-10:]) or 'none'}. Releases: {', '.join(known[-5:]) or 'none'}."
    )


def release_beginning(word: str, known: Sequence[str]) -> str:
    """The digest that begins with a word; empty where none does, and a `ConfigError` where several do."""
    found = [digest for digest in known if len(word) >= SHORTEST and digest.startswith(word)]
    if len(found) > 1:
        raise ConfigError(f"{word!r} begins {len(found)} releases: {', '.join(found)}. Write more of the digest.")
    return next(iter(found), "")


def release_config(digest: str, settings: HarnessSettings, how: str = "", evidence: str | None = None) -> NamedConfig:
    """The configuration of a release, by its whole digest."""
    release = load_release(open_releases(settings.releases, settings), digest, evidence=evidence)
    return NamedConfig(
        f"release {digest}{how}", release.config, release.prompts, digest, evidence, BundledArtefacts(release.artefacts, release.place)
    )


@dataclass(frozen=True, slots=True)
class ReportSource:
    """Something on disk that a report can be made of."""

    kind: Literal["sweep", "evaluation"]
    path: Path  # a sweep's folder, or an evaluation's file

    @property
    def folder(self) -> Path:
        """The folder of its report."""
        return self.path if self.kind == "sweep" else self.path.parent


def find_report(word: str, reports: Path) -> ReportSource:
    """A folder or a file, a name below reports/sweeps or reports/runs, an experiment's name (its last sweep), or `latest`."""
    known = _all(reports)
    if word == LATEST:
        if not known:
            raise ConfigError(f"Nothing in {reports} to report on yet. Run: touchstone sweep experiments/quickstart.yaml")
        return max(known, key=_last_change)
    path = Path(word)
    if path.is_file() and path.suffix == ".jsonl":
        return ReportSource("evaluation", path)
    for folder in (path, reports / "sweeps" / word, reports / "runs" / word):
        if SweepFolder(folder).exists():
            return ReportSource("sweep", folder)
        if (folder / CASES).is_file():
            return ReportSource("evaluation", folder / CASES)
    names = [source.folder.name for source in known]
    if any(source.kind == "sweep" and source.folder.name.startswith(f"{word}-") for source in known):
        return ReportSource("sweep", latest(reports, word).path)
    listed = ", ".join(sorted(names)[-10:]) or "none"
    experiments = [source.folder.name.rsplit("-", 2)[0] for source in known if source.kind == "sweep"]
    raise ConfigError(
        f"No sweep and no evaluation {word!r}.{near(word, [*names, *experiments, LATEST])} In {reports}: {listed}. Or write {LATEST}."
    )


def _last_change(source: ReportSource) -> tuple[float, str]:
    """What orders sources by time."""
    file = source.path / STATE if source.kind == "sweep" else source.path
    return file.stat().st_mtime, str(source.path)


def _all(reports: Path) -> list[ReportSource]:
    sweeps = [ReportSource("sweep", path.parent) for path in reports.glob(f"sweeps/*/{STATE}")]
    return sweeps + [ReportSource("evaluation", path) for path in reports.glob(f"runs/*/{CASES}")]
