"""The Redis or Valkey that a deployment shares: its address, how its keys begin, and how connections to it sign in."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command
from serving.pipeline.redact import without_password
from serving.pipeline.settings import PipelineSettings

if TYPE_CHECKING:
    from redis.asyncio import ConnectionPool

    Pool = TypeVar("Pool", bound=ConnectionPool)

_SCHEMES: Final = ("redis://", "rediss://", "unix://")
_TLS: Final = "rediss://"


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where it is and who we are there; opening a pool connects to nothing yet."""

    url: str = field(repr=False)
    prefix: str = "touchstone"
    iam_user: str = ""
    iam_cache: str = ""
    region: str = ""

    @classmethod
    def of(cls, settings: PipelineSettings) -> "RedisAddress":
        """As the settings name it."""
        return cls(settings.redis, settings.redis_prefix, settings.redis_iam_user, settings.redis_iam_cache, settings.aws_region)

    @property
    def place(self) -> str:
        """The address without what is secret in it."""
        return without_password(self.url)

    def key(self, *parts: str) -> str:
        """A key of this deployment: ElastiCache's user of a channel reaches those below its prefix, and no others."""
        return ":".join((self.prefix, *parts))

    def pool(self, kind: "type[Pool]", **options: Any) -> "Pool":
        """Connections; a mistake in the address, or in who signs in, is told at once."""
        if not self.url.startswith(_SCHEMES):
            raise ConfigError(f"TOUCHSTONE_REDIS={self.place!r}: an address begins with {', '.join(_SCHEMES)}")
        try:
            return kind.from_url(self.url, **options) if not self.iam_user else self._signed_in(kind, options)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"TOUCHSTONE_REDIS={self.place!r} is no address of a Redis: {without_password(str(error))}") from None

    def _signed_in(self, kind: "type[Pool]", options: dict[str, Any]) -> "Pool":
        """Connections that sign in with a token each, and are made anew before ElastiCache ends them."""
        from redis.asyncio.connection import parse_url

        named: dict[str, Any] = dict(parse_url(self.url))
        if not self.iam_cache:
            raise ConfigError("TOUCHSTONE_REDIS_IAM_USER needs TOUCHSTONE_REDIS_IAM_CACHE: the id of the cache that its tokens are for.")
        if not self.url.startswith(_TLS):
            raise ConfigError(f"TOUCHSTONE_REDIS={self.place!r}: with TOUCHSTONE_REDIS_IAM_USER it begins with {_TLS}: tokens are secret.")
        if {"username", "password"} & named.keys():
            raise ConfigError("TOUCHSTONE_REDIS names a user or a password, and TOUCHSTONE_REDIS_IAM_USER signs in without: leave one out.")
        try:
            from serving.pipeline.redis.elasticache import IamCredentials, RenewedConnection
        except ModuleNotFoundError as error:
            raise ConfigError(f"TOUCHSTONE_REDIS_IAM_USER needs boto3 ({error}). Install it: {install_command('bedrock')}") from None
        named |= {"connection_class": RenewedConnection, "protocol": 2}  # signs in by AUTH, and asks for no news of maintenance
        return kind(credential_provider=IamCredentials(self.iam_user, self.iam_cache, self.region), **(options | named))
