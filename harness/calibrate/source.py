"""What a source of labelled decisions promises."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from harness.calibrate.labelled import LabelledDecisions
from harness.progress import TaskProgress, silent


@dataclass(frozen=True, slots=True)
class SourceRequest:
    """Which labels are read, and whether something is fitted on a part of them."""

    files: tuple[Path, ...]
    fitted: Mapping[str, Any] | None = None  # of an artefact that is verified: score with it, fit nothing, give every example
    progress: TaskProgress = silent


class DecisionSource(Protocol):
    """Reads labels and scores them as its stage would; made as `Source(params, settings=HarnessSettings)`.

    Examples that a model is fitted on are never among those it gives; see `split.fit_split`.
    """

    async def decisions(self, request: SourceRequest) -> LabelledDecisions: ...
