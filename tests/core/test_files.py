from pathlib import Path

import pytest

from serving.pipeline.errors import StoreError
from serving.storage.files import write_text


def test_a_file_is_replaced_whole_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "one")
    write_text(path, "two – ß")
    assert path.read_text(encoding="utf-8") == "two – ß"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_place_that_cannot_be_written_is_a_store_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="could not be written"):
        write_text(tmp_path / "file" / "below.txt", "x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError):
        write_text(tmp_path / "folder", "x")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "folder"]
