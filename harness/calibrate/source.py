"""What a source of labelled decisions promises."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.calibrate.labelled import LabelledDecisions

Progress = Callable[[str, int, int], None]  # what, done, in all


def silent(what: str, done: int, total: int) -> None:
    """Progress that is not shown."""


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """Which labels are read, and whether something is fitted on a part of them."""

    files: tuple[Path, ...]
    fitted: Mapping[str, Any] | None = None  # of an artefact that is verified: score with it, fit nothing, give every example
    progress: Progress = silent


class DecisionSource(Protocol):
    """Reads labels and scores them as its stage would; made as `Source(params, settings=HarnessSettings)`.

    Examples that a model is fitted on are never among those it gives; see `split.fit_split`.
    """

    async def decisions(self, request: SourceRequest) -> LabelledDecisions: ...
