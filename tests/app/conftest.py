import asyncio
from pathlib import Path

import pytest

from tests.app.making import House, config
from tests.support.s3 import s3_bucket, s3_server

__all__ = ["s3_bucket", "s3_server"]


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with one release on `dev`; read only."""
    house = House(tmp_path_factory.mktemp("house"))
    asyncio.run(house.release(config()))
    return house


@pytest.fixture(autouse=True)
def no_minute_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute after which events that repeat themselves are told anew is longer than any test takes."""
    monkeypatch.setattr("serving.app.server.repeats.INTERVAL_S", 1e6)


@pytest.fixture
def house(furnished: House, tmp_path: Path) -> House:
    """A copy of one's own, to break."""
    return furnished.copy(tmp_path / "house")
