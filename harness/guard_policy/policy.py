"""A guard policy: what is neither read nor said, in one file for every guard that enforces it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from serving.pipeline.checks.pii import PiiKind
from serving.pipeline.config import RagConfig, read_yaml
from serving.pipeline.errors import ConfigError
from serving.pipeline.guard.content import Strength
from serving.pipeline.guard.pii import PiiAction
from serving.pipeline.guard.topics import Topic
from serving.pipeline.registry import explain

Filter = Literal["HATE", "INSULTS", "SEXUAL", "VIOLENCE", "MISCONDUCT", "PROMPT_ATTACK"]
TopicName = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=r"^[0-9a-zA-Z_ !?-]+$")]
Message = Annotated[str, StringConstraints(min_length=1, max_length=500)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FilterStrength(_Part):
    """How strong a filter of content is on each side."""

    input: Strength = "NONE"
    output: Strength = "NONE"


class SizePolicy(_Part):
    """How long a question may be; the service in front of Bedrock has to say so, since Bedrock does not."""

    max_characters: int = Field(default=4000, ge=1)
    max_tokens: int = Field(default=1000, ge=1)


class GuardPolicy(_Part):
    """The content of a policy file; its limits are those of Bedrock's request."""

    name: Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z_-]{1,50}$")]
    description: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    blocked_message: Message
    content: Mapping[Filter, FilterStrength] = Field(default_factory=dict)
    personal_data: Mapping[PiiKind, PiiAction] = Field(default_factory=dict)
    quote_documents: bool = Field(default=False, description="an answer may say the data of its passages; only the local guard can")
    topics: Mapping[TopicName, Topic] = Field(default_factory=dict, max_length=30)
    allowed: tuple[str, ...] = Field(default=(), description="questions of the same words that are answered; for the local guard")
    size: SizePolicy = SizePolicy()


def load_policy(path: Path) -> GuardPolicy:
    """The policy in a file, or a `ConfigError` naming the first thing wrong."""
    data = read_yaml(path)
    if not isinstance(data, Mapping):
        raise ConfigError(f"{path}: a mapping of {', '.join(GuardPolicy.model_fields)} is needed, not {data!r}.")
    try:
        return GuardPolicy.model_validate(data)
    except ValidationError as error:
        raise ConfigError(explain(error, str(path), list(GuardPolicy.model_fields))) from None


def as_config(policy: GuardPolicy) -> dict[str, Any]:
    """The section `guard` of a configuration: the policy as named checks, so that each is hashed, swept and released like any other."""
    checks_in: dict[str, Any] = {"bounds": {"name": "size", **policy.size.model_dump()}, "characters": {"name": "encoding"}}
    checks_out: dict[str, Any] = {}
    filters = {name: strength for name, strength in policy.content.items() if name != "PROMPT_ATTACK"}
    if filters:
        checks_in["content"] = _content({name: strength.input for name, strength in filters.items()})
        checks_out["content"] = _content({name: strength.output for name, strength in filters.items()})
    if policy.content.get("PROMPT_ATTACK", FilterStrength()).input != "NONE":
        checks_in["injection"] = {"name": "injection"}
    if policy.personal_data:
        checks_in["pii"] = {"name": "pii", "kinds": dict(policy.personal_data)}
        checks_out["pii"] = {"name": "pii", "kinds": dict(policy.personal_data), "allow_passages": policy.quote_documents}
    if policy.topics:
        topics = {name: topic.model_dump(mode="json") for name, topic in policy.topics.items()}
        checks_in["topics"] = {"name": "topics", "topics": topics, "allowed": list(policy.allowed)}
    guard = {"block_message": policy.blocked_message, "input": checks_in, "output": checks_out}
    RagConfig.parse({"guard": guard}, source=f"the policy {policy.name}")
    return {"guard": guard}


def _content(strengths: Mapping[Filter, Strength]) -> dict[str, Any]:
    every: tuple[Filter, ...] = ("HATE", "INSULTS", "SEXUAL", "VIOLENCE", "MISCONDUCT")
    return {"name": "content", **{name.lower(): strengths.get(name, "NONE") for name in every}}
