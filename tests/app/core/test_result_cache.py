import asyncio

import pytest

from serving.app.core.result_cache import ResultCache


async def test_an_answer_is_given_again_for_ten_times_as_long_as_it_took() -> None:
    now, made = [0.0], []

    def make() -> int:
        now[0] += 2.0
        made.append(now[0])
        return len(made)

    kept = ResultCache[int](clock=lambda: now[0])
    assert await asyncio.gather(*(kept.get("a", make) for _ in range(3))) == [1, 1, 1]
    assert await kept.get("b", make) == 2
    now[0] = 21.9
    assert await kept.get("a", make) == 1
    now[0] = 22.1
    assert await kept.get("a", make) == 3


async def test_a_failure_is_not_kept() -> None:
    kept = ResultCache[int]()

    def fail() -> int:
        raise ValueError

    with pytest.raises(ValueError):
        await kept.get("a", fail)
    assert await kept.get("a", lambda: 1) == 1
