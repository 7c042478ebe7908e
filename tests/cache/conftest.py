from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer, running_redis


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For tests that do no harm to it; each has a secret of its own, and so sees nothing of the others."""
    yield from running_redis(tmp_path_factory.mktemp("redis"))


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """To be stopped, killed and filled up."""
    yield from running_redis(tmp_path_factory.mktemp("redis"), "--enable-debug-command", "yes")
