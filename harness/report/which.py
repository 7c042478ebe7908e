"""What a word on the command line means where a report is asked for: a sweep, or an evaluation."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from harness.sweep.folder import STATE, SweepFolder, latest
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import near

CASES = "cases.jsonl"
LATEST = "latest"


@dataclass(frozen=True, slots=True)
class Kept:
    """Something on disk that a report can be made of."""

    kind: Literal["sweep", "evaluation"]
    path: Path  # a sweep's folder, or an evaluation's file

    @property
    def folder(self) -> Path:
        """Where its report lies."""
        return self.path if self.kind == "sweep" else self.path.parent


def find(word: str, reports: Path) -> Kept:
    """A folder or a file, a name below reports/sweeps or reports/runs, an experiment's name (its last sweep), or `latest`."""
    known = _all(reports)
    if word == LATEST:
        if not known:
            raise ConfigError(f"Nothing in {reports} to report on yet. Run: touchstone sweep experiments/quickstart.yaml")
        return max(known, key=lambda kept: ((kept.path / STATE if kept.kind == "sweep" else kept.path).stat().st_mtime, str(kept.path)))
    path = Path(word)
    if path.is_file() and path.suffix == ".jsonl":
        return Kept("evaluation", path)
    for folder in (path, reports / "sweeps" / word, reports / "runs" / word):
        if SweepFolder(folder).exists():
            return Kept("sweep", folder)
        if (folder / CASES).is_file():
            return Kept("evaluation", folder / CASES)
    names = [kept.folder.name for kept in known]
    if any(name.startswith(f"{word}-") for name in names):
        return Kept("sweep", latest(reports, word).path)
    listed = ", ".join(sorted(names)[-10:]) or "none"
    experiments = [kept.folder.name.rsplit("-", 2)[0] for kept in known if kept.kind == "sweep"]
    raise ConfigError(
        f"No sweep and no evaluation {word!r}.{near(word, [*names, *experiments, LATEST])} In {reports}: {listed}. Or write {LATEST}."
    )


def _all(reports: Path) -> list[Kept]:
    sweeps = [Kept("sweep", path.parent) for path in reports.glob(f"sweeps/*/{STATE}")]
    return sweeps + [Kept("evaluation", path) for path in reports.glob(f"runs/*/{CASES}")]
