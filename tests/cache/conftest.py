from collections.abc import Iterator

import pytest

from tests.support.redis import RedisServer, patient_with_redis, running_redis


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis has as long as it needs, except where it is taken away."""
    patient_with_redis(monkeypatch)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """For tests that do no harm to it; each has a secret of its own, and so sees nothing of the others."""
    yield from running_redis(tmp_path_factory.mktemp("redis"))


@pytest.fixture
def own_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """To be stopped, killed and filled up."""
    yield from running_redis(tmp_path_factory.mktemp("redis"), "--enable-debug-command", "yes")
