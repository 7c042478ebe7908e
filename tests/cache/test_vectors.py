import numpy as np
import pytest

from serving.pipeline.cache.keys import CacheKeys
from serving.pipeline.cache.redis_vectors import FollowedScope, FollowedScopes, log_item
from serving.pipeline.cache.vectors import VectorTable


def directions(count: int, dimensions: int = 96, seed: int = 3) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    unit: np.ndarray = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return unit


def test_the_nearest_come_first_whatever_was_replaced_and_dropped() -> None:
    rows, table = directions(300), VectorTable(96)
    for number, row in enumerate(rows):
        table.add(str(number), row)
    for number in range(0, 300, 3):
        table.drop(str(number))
    table.add("1", rows[0])
    table.add("new", rows[3])
    kept = {str(number): row for number, row in enumerate(rows) if number % 3} | {"1": rows[0], "new": rows[3]}
    assert len(table) == len(kept)
    for row in rows[:40]:
        by_hand = sorted(kept, key=lambda name: (-float(kept[name] @ row), name))[:5]
        assert [one.name for one in table.nearest(row, 5)] == by_hand


def test_equally_near_ones_come_in_the_order_of_their_names() -> None:
    table, [row] = VectorTable(96), directions(1)
    for name in "cab":
        table.add(name, row)
    assert [one.name for one in table.nearest(row, 2)] == ["a", "b"]


def test_of_many_rows_near_ones_are_found_by_their_sketches() -> None:
    rows = directions(20_000, 384)
    table = VectorTable(384)
    table.add_all([str(number) for number in range(len(rows))], rows)
    noise = directions(200, 384, seed=4)
    near = rows[:200] + 0.7 * noise  # a cosine of .82
    near /= np.linalg.norm(near, axis=1, keepdims=True)
    found = [table.nearest(row, 1)[0] for row in near]
    assert sum(one.name == str(number) for number, one in enumerate(found)) >= 198
    assert found[0].similarity == pytest.approx(float(near[0] @ rows[0]), abs=1e-5)


def test_a_vector_of_another_length_has_no_neighbours() -> None:
    table = VectorTable(96)
    table.add("a", directions(1)[0])
    assert table.nearest(directions(1, 64)[0], 1) == []


def test_what_is_followed_is_bounded_by_age_and_number() -> None:
    keys, rows = CacheKeys.of("s" * 40), directions(6)
    scope = FollowedScope("place", keys, ttl_s=10.0, most=3)
    names = [f"{number:02x}" for number in range(6)]
    items = [
        (f"{number}-0".encode(), {key.encode(): value for key, value in log_item("place", name, row, 1000.0 * number, keys).items()})
        for number, (name, row) in enumerate(zip(names, rows, strict=True))
    ]
    scope.read(items, now_ms=5000.0)
    assert [name in scope.table for name in names] == [False] * 3 + [True] * 3  # type: ignore[operator]
    scope.read([], now_ms=14_500.0)
    assert [name in scope.table for name in names] == [False] * 5 + [True]  # type: ignore[operator]
    elsewhere = FollowedScope("other place", keys, ttl_s=10.0, most=3)
    elsewhere.read(items, now_ms=5000.0)
    assert (len(elsewhere), elsewhere.broken) == (0, 6)


def test_the_scope_unused_for_longest_is_let_go() -> None:
    keys, rows = CacheKeys.of("s" * 40), directions(2)
    scopes = FollowedScopes(keys, ttl_s=10.0, most=3)
    for place in ("a", "b", "a", "c"):
        for name, row in zip(("00", "01"), rows, strict=True):
            scopes.of(place).write(name, row, 0.0)
    assert [place for place in "abc" if scopes.known(place)] == ["a", "c"]
    scopes.of("c")
    assert [place for place in "abc" if scopes.known(place)] == ["c"]
