"""Where a hosted model is asked, as part of the keys of what it says: a stand-in's answers are not the model's."""

from serving.pipeline.models.pace import SAME
from serving.pipeline.settings import PipelineSettings


def endpoints_of(model: str, settings: PipelineSettings) -> tuple[str, ...]:
    """The endpoint that the settings name for a model's provider; nothing for the provider's own and for local models."""
    provider = model.partition(":")[0]
    named = settings.bedrock_endpoint.rstrip("/") if SAME.get(provider, provider) == "bedrock" else ""
    return (named,) if named else ()
