"""A judge that is a chat model: any that LangChain knows, at temperature 0, its readings kept."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import replace
from typing import Any, ClassVar, Literal

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from pydantic import Field, field_validator

from harness.judges.base import Verdict, majority
from harness.judges.reply import Reply, read_reply
from harness.judges.tasks import Task, Tasks
from harness.stage_store.base import StageStore, key_of, pack, unpack
from harness.stage_store.endpoint import endpoints_of
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import DataError
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.chat import with_output_limit
from serving.pipeline.models.connect import LOCAL, connect_chat
from serving.pipeline.models.limits import Patience
from serving.pipeline.models.prices import usage_of
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Usage

STAGE = "judge"
LONGEST = 200_000  # characters of a prompt: about 50,000 tokens, beyond any question with its passages
SHOWN = 2_000  # characters of a reply that was not understood, as its writer is shown it again


class LlmJudge:
    """Asks a chat model, again where its reply cannot be read, and several times where a majority is wanted."""

    class Params(PlugInParams):
        """Who is asked, and how."""

        model: Spec
        repeats: Literal[1, 3, 5] = 1
        retries: int = Field(default=2, ge=0, le=5)  # further tries when a reply cannot be read
        max_tokens: int = Field(default=512, ge=64)  # of a reply; models that think aloud first need more

        @field_validator("model", mode="before")
        @classmethod
        def _by_name(cls, value: Any) -> Any:
            """A bare name is a model with its defaults."""
            return {"name": value} if isinstance(value, str) else value

    version: ClassVar[str] = "1"

    def __init__(
        self,
        params: Params,
        *,
        settings: PipelineSettings,
        tasks: Tasks,
        store: StageStore | None = None,
        replay_only: bool = False,
        patience: Patience | None = None,
    ) -> None:
        spec = CHAT_MODELS.complete(cold(params.model))
        self.name = f"llm:{spec.name}"
        asked = [self.version, spec.model_dump(mode="json"), CHAT_MODELS.version(spec), params.max_tokens, params.retries]
        asked += endpoints_of(spec.name, settings)
        self._asked = digest_of([*asked, tasks.again.digest])
        self.id = digest_of([self._asked, params.repeats, tasks.digest])
        self._params = params
        self._tasks = tasks
        chat = connect_chat(spec, settings, patience)
        self._chat = replace(chat, model=with_output_limit(chat.model, params.max_tokens))
        self._replay_only = replay_only and not spec.name.startswith(LOCAL)
        self._paid: Callable[[Usage], None] | None = None
        self._store = None if getattr(self._chat.source, "stateful", False) else store  # a script has no answer of its own to a question

    def telling(self, paid: Callable[[Usage], None]) -> "LlmJudge":
        """The same judge, which tells of each call when it is answered, whatever becomes of the verdict."""
        other = copy(self)
        other._paid = paid
        return other

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The label that most readings gave."""
        asked = self._tasks.get(task)
        asked.check(values)
        length = sum(len(value) for value in values.values())
        if length > LONGEST:
            return Verdict(None, f"the texts are {length} characters long, more than the {LONGEST} that are judged")
        return majority([await self._reading(asked, values, number) for number in range(1, self._params.repeats + 1)])

    async def _reading(self, task: Task, values: Mapping[str, str], number: int) -> Verdict:
        """One vote; kept once it is understood."""
        key = key_of(self._asked, task.digest, dict(values), number)
        known = self._store.get(STAGE, key) if self._store else None
        if known is not None:
            kept = unpack(known)
            return Verdict(kept["label"], kept["reason"], kept["raw"], (kept["label"],))
        if self._replay_only:
            raise DataError(f"No kept verdict of {self._chat.name} on this {task.name}. Run once without --replay-only.")
        verdict = await self._asked_now(task, values, number)
        if self._store and verdict.label is not None:
            self._store.put(STAGE, key, pack({"label": verdict.label, "reason": verdict.reason, "raw": verdict.raw}))
        return verdict

    async def _asked_now(self, task: Task, values: Mapping[str, str], number: int) -> Verdict:
        rendered = task.render(values)
        # a recorded call is known by its words: without the mark every further reading would replay the first
        mark = f"\n\n(Reading {number}.)" if number > 1 else ""
        messages: list[BaseMessage] = [SystemMessage(rendered.system), HumanMessage(rendered.user + mark)]
        usage: list[Usage] = []
        reply, said = Reply(None), ""
        for _ in range(self._params.retries + 1):
            message = await self._chat.model.ainvoke(messages)
            usage.append(usage_of(message, self._chat.source, self._chat.name))
            if self._paid is not None:
                self._paid(usage[-1])
            said = str(message.text)
            reply = read_reply(said, task.labels)
            if reply.label is not None:
                return Verdict(reply.label, reply.reason, said, (reply.label,), tuple(usage))
            messages = [*messages[:2], *self._again(task, said, reply.problem)]
        return Verdict(None, f"the judge was not understood in {len(usage)} tries: {reply.problem}", said, (), tuple(usage))

    def _again(self, task: Task, said: str, problem: str) -> Sequence[BaseMessage]:
        note = self._tasks.again.render(problem=problem, labels=", ".join(task.labels))
        return [AIMessage(said.strip()[:SHOWN] or "(nothing)"), HumanMessage(note.user)]


def cold(spec: Spec) -> Spec:
    """The model at temperature 0, where it can be set and the spec does not say otherwise."""
    params = CHAT_MODELS.load(spec.name).Params
    can = "temperature" in params.model_fields or params.model_config.get("extra") == "allow"
    if not can or "temperature" in spec.params:
        return spec
    return Spec.model_validate({"name": spec.name, **spec.params, "temperature": 0.0})
