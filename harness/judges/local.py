"""A judge without a language model: rules that give the same texts the same label."""

import asyncio
from collections.abc import Mapping
from typing import ClassVar

from harness.judges import rules
from harness.judges.base import Verdict
from harness.judges.rules import RuleVerdict
from harness.judges.tasks import Tasks, unnumbered
from harness.judges.tools import EMBEDDER, Tools
from harness.stage_store.base import StageStore
from serving.pipeline.checks.grounding.claims import claims_of
from serving.pipeline.checks.grounding.model import models_digest
from serving.pipeline.checks.grounding.support import Claim, support_all
from serving.pipeline.digest import digest_of
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.text.answer_words import words

BARE_ANSWERS = frozenset({"yes", "no"})  # means something only together with its question


class LocalJudge:
    """Judges groundedness and correctness by rules; other tasks get no verdict."""

    class Params(PlugInParams):
        """What it compares sentences with."""

        embedder: Spec = EMBEDDER

    version: ClassVar[str] = "1"
    name = "local"

    def __init__(
        self, params: Params, *, settings: PipelineSettings, tasks: Tasks, store: StageStore | None = None, replay_only: bool = False
    ) -> None:
        self._tools = Tools(settings, params.embedder)
        self.id = digest_of([self.name, self.version, self._tools.embedder_id, models_digest()])
        self._tasks = tasks
        self._rules = {"groundedness": self._groundedness, "correctness": self._correctness}

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The rule's label, or none where there is no rule."""
        self._tasks.get(task).check(values)
        rule = self._rules.get(task)
        if rule is None:
            return Verdict(None, f"the local judge has no rule for {task}; it judges {', '.join(self._rules)}")
        judgement = await asyncio.to_thread(rule, values)  # so that other questions can wait for a model meanwhile
        return Verdict(judgement.label, judgement.reason, judgement.label or "", (judgement.label,) if judgement.label else ())

    def _correctness(self, values: Mapping[str, str]) -> RuleVerdict:
        facts = [line.removeprefix("- ").strip() for line in values.get("facts", "").splitlines()]
        return rules.correctness(values["answer"], unnumbered(values["reference"]), [fact for fact in facts if fact])

    def _groundedness(self, values: Mapping[str, str]) -> RuleVerdict:
        passages = tuple(unnumbered(values["passages"]))
        claims = [Claim(text, passages) for claim in claims_of(values["answer"]) if set(words(text := claim.text)) - BARE_ANSWERS]
        return rules.groundedness([(claim.text, support) for claim, support in zip(claims, support_all(claims, self._tools), strict=True)])
