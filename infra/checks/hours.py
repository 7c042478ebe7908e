"""When CronJobs run, against the hours that a pause by night leaves, and those in which a channel that sleeps is awake."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

WORKFLOW: Final = Path(".github/workflows/infra.yml")
COMES_BACK: Final = 60  # minutes: a workflow that begins late, and a resume that takes its time
DAY: Final = 24 * 60
FIELD: Final = re.compile(r"(\*|(\d+)(?:-(\d+))?)(?:/(\d+))?")


class HoursError(Exception):
    """Hours that cannot be read, in one line."""


@dataclass(frozen=True)
class Hours:
    """From one minute of a day to another, on some days of the week; 0 is Sunday."""

    days: frozenset[int]
    start: int
    end: int

    def hold(self, day: int, minute: int) -> bool:
        """Whether a time lies in them."""
        return day in self.days and self.start <= minute < self.end


def times(schedule: str) -> frozenset[tuple[int, int]]:
    """Every day of the week and minute of the day that a schedule names."""
    fields = schedule.split()
    if len(fields) != 5 or fields[2:4] != ["*", "*"]:
        raise HoursError(f"{schedule!r} is none of a week: the third and fourth field have to be *")
    minutes, hours, days = _field(fields[0], 60), _field(fields[1], 24), _field(fields[4], 7)
    return frozenset((day, hour * 60 + minute) for day in days for hour in hours for minute in minutes)


def _field(text: str, size: int) -> list[int]:
    found = FIELD.fullmatch(text)
    if found is None:
        raise HoursError(f"{text!r} is no field of a schedule that is read here: *, a number or a range, each with or without /n")
    whole, first, last, step = found.groups()
    numbers = range(size) if whole == "*" else range(int(first), int(last or first) + 1)
    return [number % size for number in numbers][:: int(step or 1)]


def between(start: str, end: str) -> Hours:
    """The hours from one schedule to another, of one time a day each and on the same days."""
    begins, ends = times(start), times(end)
    opened, closed = {minute for _, minute in begins}, {minute for _, minute in ends}
    days = frozenset(day for day, _ in begins)
    if len(opened) != 1 or len(closed) != 1 or days != {day for day, _ in ends} or min(opened) >= min(closed):
        raise HoursError(f"{start!r} to {end!r} are no hours of some days")
    return Hours(days, min(opened), min(closed))


def left_by_pauses(root: Path) -> Hours:
    """The hours in which the cluster is there, as the workflow has them."""
    text = (root / WORKFLOW).read_text(encoding="utf-8")
    crons = [one["cron"] for one in yaml.safe_load(text)[True]["schedule"]]  # YAML 1.1 takes `on` for true
    pauses = re.findall(r"github\.event\.schedule == '([^']+)' && 'pause'", text)
    others = [one for one in crons if one not in pauses]
    if len(crons) != 2 or len(pauses) != 1 or len(others) != 1:
        raise HoursError(f"{WORKFLOW}: of {', '.join(crons)} it is not plain which one pauses")
    return between(others[0], pauses[0])


def awake(docs: Sequence[Mapping[str, Any]]) -> Hours | None:
    """The hours outside of which KEDA lets nothing of a channel run; None where it does not sleep."""
    for doc in docs:
        if doc["kind"] == "ScaledObject" and doc["spec"].get("minReplicaCount") == 0:
            for trigger in doc["spec"]["triggers"]:
                if trigger["type"] == "cron":
                    return between(trigger["metadata"]["start"], trigger["metadata"]["end"])
    return None


def breaches(docs: Sequence[Mapping[str, Any]], up: Hours) -> Iterator[str]:
    """CronJobs of a channel that a cluster which is paused never begins or does not end, or that run while their channel sleeps."""
    waking = awake(docs)
    for doc in docs:
        if doc["kind"] != "CronJob":
            continue
        name, spec = doc["metadata"]["name"], doc["spec"]
        takes = spec["jobTemplate"]["spec"].get("activeDeadlineSeconds", DAY * 60) // 60
        whole = Hours(up.days, up.start + COMES_BACK, up.end - takes + 1)
        runs = times(spec["schedule"])
        days = {day for day, _ in runs} & up.days
        if spec.get("timeZone") != "Etc/UTC":
            yield f"CronJob {name}: its time zone is {spec.get('timeZone')}; pauses know Etc/UTC alone"
        if not days or not all(any(whole.hold(*one) for one in runs if one[0] == day) for day in days):
            yield (
                f"CronJob {name}: {spec['schedule']!r} is not run to its end where nights are paused: the cluster is there"
                f" {_hours_text(up)}; leave {COMES_BACK} minutes to come back, and {takes} to run"
            )
        if waking and not all(waking.hold(*one) for one in runs):
            yield f"CronJob {name}: {spec['schedule']!r} runs while its channel sleeps, which is awake {_hours_text(waking)}"


def _hours_text(hours: Hours) -> str:
    start, end = (f"{minute // 60:02d}:{minute % 60:02d}" for minute in (hours.start, hours.end))
    return f"from {start} to {end} on the days {', '.join(map(str, sorted(hours.days)))}"
