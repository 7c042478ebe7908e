"""Opens the backend that the settings name: this process' memory, or Redis."""

from dataclasses import dataclass

from serving.pipeline.cache.backend import CacheBackend
from serving.pipeline.cache.keys import CacheKeys, make_one
from serving.pipeline.cache.memory import MemoryBackend
from serving.pipeline.cache.redis_backend import RedisBackend
from serving.pipeline.cache.redis_link import RedisLink
from serving.pipeline.clock import Clock
from serving.pipeline.errors import ConfigError
from serving.pipeline.redis.address import RedisAddress
from serving.pipeline.settings import PipelineSettings


@dataclass(frozen=True, slots=True)
class OpenBackend:
    """A backend, and the keys of what is in it."""

    backend: CacheBackend
    keys: CacheKeys


def open_backend(settings: PipelineSettings, clock: Clock, *, ttl_s: float, max_entries: int) -> OpenBackend:
    """The backend of a cache; connects to nothing yet."""
    if not settings.redis:
        return OpenBackend(MemoryBackend(clock.seconds, ttl_s=ttl_s, max_entries=max_entries), CacheKeys.of(""))
    keys = shared_keys(settings)
    return OpenBackend(RedisBackend(RedisLink(RedisAddress.of(settings)), keys, clock, ttl_s=ttl_s, max_entries=max_entries), keys)


def shared_keys(settings: PipelineSettings) -> CacheKeys:
    """The keys that all processes of a deployment have."""
    secret = settings.cache_secret.get_secret_value()
    if not secret:
        raise ConfigError(f"TOUCHSTONE_REDIS shares cached answers, so all processes need one TOUCHSTONE_CACHE_SECRET. {make_one()}")
    return CacheKeys.of(secret)
