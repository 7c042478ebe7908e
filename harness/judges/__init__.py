"""Judges by name: the table, and `connect_judge("llm:bedrock_converse:amazon.nova-pro-v1:0", …)`."""

from harness.judges.base import Judge
from harness.judges.outside import OutsideJudge
from harness.judges.tasks import Tasks
from harness.stage_store.base import StageStore
from serving.pipeline.errors import ConfigError
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import Registry, Spec
from serving.pipeline.settings import PipelineSettings

JUDGES = Registry[Judge](
    "judge",
    {
        "scripted": "harness.judges.scripted:ScriptedJudge",
        "local": "harness.judges.local:LocalJudge",
        "llm": "harness.judges.llm:LlmJudge",
    },
    group="judges",
    protocol=Judge,
)


def connect_judge(
    judge: str | Spec, settings: PipelineSettings, prompts: PromptLibrary, store: StageStore | None = None, *, replay_only: bool = False
) -> Judge:
    """A judge by name or by spec, with the judge prompts of the library's folder; its readings are stored in `store`."""
    spec = judge_spec(judge) if isinstance(judge, str) else judge
    connected = JUDGES.build(spec, settings=settings, tasks=Tasks(prompts.folder), store=store, replay_only=replay_only)
    return OutsideJudge.of(connected, spec.name, JUDGES.version(spec)) if JUDGES.origin(spec.name) else connected


def judge_spec(text: str, repeats: int = 1) -> Spec:
    """What `--judge` names: `local`, `scripted`, `llm:<provider>:<model>`, the last asked so many times."""
    name, _, model = text.partition(":")
    if name != "llm":
        JUDGES.load(text)
        if repeats != 1:
            raise ConfigError(f"The judge {text!r} always says the same: repeats are for llm judges.")
        return Spec(name=text)
    if not all(model.partition(":")):
        raise ConfigError(f"The judge {text!r} names no model. Write llm:<provider>:<model>, such as llm:openai:gpt-4o.")
    return Spec.model_validate({"name": name, "model": {"name": model}, "repeats": repeats})
