"""Opens the store of the audit trail that the settings name."""

from importlib.util import find_spec
from pathlib import Path

from serving.audit.base import AuditStore
from serving.audit.sqlite import SqliteAuditStore
from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command
from serving.pipeline.settings import DYNAMODB, SECONDS_A_DAY, PipelineSettings


def open_audit(settings: PipelineSettings) -> AuditStore:
    """A file, or `dynamodb:<table>`; nothing is asked of it before the first act."""
    place, retention_s = settings.audit_place, settings.audit_days * SECONDS_A_DAY
    if not place.startswith(DYNAMODB):
        return SqliteAuditStore(Path(place), retention_s=retention_s)
    table = place.removeprefix(DYNAMODB)
    if not table:
        raise ConfigError(f"TOUCHSTONE_AUDIT is {place!r}: name the table, as in {DYNAMODB}touchstone-dev-audit.")
    if find_spec("boto3") is None:
        raise ConfigError(f"The audit trail in {place} needs boto3. Install it: {install_command('bedrock')}")
    from serving.audit.dynamodb import DynamoAuditStore

    return DynamoAuditStore(table, region=settings.aws_region, endpoint=settings.dynamodb_endpoint, retention_s=retention_s)
