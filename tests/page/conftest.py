from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.app.making import House
from tests.page.browsing import CHROMIUM, chromium
from tests.page.site import release


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all; every visit has a profile of its own."""
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium")
    async with chromium() as opened:
        yield opened


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def company(tmp_path_factory: pytest.TempPathFactory) -> House:
    """The company with one release on `dev`; read only."""
    house = House(tmp_path_factory.mktemp("company"))
    await release(house)
    return house


@pytest.fixture
def house(company: House, tmp_path: Path) -> House:
    """A copy of one's own, to move channels in."""
    return company.copy(tmp_path / "house")
