"""The order in which files are tried names files that are there."""

from tests.conftest import FIRST, HERE


def test_every_file_that_is_tried_first_is_there_and_is_named_once() -> None:
    assert [name for name in FIRST if not (HERE / name).is_file()] == []
    assert len(set(FIRST)) == len(FIRST)
