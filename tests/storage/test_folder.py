import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.pipeline.errors import StoreError
from serving.storage.files import write_bytes
from serving.storage.folder import FolderStorage
from serving.storage.lock import file_lock


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_files_mode_is_what_the_umask_allows(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_bytes(tmp_path / "one", b"x")
        FolderStorage(tmp_path / "storage").put("two", b"x")
    finally:
        os.umask(before)
    for path in (tmp_path / "one", tmp_path / "storage" / "two"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_nothing_but_the_keys_is_left_in_the_folder(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path)
    version = storage.put_if("a/one", b"x", expected=None)
    storage.put_if("a/one", b"y", expected=version)
    storage.put("b", b"z")
    storage.delete("a/one")
    assert [path.name for path in tmp_path.rglob("*")] == ["b"]


def test_what_a_killed_writer_left_is_neither_listed_nor_in_the_way(tmp_path: Path) -> None:
    (tmp_path / ".key.0123456789ab").write_bytes(b"half")
    storage = FolderStorage(tmp_path)
    storage.put("key", b"whole")
    assert [entry.key for entry in storage.list()] == ["key"]


def test_a_place_that_cannot_be_used_is_a_store_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    broken = FolderStorage(tmp_path / "file")
    for do in (lambda: broken.put("key", b""), lambda: broken.put_if("key", b"", expected=None), lambda: broken.lock("key").__enter__()):
        with pytest.raises(StoreError, match="file"):
            do()
    assert broken.get("key") is None
    with pytest.raises(StoreError, match="folder"):
        FolderStorage(tmp_path).get("folder")


def test_a_lock_on_a_file_removed_meanwhile_is_a_lock_on_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with file_lock(path):
        path.unlink()
        with file_lock(path), pytest.raises(BlockingIOError), file_lock(path, wait=False):
            pass


def test_a_lock_that_is_not_to_be_made_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), file_lock(tmp_path / "none", create=False):
        pass
    assert list(tmp_path.iterdir()) == []
    with file_lock(tmp_path, create=False), pytest.raises(BlockingIOError), file_lock(tmp_path, wait=False):
        pass


def test_no_link_inside_leads_out_of_the_folder(tmp_path: Path) -> None:
    storage, outside = FolderStorage(tmp_path / "inside"), tmp_path / "outside"
    storage.put("a", b"kept")
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (tmp_path / "inside" / "folder").symlink_to(outside)
    (tmp_path / "inside" / "file").symlink_to(outside / "secret")
    (tmp_path / "inside" / "circle").symlink_to(tmp_path / "inside" / "circle")
    for key in ("folder/secret", "folder/new", "file", "circle", "circle/x"):
        for do in (storage.get, storage.delete, lambda key: storage.put(key, b"x"), lambda key: storage.lock(key).__enter__()):
            with pytest.raises(StoreError, match="leads out|loop"):
                do(key)
    assert list(storage.list("folder/")) == []
    assert [(path.name, path.read_bytes()) for path in outside.iterdir()] == [("secret", b"secret")]
    (tmp_path / "link").symlink_to(tmp_path / "inside")  # the folder itself may be one
    (tmp_path / "inside" / "b").symlink_to(tmp_path / "inside" / "a")  # and a link that stays is none of the above
    assert [FolderStorage(tmp_path / "link").get(key) for key in "ab"] == [storage.get("a")] * 2


def test_a_lock_is_had_while_others_remove_the_folder_that_it_is_made_in(tmp_path: Path) -> None:
    storage, done = FolderStorage(tmp_path), threading.Event()

    def forget() -> None:
        while not done.is_set():
            storage.delete("a/b/other")

    with ThreadPoolExecutor(2) as threads:
        others = [threads.submit(forget) for _ in range(2)]
        try:
            for number in range(1000):
                with storage.lock(f"a/b/{number}"):
                    pass
                (tmp_path / "a" / "b" / f".{number}.lock").unlink()
        finally:
            done.set()
    assert [one.result() for one in others] == [None, None]
