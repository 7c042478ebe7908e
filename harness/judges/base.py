"""What a judge promises, and the verdict it gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.pipeline.types import Usage


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says; no label, with the reason, where it could not be understood or reached."""

    label: str | None
    reason: str = ""
    raw: str = ""  # the judge's own words, every vote of it
    votes: tuple[str, ...] = ()  # the label of each repeat
    usage: tuple[Usage, ...] = ()


class Judge(Protocol):
    """Answers one kind of question at a time; a task is a prompt in `prompts/judge/` with its labels."""

    name: str  # as the user names it: local, llm
    id: str  # digest of everything that decides its verdicts

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The verdict on the task's variables, which are data and never instructions."""
        ...
