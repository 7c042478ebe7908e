import hashlib
import itertools
import json
import multiprocessing
import signal
import subprocess
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.pipeline.build import config_digest
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import DataError, IntegrityError, StoreError, TouchstoneError
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.prompts import PromptLibrary
from serving.release.bundle import SUMS, Release, load_release, point_channel, read_channel, releases, write_release

REPOSITORY = Path(__file__).parents[2]
PROMPTS = PromptLibrary(REPOSITORY / "prompts")
EVIDENCE = {"golden": "tiny/v1", "metrics": {"recall": 0.5}}


def config(top_k: int = 6, *, by_domain: bool = True) -> RagConfig:
    prompt = {"by_domain": by_domain}
    return RagConfig.parse({"index": {"embedder": {"name": "local:hashing"}}, "retrieve": {"top_k": top_k}, "answer": {"prompt": prompt}})


def manifest(of: RagConfig, corpus_digest: str = "c0ffee") -> IndexManifest:
    return IndexManifest(
        recipe=of.digest("index", corpus=corpus_digest), corpus="tiny", corpus_digest=corpus_digest, documents=5, chunks=9, index=of.index,
        embedder_version="1", dimensions=256, store_version="1", lancedb="0", data="lancedb", created_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def write(root: Path, of: RagConfig, evidence: dict[str, Any] | None = None) -> Release:
    return write_release(root, of, PROMPTS, manifest(of), EVIDENCE if evidence is None else evidence)


def test_a_release_loads_as_what_was_written(tmp_path: Path) -> None:
    chosen = config()
    written = write(tmp_path, chosen)
    loaded = load_release(tmp_path, written.digest)
    assert loaded.digest == written.digest == config_digest(chosen, "c0ffee", PROMPTS)
    assert loaded.config == chosen.complete()
    assert loaded.index == manifest(chosen)
    assert loaded.evidence == EVIDENCE
    choice = chosen.answer.prompt
    assert loaded.prompts.texts(choice) == PROMPTS.texts(choice)
    assert loaded.prompts.folder == tmp_path / written.digest / "prompts"
    assert releases(tmp_path) == [written.digest]


def test_the_sums_are_those_of_sha256sum_and_cover_every_file(tmp_path: Path) -> None:
    folder = write(tmp_path, config()).folder
    lines = (folder / SUMS).read_text().splitlines()
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {SUMS}
    assert lines == [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in sorted(files)]
    assert {"config.yaml", "index.json", "evidence.json", "prompts/answer/general/v3.md"} <= files


def test_a_release_carries_only_prompts_that_it_can_reach(tmp_path: Path) -> None:
    folder = write(tmp_path, config(by_domain=False)).folder
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.md")] == ["prompts/answer/general/v3.md"]


def test_a_release_that_is_there_already_is_kept_as_it_is(tmp_path: Path) -> None:
    first = write(tmp_path, config())
    again = write(tmp_path, config(), {"golden": "another"})
    assert again.digest == first.digest
    assert again.evidence == EVIDENCE


def test_a_different_configuration_corpus_or_prompt_is_a_different_release(tmp_path: Path) -> None:
    chosen = config()
    digests = {write(tmp_path, chosen).digest, write(tmp_path, config(7)).digest, write(tmp_path, config(by_domain=False)).digest}
    digests.add(write_release(tmp_path, chosen, PROMPTS, manifest(chosen, "another"), {}).digest)
    assert len(digests) == 4


def _every_file(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_one_byte_changed_anywhere_is_noticed_and_the_file_is_named(tmp_path: Path) -> None:
    folder = write(tmp_path, config(by_domain=False)).folder
    for path in _every_file(folder):
        good = path.read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            for flip in (0x01, 0x80):
                path.write_bytes(good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :])
                with pytest.raises(IntegrityError, match=SUMS if path.name == SUMS else path.name):
                    load_release(tmp_path, folder.name)
        path.write_bytes(good)
    load_release(tmp_path, folder.name)


def test_a_file_too_many_or_too_few_is_noticed(tmp_path: Path) -> None:
    folder = write(tmp_path, config(by_domain=False)).folder
    (folder / "prompts" / "extra.md").write_text("x")
    with pytest.raises(IntegrityError, match=r"'prompts/extra.md' is not listed in"):
        load_release(tmp_path, folder.name)
    (folder / "prompts" / "extra.md").unlink()
    (folder / "evidence.json").unlink()
    with pytest.raises(IntegrityError, match=r"'evidence.json' is missing though listed"):
        load_release(tmp_path, folder.name)


def test_a_forged_release_with_right_sums_does_not_hash_to_its_name(tmp_path: Path) -> None:
    folder = write(tmp_path, config()).folder
    data = yaml.safe_load((folder / "config.yaml").read_text())
    data["retrieve"]["top_k"] = 7
    (folder / "config.yaml").write_text(yaml.safe_dump(data))
    files = [path for path in _every_file(folder) if path.name != SUMS]
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files)
    (folder / SUMS).write_text(sums)
    with pytest.raises(IntegrityError, match="hashes to"):
        load_release(tmp_path, folder.name)


