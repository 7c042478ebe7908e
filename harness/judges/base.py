"""What a judge promises, and the verdict it gives."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.pipeline.types import Usage


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a judge says; no label, with the reason, where it could not be understood or has no say."""

    label: str | None
    reason: str = ""
    raw: str = ""  # the judge's own words, every vote of it
    votes: tuple[str, ...] = ()  # the label of each repeat that gave one
    usage: tuple[Usage, ...] = ()  # of the calls made for it; a verdict that was kept costs nothing


class Judge(Protocol):
    """Answers one kind of question at a time; a task is a prompt in `prompts/judge/` with its labels."""

    name: str  # as the user names it: local, llm:bedrock_converse:amazon.nova-pro-v1:0
    id: str  # digest of everything that decides its verdicts

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The verdict on the task's variables, which are data and never instructions; an outage raises, it is no verdict."""
        ...


def majority(readings: Sequence[Verdict]) -> Verdict:
    """One verdict of several: the label that more than half of all readings gave, else none."""
    if len(readings) == 1:
        return readings[0]
    votes = tuple(one.label for one in readings if one.label is not None)
    raw = "\n---\n".join(one.raw for one in readings)
    usage = tuple(use for one in readings for use in one.usage)
    if not votes:
        return Verdict(None, readings[-1].reason, raw, votes, usage)
    label, count = Counter(votes).most_common(1)[0]
    if 2 * count > len(readings):
        return Verdict(label, next(one.reason for one in readings if one.label == label), raw, votes, usage)
    said = [f"{one} {many}" for one, many in Counter(votes).most_common()]
    unread = [f"not understood {len(readings) - len(votes)}"] if len(votes) < len(readings) else []
    return Verdict(None, f"votes were split: {', '.join(said + unread)}", raw, votes, usage)
