"""What can be promoted: a configuration that a gate has judged, by any of its names.

A file before a run, a run before a sweep, a sweep before a release, and a run of MLflow last: MLflow is asked only for what nothing
on this machine is called.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.golden.load import load_golden
from harness.resolve import CASES, CHANNEL, release_beginning
from harness.results.report import EvalReport
from harness.results.report_file import read_report
from harness.settings import HarnessSettings
from harness.sweep.winner import WINNER, SweepWinner, measured, read_winner
from harness.tracking.base import LoggedRun
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.plain_yaml import YamlError, load_plain
from serving.pipeline.registry import near
from serving.release.bundle import Release, load_release, open_releases, releases
from serving.release.channel import find_channel
from serving.release.evidence import MeasuredSplit, RecordedVerdict

NEWEST = ("", "winner")  # both name the newest winner
KINDS = "a sweep's winner.json or name, a configuration file (.yaml), an evaluation's or MLflow run's name or id, a release, channel:<name>"

FindRun = Callable[[str], LoggedRun]  # by id or name; a `ConfigError` where there is none, or more than one


@dataclass(frozen=True, slots=True)
class Promotable:
    """A configuration with what is known of it before its gate's decision is looked at."""

    config: RagConfig
    corpus: str
    source: str  # where it comes from
    for_gate: tuple[str, str]  # the option of `touchstone gate` that names it, and its value
    config_digest: str = ""  # its digest when it was proven; "": only a gate has proven it
    measured: tuple[MeasuredSplit, ...] = ()
    verdict: RecordedVerdict | None = None
    mlflow_run: str = ""
    release: Release | None = None  # an existing release: it ships with its own prompts, artefacts and index


def find_candidate(word: str, corpus: str, settings: HarnessSettings, find_run: FindRun) -> Promotable:
    """The configuration that a word names; a configuration's file says nothing of its documents, so `corpus` does ("": the usual one)."""
    found = _found(word, corpus, settings, find_run)
    if corpus and found.corpus != corpus:
        raise ConfigError(f"{found.source} was proven on the corpus {found.corpus!r}, not on {corpus!r}. Leave --corpus out.")
    return found


def _found(word: str, corpus: str, settings: HarnessSettings, find_run: FindRun) -> Promotable:
    if word in NEWEST:
        return _winner(_newest(settings.reports, corpus))
    path = Path(word)
    if path.is_file() and path.suffix in (".yaml", ".yml"):
        return Promotable(load_config(path), corpus or settings.usual_corpus, word, ("--config", word))
    if path.suffix == ".json" or (path / WINNER).is_file():
        return _winner(path / WINNER if path.is_dir() else path)
    for cases in (path, path / CASES, settings.reports / "runs" / word / CASES):
        if cases.is_file():
            return _evaluation(cases, settings)
    if found := _winners_of(word, settings.reports):
        return _winner(found[-1])
    if path.suffix in (".yaml", ".yml"):
        raise ConfigError(f"No file {word!r}. Name {KINDS}.")
    if (release := _release(word, settings)) is not None:
        return release
    try:
        run = find_run(word)
    except ConfigError as error:
        raise ConfigError(f"{error}{near(word, _names(settings))} Name {KINDS}.") from None
    return _logged(run, corpus, settings)


def _names(settings: HarnessSettings) -> list[str]:
    """The names that evaluations, sweeps and experiments have on this machine."""
    folders = [*settings.reports.glob(f"runs/*/{CASES}"), *settings.reports.glob(f"sweeps/*/{WINNER}")]
    return [*(path.parent.name for path in folders), *(experiment for experiment, _ in newest_winners(settings.reports))]


def newest_winners(reports: Path) -> dict[tuple[str, str], Path]:
    """The newest winner of each experiment and corpus, the oldest first."""
    found: dict[tuple[str, str], Path] = {}
    for path in sorted(reports.glob(f"sweeps/*/{WINNER}"), key=lambda path: (path.stat().st_mtime, str(path))):
        try:
            winner = read_winner(path)
        except DataError:  # of another version, or half of one
            continue
        key = (winner.verdict.experiment, winner.corpus)
        found.pop(key, None)
        found[key] = path
    return found


def _newest(reports: Path, corpus: str) -> Path:
    """The only winner that can be meant; where several experiments or corpora have one, it must be named."""
    winners = {key: path for key, path in newest_winners(reports).items() if corpus in ("", key[1])}
    if len(winners) == 1:
        return next(iter(winners.values()))
    if winners:
        listed = "; ".join(f"{experiment} on {of}: {path}" for (experiment, of), path in winners.items())
        raise ConfigError(f"{len(winners)} experiments have a winner, so name one. The files: {listed}")
    on = f" on {corpus}" if corpus else ""
    raise DataError(f"No sweep{on} has a winner in {reports / 'sweeps'} yet. Run: touchstone sweep experiments/quickstart.yaml")