def test_a_release_renamed_is_not_that_release(tmp_path: Path) -> None:
    folder = write(tmp_path, config()).folder
    folder.rename(tmp_path / "0123456789abcdef")
    with pytest.raises(IntegrityError, match="hashes to"):
        load_release(tmp_path, "0123456789abcdef")


def test_an_unknown_release_is_an_error_that_names_those_known(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="Known: none"):
        load_release(tmp_path, "abc")
    digest = write(tmp_path, config()).digest
    with pytest.raises(DataError, match=f"Did you mean '{digest}'"):
        load_release(tmp_path, digest[:-1])


def test_a_place_that_cannot_be_written_is_an_outage_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        write(tmp_path / "file", config())


# The child kills itself at its n-th file: replacing write_text is the only way to stop at a known place.
KILLED = """
import os, signal, sys
import serving.release.bundle as module
from pathlib import Path
from tests.release.test_release import config, write
real, calls = module.write_text, [0]
def deadly(path, text):
    real(path, text)
    calls[0] += 1
    if calls[0] == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)
module.write_text = deadly
write(Path(sys.argv[1]), config())
"""


def test_a_writer_killed_at_any_file_leaves_no_release_and_the_next_one_clears_up(tmp_path: Path) -> None:
    for files in (1, 4):
        code = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), str(files)], cwd=REPOSITORY, check=False).returncode
        assert code == -signal.SIGKILL
        assert releases(tmp_path) == []
        assert [path.name for path in tmp_path.iterdir() if not path.name.startswith(".")] == []
    digest = write(tmp_path, config()).digest
    assert [path.name for path in tmp_path.iterdir()] == [digest]


def _write_one(root: str) -> str:
    return write(Path(root), config()).digest


def _pool() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(3, mp_context=multiprocessing.get_context("spawn"))


def test_writers_at_the_same_time_make_one_whole_release(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(_write_one, [str(tmp_path)] * 24))
    [digest] = digests
    assert [path.name for path in tmp_path.iterdir()] == [digest]
    load_release(tmp_path, digest)


def test_a_channel_points_at_a_release_and_remembers_those_before(tmp_path: Path) -> None:
    one, two = (write(tmp_path, config(k)).digest for k in (1, 2))
    with pytest.raises(DataError, match="touchstone promote --channel dev"):
        read_channel(tmp_path, "dev")
    assert point_channel(tmp_path, "dev", one).revision == 1
    assert point_channel(tmp_path, "dev", two).history == (one,)
    back = point_channel(tmp_path, "dev", one)
    assert (back.stable, back.revision, back.history) == (one, 3, (two, one))
    assert point_channel(tmp_path, "dev", one) == back
    assert read_channel(tmp_path, "dev") == back


