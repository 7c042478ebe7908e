"""LanceDB's storage options for a folder or S3."""

from serving.pipeline.settings import PipelineSettings
from serving.storage.place import is_remote

CONNECT_S, REQUEST_S, ATTEMPTS = 3, 30, 3  # timeouts in seconds, and tries


def storage_options(uri: str, settings: PipelineSettings) -> dict[str, str]:
    """The storage options for a URI; credentials come from AWS's own chain, never from here."""
    if not is_remote(uri):
        return {}
    options = {
        "aws_region": settings.aws_region,
        "connect_timeout": f"{CONNECT_S}s",
        "timeout": f"{REQUEST_S}s",
        "client_max_retries": str(ATTEMPTS),
        "client_retry_timeout": str(REQUEST_S),
    }
    if settings.s3_endpoint:
        options |= {"aws_endpoint": settings.s3_endpoint, "aws_virtual_hosted_style_request": "false"}
        options["allow_http"] = str(settings.s3_endpoint.startswith("http://")).lower()
    return options
