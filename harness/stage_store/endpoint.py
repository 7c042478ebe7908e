"""Where a hosted model is asked, as part of the keys of what it says: a stand-in's answers are not the model's."""

from serving.pipeline.models.rate_limit import SHARED_ACCOUNTS
from serving.pipeline.settings import PipelineSettings


def endpoints_of(model: str, settings: PipelineSettings) -> tuple[str, ...]:
    """The endpoint that the settings name for a model's provider; nothing for the provider's own and for local models."""
    provider = model.partition(":")[0]
    named = settings.bedrock_endpoint.rstrip("/") if SHARED_ACCOUNTS.get(provider, provider) == "bedrock" else ""
    return (named,) if named else ()
