"""Opens the trace store that the settings name."""

from pathlib import Path

from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command
from serving.pipeline.settings import DYNAMODB, SECONDS_A_DAY, PipelineSettings
from serving.traces.base import TraceStore
from serving.traces.sqlite import SqliteTraceStore


def open_traces(place: str, settings: PipelineSettings, *, retention_days: float, endpoint: str = "") -> TraceStore:
    """A file's path, or `dynamodb:<table>`."""
    if not place.startswith(DYNAMODB):
        return SqliteTraceStore(Path(place))
    try:
        from serving.traces.dynamodb import DynamoTraceStore

        table = place.removeprefix(DYNAMODB)
        return DynamoTraceStore(table, region=settings.aws_region, endpoint=endpoint, retention_s=retention_days * SECONDS_A_DAY)
    except ImportError as error:
        raise ConfigError(f"Traces in {place} need boto3 ({error}). Install it: {install_command('bedrock')}") from error
