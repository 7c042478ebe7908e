"""How the API is run; the only file of it that reads the environment."""

from pathlib import Path
from typing import Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, field_validator, model_validator

from serving.pipeline.settings import PipelineSettings
from serving.release.channel import CHANNELS


class AppSettings(PipelineSettings):
    """Read from TOUCHSTONE_* variables and a `.env` file, after the pipeline's own."""

    releases: str = Field(default="releases", description="where releases and channels are kept: a folder or s3://bucket/prefix")
    channel: str = Field(default="dev", description="the channel whose release is served")
    poll_s: float = Field(default=5.0, gt=0, description="how often the channel is looked at, and how soon a failed load is tried again")

    documents_poll_s: float = Field(default=1.0, gt=0, description="how often added documents are looked for")
    index_documents: bool = Field(default=True, description="whether this server indexes them; else another, or `touchstone ingest`, does")
    catch_up_s: float = Field(
        default=600.0, ge=0, description="patience with indexing added documents for a new release, before it takes over from the last one"
    )

    api_keys: Path | None = Field(default=None, description="a YAML file of callers by their key's SHA-256; none: everyone, as the public")
    oidc_issuer: str = Field(default="", description="an identity provider, whose bearer tokens are taken beside keys: https://…")
    oidc_audience: str = Field(default="", description="what its tokens have to be for")
    oidc_keys: str = Field(default="", description="the address of its keys; default: as its openid-configuration says")
    oidc_tenant_claim: str = Field(default="tenant", description="the claim that names the caller's tenant")
    oidc_groups_claim: str = Field(default="groups", description="the claim that lists the caller's groups")
    oidc_scopes_claim: str = Field(default="scope", description="the claim with scopes, as touchstone:query; none of ours: query, feedback")
    max_per_minute: int = Field(default=0, ge=0, description="requests of one caller a minute, where its key says nothing; 0: no limit")
    usd_per_day: float | None = Field(default=None, ge=0, description="what all questions of a day may cost, in UTC; default: no budget")
    max_question_chars: int = Field(default=2000, ge=1, description="the longest question")
    max_body_bytes: int = Field(default=65_536, ge=1024, description="the largest request body")
    max_upload_bytes: int = Field(default=50_000_000, ge=1024, description="the largest file that can be uploaded")
    upload_timeout_s: float = Field(default=120.0, gt=0, description="patience with an upload")
    max_uploads: int = Field(default=4, ge=1, description="uploads received at a time; twice as many may wait")
    tenant_documents: int = Field(default=10_000, ge=0, description="documents that a tenant may add")
    tenant_document_bytes: int = Field(default=5_000_000_000, ge=0, description="bytes of files that a tenant may add")
    max_running: int = Field(default=16, ge=1, description="questions worked on at a time")
    max_waiting: int = Field(default=64, ge=0, description="questions that may wait for their turn; more are sent away")
    max_connections: int = Field(default=1024, ge=1, description="connections at a time; as many as the limit of open files lets, at most")
    max_connections_per_client: int = Field(
        default=256, ge=1, description="of these, from one address (one IPv6 network of 64 bits); a proxy is one address"
    )
    header_timeout_s: float = Field(default=10.0, gt=0, description="patience with the head of a request, from connecting on")
    body_timeout_s: float = Field(default=10.0, gt=0, description="patience with the body of a request")
    idle_timeout_s: float = Field(default=75.0, gt=0, description="how long a connection may rest between two requests")
    send_timeout_s: float = Field(default=30.0, gt=0, description="patience with a client that does not read its answer")
    request_timeout_s: float = Field(default=60.0, gt=0, description="patience with one question, waiting for its turn included")
    degrade: bool = Field(default=True, description="whether passages alone are shown, and said to be no answer, where no model answers")
    shadow_running: int = Field(default=2, ge=0, description="questions that a shadow release is asked at a time; more are left out")
    shadow_usd_per_hour: float = Field(default=1.0, ge=0, description="what a shadow release may cost in an hour; then it is left out")
    keep_traces: bool = Field(default=True, description="whether questions, passages and answers are kept, for feedback and review")
    traces: str = Field(default="", description="where: a file, or dynamodb:<table>; default <home>/traces.db")
    trace_days: float = Field(default=30.0, gt=0, description="after so many days a trace is removed, with what was said of it")
    traces_waiting: int = Field(default=1000, ge=1, description="traces that may wait in memory to be written; more are lost, and counted")
    traces_journal: str = Field(
        default="",
        description="a folder on this machine where traces also lie until they are stored, so that a kill -9 loses none; none: nowhere; "
        "default <home>/trace-journal where traces go to dynamodb:, else none",
    )
    examples: str = Field(default="", description="questions that the page offers to begin with, between them a |")
    expose_trace: bool = Field(default=False, description="whether ?trace=1 shows a caller the whole trace, the prompt included")

    otlp_traces: str = Field(default="", description="where spans are sent by OTLP/HTTP: http://collector:4318/v1/traces; default: nowhere")
    otlp_headers: SecretStr = Field(default=SecretStr(""), description="headers of the receiver: name=value,name=value")
    otlp_share: float = Field(default=1.0, ge=0, le=1, description="share of the questions whose spans are sent, unless the caller decides")
    otlp_content: bool = Field(default=False, description="whether spans hold the question and the answer")
    otlp_timeout_s: float = Field(default=5.0, gt=0, description="patience with the receiver")
    version: str = Field(default="", description="what /version says of the code; default: the version of the installed package")
    commit: str = Field(default="", description="the git commit of the code, for /version; the container image sets it")
    emf: bool = Field(default=False, description="whether metrics are logged once a minute for CloudWatch, in its Embedded Metric Format")
    scores: Literal["none", "langfuse", "mlflow"] = Field(
        default="none", description="whose API takes feedback and confidence as scores of the answers whose spans were sent there"
    )
    scores_url: str = Field(default="", description="where that API is: https://langfuse.example.com; default: where spans are sent")
    scores_headers: SecretStr = Field(default=SecretStr(""), description="its headers, where they are not those of the spans")
    scores_waiting: int = Field(default=1000, ge=1, description="scores that may wait in memory to be sent; more are lost, and counted")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="what is logged")
    log_format: Literal["json", "text"] = Field(default="json", description="one JSON object per line, or lines for people")

    @property
    def scores_address(self) -> str:
        """Where scores are sent."""
        if self.scores_url:
            return self.scores_url.rstrip("/")
        for end in ("/api/public/otel/v1/traces", "/v1/traces"):
            if self.otlp_traces.endswith(end):
                return self.otlp_traces.removesuffix(end)
        return ""

    @model_validator(mode="after")
    def _scores_have_a_place(self) -> "AppSettings":
        if self.scores != "none" and not self.otlp_traces:
            raise ValueError("scores belong to spans: TOUCHSTONE_SCORES needs TOUCHSTONE_OTLP_TRACES")
        if self.scores != "none" and not self.scores_address.startswith(("http://", "https://")):
            raise ValueError(
                "TOUCHSTONE_SCORES needs TOUCHSTONE_SCORES_URL, http:// or https://: it cannot be told from where spans are sent"
            )
        return self

    @field_validator("channel")
    @classmethod
    def _known_channel(cls, value: str) -> str:
        if value not in CHANNELS:
            raise ValueError(f"must be one of {', '.join(CHANNELS)}")
        return value


def header_pairs(text: str) -> dict[str, str]:
    """Headers of "name=value,name=value", as OpenTelemetry's own variable has them, so that "%20" is a space."""
    pairs = [pair.partition("=") for pair in text.split(",") if "=" in pair]
    return {name.strip(): unquote(value.strip()) for name, _, value in pairs}
