"""The judge protocol, and the verdict a judge gives."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.pipeline.types import Usage


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judge's label with its reason; no label where the reply could not be read or the judge has no rule."""

    label: str | None
    reason: str = ""
    raw: str = ""  # the judge's replies, of every vote
    votes: tuple[str, ...] = ()  # the label of each repeat that gave one
    usage: tuple[Usage, ...] = ()  # of the calls made for it; a stored verdict costs nothing


class Judge(Protocol):
    """Judges texts by a task: a prompt in `prompts/judge/` with its labels."""

    name: str  # as the user names it: local, llm:bedrock_converse:amazon.nova-pro-v1:0
    id: str  # digest of everything that decides its verdicts

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The verdict on the task's variables, which are data and never instructions; an outage raises."""
        ...


def majority(readings: Sequence[Verdict]) -> Verdict:
    """The verdict of several readings: the label of more than half of them, else none."""
    if len(readings) == 1:
        return readings[0]
    votes = tuple(reading.label for reading in readings if reading.label is not None)
    raw = "\n---\n".join(reading.raw for reading in readings)
    usage = tuple(use for reading in readings for use in reading.usage)
    if not votes:
        return Verdict(None, readings[-1].reason, raw, votes, usage)
    label, count = Counter(votes).most_common(1)[0]
    if 2 * count > len(readings):
        return Verdict(label, next(reading.reason for reading in readings if reading.label == label), raw, votes, usage)
    counts = [f"{vote} {count}" for vote, count in Counter(votes).most_common()]
    not_understood = [f"not understood {len(readings) - len(votes)}"] if len(votes) < len(readings) else []
    return Verdict(None, f"votes were split: {', '.join(counts + not_understood)}", raw, votes, usage)