def test_a_channel_never_points_at_what_is_not_there_or_not_whole(tmp_path: Path) -> None:
    good = write(tmp_path, config(1)).digest
    bad = write(tmp_path, config(2))
    (bad.folder / "config.yaml").write_text("{}")
    before = point_channel(tmp_path, "dev", good)
    for digest in ("none", bad.digest):
        with pytest.raises(TouchstoneError):
            point_channel(tmp_path, "dev", digest)
    assert read_channel(tmp_path, "dev") == before


def test_an_expectation_that_no_longer_holds_changes_nothing(tmp_path: Path) -> None:
    one, two, three = (write(tmp_path, config(k)).digest for k in (1, 2, 3))
    with pytest.raises(DataError, match="points at nothing"):
        point_channel(tmp_path, "dev", one, expected=two)
    point_channel(tmp_path, "dev", one, expected="")
    point_channel(tmp_path, "dev", two, expected=one)
    with pytest.raises(DataError, match="look again"):
        point_channel(tmp_path, "dev", three, expected=one)
    assert read_channel(tmp_path, "dev").stable == two


def test_an_unknown_channel_and_a_broken_one_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Did you mean 'prod'\?"):
        read_channel(tmp_path, "prd")
    path = tmp_path / "channels" / "dev.json"
    path.parent.mkdir()
    for content in (b"", b"{}", b"\xff", b'{"name": "dev", "stable": "x", "odd": 1}'):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=r"dev\.json is not a channel") as caught:
            read_channel(tmp_path, "dev")
        assert "\n" not in str(caught.value)


def _race(root: str, digests: list[str], worker: int) -> list[tuple[str, str]]:
    """Try to move the channel on from wherever it is seen to be; returns the moves that were ours."""
    won = []
    for turn in range(6):
        seen = read_channel(Path(root), "dev").stable
        to = digests[(digests.index(seen) + 1 + (worker + turn) % (len(digests) - 1)) % len(digests)]
        try:
            point_channel(Path(root), "dev", to, expected=seen)
            won.append((seen, to))
        except DataError:
            continue
    return won


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_racers_for_a_channel_leave_exactly_the_history_of_those_who_won(tmp_path: Path, kind: str) -> None:
    digests = [write(tmp_path, config(k, by_domain=False)).digest for k in (1, 2, 3, 4)]
    point_channel(tmp_path, "dev", digests[0])
    with ThreadPoolExecutor(8) if kind == "threads" else _pool() as pool:
        runs: list[Future[list[tuple[str, str]]]] = [pool.submit(_race, str(tmp_path), digests, worker) for worker in range(8)]
        won = [move for run in runs for move in run.result()]
    after = read_channel(tmp_path, "dev")
    assert after.revision == len(won) + 1
    trail = [*reversed(after.history), after.stable]  # the history is cut at 20
    steps = list(itertools.pairwise(trail))
    assert len(steps) == min(len(won), 20)
    left = list(won)
    for step in steps:
        left.remove(step)  # each step in the history is some winner's move, and no move is there twice
    assert len(left) == len(won) - len(steps)


def test_a_reader_never_sees_half_a_channel(tmp_path: Path) -> None:
    digests = [write(tmp_path, config(k, by_domain=False)).digest for k in (1, 2)]
    point_channel(tmp_path, "dev", digests[0])
    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [point_channel(tmp_path, "dev", digests[turn % 2]) for turn in range(60)])
        seen = {read_channel(tmp_path, "dev").stable for _ in iter(writing.done, True)} | {read_channel(tmp_path, "dev").stable}
        writing.result()
    assert seen <= set(digests)
    assert json.loads((tmp_path / "channels" / "dev.json").read_text())["revision"] == 60
    assert {path.name for path in (tmp_path / "channels").iterdir()} == {"dev.json", "dev.lock"}