def _winners_of(word: str, reports: Path) -> list[Path]:
    """The winners of a sweep by its folder's name, or of an experiment, the oldest first; those of one corpus only."""
    folder = reports / "sweeps" / word / WINNER
    if folder.is_file():
        return [folder]
    of = {key: path for key, path in newest_winners(reports).items() if key[0] == word}
    if len(of) > 1:
        listed = "; ".join(f"on {corpus}: {path}" for (_, corpus), path in of.items())
        raise ConfigError(f"The experiment {word!r} has winners on {len(of)} corpora, so name one. The files: {listed}")
    return list(of.values())


def _winner(file: Path) -> Promotable:
    winner = read_winner(file)
    source = f"{file} (experiment {winner.verdict.experiment}, corpus {winner.corpus})"
    return _promotable_winner(winner, source, ("--config", str(file.with_suffix(".yaml"))))


def _promotable_winner(winner: SweepWinner, source: str, for_gate: tuple[str, str]) -> Promotable:
    return Promotable(
        config=RagConfig.parse(winner.config, source=source),
        corpus=winner.corpus,
        source=source,
        for_gate=for_gate,
        config_digest=winner.config_digest,
        measured=winner.measured,
        verdict=winner.verdict,
        mlflow_run=winner.mlflow_run,
    )


def _evaluation(cases: Path, settings: HarnessSettings) -> Promotable:
    """The configuration of an evaluation made before."""
    report = read_report(cases)
    if report.header.app:
        raise ConfigError(f"{cases}: an evaluation of an app of yours ({report.header.app}), which cannot be promoted: name {KINDS}.")
    return Promotable(
        config=RagConfig.parse(report.header.config, source=str(cases)),
        corpus=_corpus_of(report, settings),
        source=str(cases),
        for_gate=("--run", str(cases)),
        config_digest=report.header.config_digest,
        measured=(measured("eval", report),),
    )


def _corpus_of(report: EvalReport, settings: HarnessSettings) -> str:
    return load_golden(settings.datasets, report.header.golden).card.corpus


def _release(word: str, settings: HarnessSettings) -> Promotable | None:
    """An existing release, by its digest, a prefix of it, or a channel."""
    storage = open_releases(settings.releases, settings)
    if word.startswith(CHANNEL):
        channel = find_channel(storage, word.removeprefix(CHANNEL))
        if channel is None or not channel.stable:
            raise DataError(f"Channel {word.removeprefix(CHANNEL)!r} points at nothing yet, so there is no release to promote from it.")
        digest = channel.stable
    else:
        digest = release_beginning(word, releases(storage))
    if not digest:
        return None
    release = load_release(storage, digest)
    newest = list(release.evidence.values())[-1:]
    return Promotable(
        config=release.config,
        corpus=newest[0].corpus if newest else release.index.corpus,
        source=f"release {release.digest}",
        for_gate=("--candidate", release.digest),
        config_digest=release.digest,
        measured=newest[0].measured if newest else (),
        verdict=newest[0].verdict if newest else None,
        mlflow_run=newest[0].mlflow_run if newest else "",
        release=release,
    )


def _logged(run: LoggedRun, corpus: str, settings: HarnessSettings) -> Promotable:
    """The configuration of a run of MLflow: that of an evaluation or of a trial, or the winner of a sweep."""
    source = f"MLflow run {run.id} ({run.name})"
    if run.winner:
        winner = SweepWinner.model_validate_json(run.winner)
        return _promotable_winner(winner, source, ("--candidate", run.id))
    if not run.config:
        raise ConfigError(f"{source} holds no configuration: it is no evaluation, trial or sweep of ours. Name {KINDS}.")
    golden = run.tags.get("touchstone.golden", "").partition(":")[0]
    if not corpus and golden:
        corpus = load_golden(settings.datasets, golden).card.corpus
    try:
        config = RagConfig.parse(load_plain(run.config), source=source)
    except YamlError as error:
        raise ConfigError(f"{source}: its configuration is not YAML: {error}") from None
    return Promotable(
        config=config,
        corpus=corpus or settings.usual_corpus,
        source=source,
        for_gate=("--candidate", run.id),
        config_digest=run.tags.get("touchstone.config_digest", ""),
        mlflow_run=run.id,
    )
