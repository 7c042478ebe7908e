"""What every storage keeps, whatever it is made of."""

import multiprocessing
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest

from serving.pipeline.errors import DataError, LockedError
from serving.pipeline.settings import PipelineSettings
from serving.storage.base import Storage
from serving.storage.open import open_storage
from tests.support.waiting import WITHIN_S

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).parents[2]


def opened(uri: str) -> Storage:
    """A storage of its own, as another process or machine has it."""
    return open_storage(uri, PipelineSettings(_env_file=None))


def keys(storage: Storage, prefix: str = "") -> list[str]:
    return [entry.key for entry in storage.list(prefix)]


def test_what_was_put_is_got_with_its_version(storage_uri: str) -> None:
    storage = opened(storage_uri)
    assert storage.place == storage_uri
    assert storage.get("a/b.json") is None
    storage.put("a/b.json", b"one")
    first = opened(storage_uri).get("a/b.json")
    storage.put("a/b.json", b"two" * 100_000)
    second = opened(storage_uri).get("a/b.json")
    assert first and second
    assert (first.data, second.data) == (b"one", b"two" * 100_000)
    assert first.version != second.version
    storage.put("empty", b"")
    kept = storage.get("empty")
    assert kept and kept.data == b""


def test_a_key_is_taken_once_and_replaced_only_where_it_is_what_was_expected(storage_uri: str) -> None:
    storage = opened(storage_uri)
    first = storage.put_if("channel", b"one", expected=None)
    assert first
    assert storage.put_if("channel", b"another", expected=None) is None
    second = storage.put_if("channel", b"two", expected=first)
    assert second and second != first
    assert storage.put_if("channel", b"three", expected=first) is None
    assert storage.put_if("never there", b"x", expected=first) is None
    kept = storage.get("channel")
    assert kept and (kept.data, kept.version) == (b"two", second)
    storage.put("channel", b"put meanwhile")
    assert storage.put_if("channel", b"three", expected=second) is None


def test_keys_are_listed_by_prefix_in_order_with_size_and_time(storage_uri: str) -> None:
    storage = opened(storage_uri)
    assert keys(storage) == []
    for key in ("b/one", "b/deep/er/two", "a", "bb", "b.json"):
        storage.put(key, key.encode())
    assert keys(storage) == sorted(["a", "b.json", "b/deep/er/two", "b/one", "bb"])
    assert keys(storage, "b/") == ["b/deep/er/two", "b/one"]
    assert keys(storage, "b/o") == ["b/one"]
    assert keys(storage, "c") == []
    [entry] = storage.list("b.json")
    assert entry.size == 6
    assert abs(datetime.now(UTC) - entry.modified) < timedelta(hours=1)


def test_more_keys_than_one_page_are_all_listed(storage_uri: str) -> None:
    storage = opened(storage_uri)
    names = [f"many/{number:04}" for number in range(1005 if storage_uri.startswith("s3") else 50)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: storage.put(name, b""), names))
    assert keys(storage, "many/") == names


def test_a_deleted_key_is_gone_and_deleting_it_again_is_no_error(storage_uri: str) -> None:
    storage = opened(storage_uri)
    storage.delete("never/there")
    storage.put("a/b/c", b"x")
    storage.put("a/d", b"y")
    storage.delete("a/b/c")
    storage.delete("a/b/c")
    assert storage.get("a/b/c") is None
    assert keys(storage) == ["a/d"]
    assert storage.put_if("a/b/c", b"again", expected=None)


@pytest.mark.parametrize("key", ["über/straße/日本語.json", "with space", "a+b=c&d", "100%", "q?x#y", "quote'\"", "e\u0301 beside é"])
def test_keys_are_any_text(storage_uri: str, key: str) -> None:
    storage = opened(storage_uri)
    storage.put(key, b"x")
    kept = storage.get(key)
    assert kept and kept.data == b"x"
    assert keys(storage) == [key]
    assert storage.put_if(key, b"y", expected=kept.version)
    storage.delete(key)
    assert keys(storage) == []


@pytest.mark.parametrize(
    "key",
    ["", "/etc/passwd", "../out", "a/../../out", "a//b", "a/", ".hidden", "a/.hidden", "a\\b", "a\0b", ".", "a\nb", "a\x7f", "a\ud800"],
)
def test_a_key_that_leads_out_or_is_hidden_is_refused(storage_uri: str, key: str) -> None:
    storage = opened(storage_uri)
    for do in (storage.get, storage.delete, partial(storage.put, data=b""), partial(storage.put_if, data=b"", expected=None)):
        with pytest.raises(DataError, match="is not a key"):
            do(key)
    with pytest.raises(DataError, match="is not a key"), storage.lock(key):
        pass
    if key:
        with pytest.raises(DataError, match="is not a key"):
            list(storage.list(f"{key}/x"))


