import asyncio
from pathlib import Path

import pytest

from tests.app.making import House, config
from tests.support.days import endless_day
from tests.support.s3 import s3_bucket, s3_server

__all__ = ["s3_bucket", "s3_server"]


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> House:
    """A house with one release on `dev`; read only."""
    house = House(tmp_path_factory.mktemp("house"))
    asyncio.run(house.release(config()))
    return house


@pytest.fixture(autouse=True)
def time_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the day of the budgets ends within a test, nor the minute after which events that repeat themselves are told anew."""
    endless_day(monkeypatch)
    monkeypatch.setattr("serving.app.server.repeats.INTERVAL_S", 1e6)


@pytest.fixture
def house(furnished: House, tmp_path: Path) -> House:
    """A copy of one's own, to break."""
    return furnished.copy(tmp_path / "house")
