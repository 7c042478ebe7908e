"""A judge that asks a chat model, any that LangChain knows, at temperature 0; its readings are stored."""

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
from serving.pipeline.models.prices import usage_of
from serving.pipeline.models.retry import RetryPolicy
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Usage

STAGE = "judge"
MAX_CHARACTERS = 200_000  # of a prompt: about 50,000 tokens
REPLY_CHARACTERS = 2_000  # of an unreadable reply, as it is shown to the model again


class LlmJudge:
    """Asks a chat model, retries unreadable replies, and takes the majority of several readings."""

    class Params(PlugInParams):
        """The model, and how it is asked."""

        model: Spec
        repeats: Literal[1, 3, 5] = 1
        retries: int = Field(default=2, ge=0, le=5)  # further tries when a reply cannot be read
        max_tokens: int = Field(default=512, ge=64)  # of a reply; reasoning models need more

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
        retry: RetryPolicy | None = None,
    ) -> None:
        spec = CHAT_MODELS.complete(at_temperature_zero(params.model))
        self.name = f"llm:{spec.name}"
        deciding = [self.version, spec.model_dump(mode="json"), CHAT_MODELS.version(spec), params.max_tokens, params.retries]
        deciding += endpoints_of(spec.name, settings)
        self._model_digest = digest_of([*deciding, tasks.again.digest])
        self.id = digest_of([self._model_digest, params.repeats, tasks.digest])
        self._params = params
        self._tasks = tasks
        chat = connect_chat(spec, settings, retry)
        self._chat = replace(chat, model=with_output_limit(chat.model, params.max_tokens))
        self._replay_only = replay_only and not spec.name.startswith(LOCAL)
        self._on_usage: Callable[[Usage], None] | None = None
        self._store = None if getattr(self._chat.source, "stateful", False) else store  # replies of a script depend on their order

    def with_usage_callback(self, on_usage: Callable[[Usage], None]) -> "LlmJudge":
        """The same judge, which reports the usage of each call as soon as it is answered."""
        judge = copy(self)
        judge._on_usage = on_usage
        return judge

    async def judge(self, task: str, values: Mapping[str, str]) -> Verdict:
        """The majority label of the readings."""
        question_task = self._tasks.get(task)
        question_task.check(values)
        length = sum(len(value) for value in values.values())
        if length > MAX_CHARACTERS:
            return Verdict(None, f"the texts are {length} characters long, more than the {MAX_CHARACTERS} that are judged")
        return majority([await self._reading(question_task, values, number) for number in range(1, self._params.repeats + 1)])

    async def _reading(self, task: Task, values: Mapping[str, str], number: int) -> Verdict:
        """One vote; stored when the reply could be read."""
        key = key_of(self._model_digest, task.digest, dict(values), number)
        stored = self._store.get(STAGE, key) if self._store else None
        if stored is not None:
            reading = unpack(stored)
            return Verdict(reading["label"], reading["reason"], reading["raw"], (reading["label"],))
        if self._replay_only:
            raise DataError(f"No kept verdict of {self._chat.name} on this {task.name}. Run once without --replay-only.")
        verdict = await self._ask(task, values, number)
        if self._store and verdict.label is not None:
            self._store.put(STAGE, key, pack({"label": verdict.label, "reason": verdict.reason, "raw": verdict.raw}))
        return verdict

    async def _ask(self, task: Task, values: Mapping[str, str], number: int) -> Verdict:
        rendered = task.render(values)
        # a cassette replays a call by its text: without the mark every further reading would replay the first
        mark = f"\n\n(Reading {number}.)" if number > 1 else ""
        messages: list[BaseMessage] = [SystemMessage(rendered.system), HumanMessage(rendered.user + mark)]
        usage: list[Usage] = []
        reply, text = Reply(None), ""
        for _ in range(self._params.retries + 1):
            message = await self._chat.model.ainvoke(messages)
            usage.append(usage_of(message, self._chat.source, self._chat.name, self._chat.prices))
            if self._on_usage is not None:
                self._on_usage(usage[-1])
            text = str(message.text)
            reply = read_reply(text, task.labels)
            if reply.label is not None:
                return Verdict(reply.label, reply.reason, text, (reply.label,), tuple(usage))
            messages = [*messages[:2], *self._again(task, text, reply.problem)]
        return Verdict(None, f"the judge was not understood in {len(usage)} tries: {reply.problem}", text, (), tuple(usage))

    def _again(self, task: Task, text: str, problem: str) -> Sequence[BaseMessage]:
        note = self._tasks.again.render(problem=problem, labels=", ".join(task.labels))
        return [AIMessage(text.strip()[:REPLY_CHARACTERS] or "(nothing)"), HumanMessage(note.user)]


def at_temperature_zero(spec: Spec) -> Spec:
    """The model at temperature 0, where it can be set and the spec does not say otherwise."""
    params = CHAT_MODELS.load(spec.name).Params
    has_temperature = "temperature" in params.model_fields or params.model_config.get("extra") == "allow"
    if not has_temperature or "temperature" in spec.params:
        return spec
    return Spec.model_validate({"name": spec.name, **spec.params, "temperature": 0.0})
