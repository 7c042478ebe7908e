"""What a word on the command line means: an evaluation made before, or a configuration to evaluate now."""

from dataclasses import dataclass
from pathlib import Path

from harness.results import EvalReport, read_report
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.errors import ConfigError
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import near
from serving.release import load_release, read_channel, releases

CASES = "cases.jsonl"
CHANNEL = "channel:"
KINDS = "a configuration file (.yaml), a run's name, folder or .jsonl file, a release's digest, channel:<name>, or default"
SHORTEST = 4  # characters of a digest that name a release


@dataclass(frozen=True, slots=True)
class Recorded:
    """An evaluation made before."""

    label: str
    report: EvalReport


@dataclass(frozen=True, slots=True)
class Candidate:
    """A configuration to evaluate, with the prompts it stands on."""

    label: str
    config: RagConfig
    prompts: PromptLibrary
    release: str = ""  # its digest, when it is one


def resolve(word: str, places: HarnessSettings) -> Recorded | Candidate:
    """What a word names, a file before a run and a run before a release; or a `ConfigError` that lists what it could."""
    if word == "default":
        return Candidate("the default configuration", RagConfig.parse({}), PromptLibrary(places.prompts))
    if word.startswith(CHANNEL):
        return _release(read_channel(places.releases, word.removeprefix(CHANNEL)).stable, places, f" ({word})")
    path = Path(word)
    if path.is_file():
        if path.suffix in (".yaml", ".yml"):
            return Candidate(word, load_config(path), PromptLibrary(places.prompts))
        return Recorded(word, read_report(path))
    runs = places.reports / "runs"
    for folder in (path, runs / word):
        if (folder / CASES).is_file():
            return Recorded(folder.name if folder.parent == runs else word, read_report(folder / CASES))
    known = releases(places.releases)
    found = [digest for digest in known if len(word) >= SHORTEST and digest.startswith(word)]
    if len(found) > 1:
        raise ConfigError(f"{word!r} begins {len(found)} releases: {', '.join(found)}. Write more of the digest.")
    if found:
        return _release(found[0], places)
    names = sorted(folder.parent.name for folder in runs.glob(f"*/{CASES}"))
    raise ConfigError(
        f"{word!r} names nothing to compare.{near(word, [*names, *known, 'default'])} Write {KINDS}. "
        f"Runs: {', '.join(names[-10:]) or 'none'}. Releases: {', '.join(known[-5:]) or 'none'}."
    )


def _release(digest: str, places: HarnessSettings, how: str = "") -> Candidate:
    release = load_release(places.releases, digest)
    return Candidate(f"release {digest}{how}", release.config, release.prompts, digest)
