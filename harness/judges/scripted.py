"""A judge for tests and dry runs: labels by the text they hold, else from a list in order."""

import itertools
from collections.abc import Mapping
from typing import ClassVar

from harness.judges.base import Verdict
from harness.judges.tasks import Tasks
from harness.stage_store.base import StageStore
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError, ModelError
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import near
from serving.pipeline.settings import PipelineSettings


class ScriptedRule(PlugInParams):
    """A label for the questions that it fits."""

    task: str = ""  # empty: every task
    holds: str = ""  # a text in any of the values; empty: all values
    label: str | None = None  # None: no verdict
    reason: str = "by the script"
    outage: bool = False  # raises, as an endpoint that is gone does


class ScriptedJudge:
    """Gives the label of the first rule that fits, else the next of its list, in a circle."""

    class Params(PlugInParams):
        """What it says."""

        rules: tuple[ScriptedRule, ...] = ()
        labels: tuple[str | None, ...] = ()

    version: ClassVar[str] = "1"
    name = "scripted"

    def __init__(
        self, params: Params, *, settings: PipelineSettings, tasks: Tasks, store: StageStore | None = None, replay_only: bool = False
    ) -> None:
        self.id = digest_of([self.name, self.version, params.model_dump(mode="json")])
        self._params = params
        self._tasks = tasks
        self._next_label = itertools.count()

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """What the script says."""
        task_asked = self._tasks.get(task)
        task_asked.check(values)
        rule = next((rule for rule in self._params.rules if _fits(rule, task, values)), None)
        if rule is not None and rule.outage:
            raise ModelError("The scripted judge is out of order, by its script.")
        if rule is not None:
            label, reason = rule.label, rule.reason
        elif self._params.labels:
            label, reason = self._params.labels[next(self._next_label) % len(self._params.labels)], "by the script"
        else:
            label, reason = None, "the script says nothing about this"
        if label is None:
            return Verdict(None, reason)
        if label not in task_asked.labels:
            known = list(task_asked.labels)
            raise ConfigError(f"The scripted judge says {label!r} of {task}.{near(label, known)} Its labels: {', '.join(known)}.")
        return Verdict(label, reason, label, (label,))


def _fits(rule: ScriptedRule, task: str, values: Mapping[str, str]) -> bool:
    return rule.task in ("", task) and (not rule.holds or any(rule.holds in value for value in values.values()))