def _create(uri: str, worker: int) -> bool:
    return opened(uri).put_if("first", f"worker {worker}".encode(), expected=None) is not None


def _replace(uri: str, version: str, worker: int) -> bool:
    return opened(uri).put_if("there", f"worker {worker}".encode(), expected=version) is not None


def _same(uri: str, worker: int) -> bool:
    return opened(uri).put_if("same", b"all of them write the same", expected=None) is not None


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_of_racers_exactly_one_wins(storage_uri: str, kind: str) -> None:
    storage = opened(storage_uri)
    version = storage.put_if("there", b"before", expected=None)
    assert version
    context = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(8) if kind == "threads" else ProcessPoolExecutor(2, mp_context=context) as pool:
        for do in (partial(_create, storage_uri), partial(_replace, storage_uri, version), partial(_same, storage_uri)):
            won = list(pool.map(do, range(8)))
            assert won.count(True) == 1
    for key in ("first", "there"):
        kept = storage.get(key)
        assert kept and kept.data.startswith(b"worker ")


def test_counting_by_compare_and_swap_loses_nothing(storage_uri: str) -> None:
    opened(storage_uri).put("count", b"0")

    def count(_: int) -> None:
        storage = opened(storage_uri)
        for _turn in range(5):
            while True:
                there = storage.get("count")
                assert there
                if storage.put_if("count", str(int(there.data) + 1).encode(), expected=there.version):
                    break

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(4)))
    kept = opened(storage_uri).get("count")
    assert kept and kept.data == b"20"


# The child writes two texts in turn until it is killed, and says when it has begun.
WRITER = """
import sys
from tests.storage.test_contract import opened
storage = opened(sys.argv[1])
texts = [b"old" * 100_000, b"new" * 100_000]
for turn in range(1_000_000):
    storage.put("key", texts[turn % 2])
    if turn == 1:
        print("writing", flush=True)
"""


def test_a_killed_writer_leaves_the_old_or_the_new(storage_uri: str) -> None:
    storage = opened(storage_uri)
    with subprocess.Popen([sys.executable, "-c", WRITER, storage_uri], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "writing\n"
        child.kill()
    kept = storage.get("key")
    assert kept and kept.data in (b"old" * 100_000, b"new" * 100_000)
    assert keys(storage) == ["key"]  # nothing half is listed
    assert storage.put_if("key", b"next", expected=kept.version)  # and nobody is kept out


# The child takes the lock, says so, and holds it until its input ends.
HOLDER = """
import sys
from tests.storage.test_contract import opened
with opened(sys.argv[1]).lock("work"):
    print("held", flush=True)
    sys.stdin.read()
print("given back", flush=True)
"""


def test_a_lock_keeps_other_processes_and_threads_out_until_it_is_given_back(storage_uri: str) -> None:
    storage = opened(storage_uri)
    command = [sys.executable, "-c", HOLDER, storage_uri]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout and child.stdin
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LockedError, match="held by another process"), storage.lock("work", wait=False):
            pass
        with storage.lock("other work", wait=False):  # another key is free
            pass
        entered = threading.Event()

        def enter() -> None:
            with opened(storage_uri).lock("work"):
                entered.set()

        waiting = threading.Thread(target=enter)
        waiting.start()
        assert not entered.is_set()
        child.stdin.close()
        assert child.stdout.readline() == "given back\n"
        assert entered.wait(WITHIN_S)
        waiting.join()
    assert child.returncode == 0
    with storage.lock("work", wait=False), pytest.raises(LockedError), opened(storage_uri).lock("work", wait=False):
        pass


def test_a_lock_is_no_key(storage_uri: str) -> None:
    storage = opened(storage_uri)
    with storage.lock("work"):
        assert storage.get("work") is None


def test_an_error_inside_a_lock_is_the_one_that_is_seen_and_the_lock_is_free_again(storage_uri: str) -> None:
    storage = opened(storage_uri)
    with pytest.raises(ZeroDivisionError), storage.lock("work"):
        raise ZeroDivisionError
    with storage.lock("work", wait=False):
        pass


def test_a_killed_holder_on_this_machine_leaves_the_lock_free(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        assert child.stdout.readline() == "held\n"
        child.send_signal(signal.SIGKILL)
    with opened(str(tmp_path)).lock("work", wait=False):
        pass
