"""The endpoint of a hosted model, as part of its keys: answers of a stand-in are not those of the model."""

from serving.pipeline.models.rate_limit import SHARED_ACCOUNTS
from serving.pipeline.settings import PipelineSettings


def endpoints_of(model: str, settings: PipelineSettings) -> tuple[str, ...]:
    """The endpoint that the settings name for a model's provider; empty for the provider's own and for local models."""
    provider = model.partition(":")[0]
    endpoint = settings.bedrock_endpoint.rstrip("/") if SHARED_ACCOUNTS.get(provider, provider) == "bedrock" else ""
    return (endpoint,) if endpoint else ()
