"""What most metrics have in common."""

from typing import ClassVar

from harness.results.score import Direction, Reads, Score
from serving.pipeline.registry import Params as PlugInParams


class Scoring:
    """What most metrics have in common: no parameters, no judge, from 0 to 1, higher is better, of the answer."""

    class Params(PlugInParams):
        """Nothing to set."""

    version: ClassVar[str] = "1"
    label: ClassVar[str]  # its name in the table
    direction: Direction = "higher"
    range: tuple[float, float] = (0.0, 1.0)
    needs_judge: bool = False
    reads: Reads = "answer"
    name: str

    def __init__(self, params: PlugInParams) -> None:
        self.name = self.label

    def give(self, value: float, reason: str = "") -> Score:
        """A score with a value."""
        return Score(self.name, value, reason)

    def skip(self, reason: str) -> Score:
        """A score that says why there is none."""
        return Score(self.name, None, reason)
