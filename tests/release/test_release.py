import hashlib
import itertools
import multiprocessing
import shutil
import signal
import subprocess
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from serving.pipeline.build import config_digest
from serving.pipeline.errors import DataError, IntegrityError, StoreError, TouchstoneError
from serving.release.bundle import SUMS, load_release, releases, write_release
from tests.support.killing import DeadlyStorage, killing
from tests.support.releasing import PROMPTS, a_config, a_manifest, at, prove, write

ARTEFACTS = {"0123456789abcdef.json": b'{"weights": [1, 2]}', "fedcba9876543210.safetensors": bytes(range(256))}


def test_a_release_loads_as_what_was_written(storage_uri: str) -> None:
    chosen = a_config()
    written = write(at(storage_uri), chosen)
    loaded = load_release(at(storage_uri), written.digest)
    assert loaded.digest == written.digest == config_digest(chosen, "c0ffee", PROMPTS)
    assert loaded.config == chosen.complete()
    assert loaded.index == a_manifest(chosen)
    assert loaded.place == f"{storage_uri}/{written.digest}"
    choice = chosen.answer.prompt
    assert loaded.prompts.texts(choice) == PROMPTS.texts(choice)
    assert loaded.evidence == {} and loaded.newest_evidence == ""
    assert releases(at(storage_uri)) == [written.digest]


@pytest.mark.slow
def test_a_release_can_be_written_again_from_what_was_loaded(storage_uri: str, tmp_path: Path) -> None:
    loaded = load_release(at(storage_uri), write(at(storage_uri), a_config()).digest)
    copy = write_release(at(tmp_path / "copy"), loaded.config, loaded.prompts, loaded.index)
    assert (copy.digest, copy.sums) == (loaded.digest, loaded.sums)


def test_the_sums_are_those_of_sha256sum_and_cover_every_file_but_the_evidence(tmp_path: Path) -> None:
    digest = write(at(tmp_path), a_config(), artefacts=ARTEFACTS).digest
    folder = tmp_path / digest
    prove(at(tmp_path), digest)
    lines = (folder / SUMS).read_text().splitlines()
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {SUMS}
    proofs = {name for name in files if name.startswith("evidence/")}
    assert len(proofs) == 1
    assert lines == [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}" for name in sorted(files - proofs)]
    assert {"config.yaml", "index.json", "prompts/answer/general/v3.md", "artefacts/0123456789abcdef.json"} <= files
    done = subprocess.run(["sha256sum", "--check", "--quiet", SUMS], cwd=folder, check=False)
    assert done.returncode == 0


def test_a_release_carries_only_prompts_that_it_can_reach(tmp_path: Path) -> None:
    folder = tmp_path / write(at(tmp_path), a_config(by_domain=False)).digest
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*.md")] == ["prompts/answer/general/v3.md"]


def test_artefacts_are_carried_and_loaded_back(storage_uri: str) -> None:
    digest = write(at(storage_uri), a_config(), artefacts=ARTEFACTS).digest
    assert load_release(at(storage_uri), digest).artefacts == ARTEFACTS
    with pytest.raises(IntegrityError, match="is there with another artefact 'fedcba9876543210.safetensors'"):
        write(at(storage_uri), a_config(), artefacts=ARTEFACTS | {"fedcba9876543210.safetensors": b"other"})


@pytest.mark.parametrize("name", ["weights.json", "0123456789abcdef.pkl", "../0123456789abcdef.json", "0123456789abcdef.json.exe"])
def test_an_artefact_is_named_by_a_digest_and_one_of_two_kinds(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="does not name an artefact"):
        write(at(tmp_path), a_config(), artefacts={name: b""})
    assert not list(tmp_path.iterdir())


def test_a_release_that_is_there_already_is_kept_as_it_is(storage_uri: str) -> None:
    first = write(at(storage_uri), a_config())
    rebuilt = a_manifest(a_config()).model_copy(update={"created_at": "2026-02-02T00:00:00+00:00"})
    again = write_release(at(storage_uri), a_config(), PROMPTS, rebuilt)
    assert (again.digest, again.sums) == (first.digest, first.sums)
    assert again.index.created_at == "2026-01-01T00:00:00+00:00"


def test_a_different_configuration_corpus_or_prompt_is_a_different_release(tmp_path: Path) -> None:
    chosen, storage = a_config(), at(tmp_path)
    digests = {write(storage, chosen).digest, write(storage, a_config(7)).digest, write(storage, a_config(by_domain=False)).digest}
    digests.add(write_release(storage, chosen, PROMPTS, a_manifest(chosen, "another")).digest)
    assert len(digests) == 4


def _every_file(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_one_byte_changed_anywhere_is_noticed_and_the_file_is_named(tmp_path: Path) -> None:
    storage = at(tmp_path)
    digest = write(storage, a_config(by_domain=False), artefacts=ARTEFACTS).digest
    prove(storage, digest)
    files = _every_file(tmp_path / digest)
    assert len(files) == 7
    for path in files:
        good = path.read_bytes()
        for place in (0, len(good) // 2, len(good) - 1):
            for flip in (0x01, 0x80):
                path.write_bytes(good[:place] + bytes([good[place] ^ flip]) + good[place + 1 :])
                with pytest.raises(IntegrityError, match=path.name):
                    load_release(storage, digest)
        path.write_bytes(good)
    load_release(storage, digest)


def test_a_file_too_many_or_too_few_is_noticed(storage_uri: str) -> None:
    storage = at(storage_uri)
    digest = write(storage, a_config(by_domain=False), artefacts=ARTEFACTS).digest
    for extra in ("prompts/extra.md", "artefacts/extra.json", "evidence.json"):
        storage.put(f"{digest}/{extra}", b"x")
        with pytest.raises(IntegrityError, match=f"'{extra}' is not listed in"):
            load_release(storage, digest)
        storage.delete(f"{digest}/{extra}")
    storage.delete(f"{digest}/artefacts/0123456789abcdef.json")
    with pytest.raises(IntegrityError, match=r"'artefacts/0123456789abcdef.json' is missing though listed"):
        load_release(storage, digest)


@pytest.mark.slow
def test_a_release_without_sums_is_not_whole(storage_uri: str) -> None:
    storage = at(storage_uri)
    digest = write(storage, a_config()).digest
    storage.delete(f"{digest}/{SUMS}")
    assert releases(storage) == []
    with pytest.raises(IntegrityError, match=f"{digest} has no SHA256SUMS; it is not a whole release"):
        load_release(storage, digest)


def _seal(folder: Path) -> None:
    files = [path for path in _every_file(folder) if path.name != SUMS and path.parent.name != "evidence"]
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder).as_posix()}\n" for path in files)
    (folder / SUMS).write_text(sums)


def test_a_forged_release_with_right_sums_does_not_hash_to_its_name(tmp_path: Path) -> None:
    digest = write(at(tmp_path), a_config()).digest
    folder = tmp_path / digest
    data = yaml.safe_load((folder / "config.yaml").read_text())
    data["retrieve"]["top_k"] = 7
    (folder / "config.yaml").write_text(yaml.safe_dump(data))
    _seal(folder)
    with pytest.raises(IntegrityError, match="hashes to"):
        load_release(at(tmp_path), digest)


def test_what_the_digest_does_not_cover_is_bound_to_by_the_evidence(tmp_path: Path) -> None:
    storage = at(tmp_path)
    digest = write(storage, a_config()).digest
    proof = prove(storage, digest)
    path = tmp_path / digest / "index.json"
    path.write_text(path.read_text().replace('"chunks": 9', '"chunks": 8'))
    _seal(tmp_path / digest)
    for evidence in (None, proof):
        with pytest.raises(IntegrityError, match="proves a release with other files"):
            load_release(storage, digest, evidence=evidence)


def test_a_release_renamed_is_not_that_release(tmp_path: Path) -> None:
    (tmp_path / write(at(tmp_path), a_config()).digest).rename(tmp_path / "0123456789abcdef")
    with pytest.raises(IntegrityError, match="hashes to"):
        load_release(at(tmp_path), "0123456789abcdef")


@pytest.mark.slow
def test_an_unknown_release_is_an_error_that_names_those_known(storage_uri: str) -> None:
    with pytest.raises(DataError, match="Known: none"):
        load_release(at(storage_uri), "abc")
    digest = write(at(storage_uri), a_config()).digest
    with pytest.raises(DataError, match=f"Did you mean '{digest}'"):
        load_release(at(storage_uri), digest[:-1])
    for odd in ("../releases", f"{digest}/prompts", "", ".."):
        with pytest.raises(DataError, match="No release"):
            load_release(at(storage_uri), odd)


def test_a_place_that_cannot_be_written_is_an_outage_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file"):
        write(at(tmp_path / "file"), a_config())


def write_and_die(place: str, write_: int) -> None:
    write(DeadlyStorage(at(place), write_), a_config(by_domain=False))  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_writer_killed_before_any_file_leaves_no_release_and_the_next_one_makes_it_whole(storage_uri: str) -> None:
    with killing("tests.release.test_release:write_and_die", storage_uri) as killed:
        for file in (1, 2, 3, 4):  # config.yaml, index.json, one prompt, SHA256SUMS
            assert killed(file) == -signal.SIGKILL
            assert releases(at(storage_uri)) == []
        assert killed(5) == 0
    [digest] = releases(at(storage_uri))
    load_release(at(storage_uri), digest)


def test_what_was_left_and_does_not_make_the_release_gets_no_sums(storage_uri: str) -> None:
    storage = at(storage_uri)
    digest = config_digest(a_config(), "c0ffee", PROMPTS)
    storage.put(f"{digest}/config.yaml", b"retrieve: {top_k: 9}\n")
    with pytest.raises(IntegrityError, match="hashes to"):
        write(storage, a_config())
    assert releases(storage) == []


def _write_one(place: str, worker: int) -> str:
    """Write the release as a machine does that built the index at its own time."""
    built = a_manifest(a_config()).model_copy(update={"created_at": f"2026-01-01T00:00:{worker:02}+00:00"})
    return write_release(at(place), a_config(), PROMPTS, built).digest


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.slow
def test_writers_at_the_same_time_make_one_whole_release(storage_uri: str, kind: str) -> None:
    context = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(8) if kind == "threads" else ProcessPoolExecutor(2, mp_context=context) as pool:
        digests = set(pool.map(_write_one, [storage_uri] * 8, range(8)))
    [digest] = digests
    assert releases(at(storage_uri)) == [digest]
    load_release(at(storage_uri), digest)


def test_releases_are_listed_oldest_first(tmp_path: Path) -> None:
    import os

    digests = [write(at(tmp_path), a_config(k, by_domain=False)).digest for k in (1, 2, 3)]
    for age, digest in enumerate(digests):
        os.utime(tmp_path / digest / SUMS, (1_000_000 - age, 1_000_000 - age))
    assert releases(at(tmp_path)) == digests[::-1]
    shutil.rmtree(tmp_path / digests[0])
    assert releases(at(tmp_path)) == digests[:0:-1]


def rewritten(folder: Path, name: str, data: bytes) -> None:
    """Put other bytes under a name of a release, with the sum that goes with them."""
    before = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / name).write_bytes(data)
    (folder / SUMS).write_text((folder / SUMS).read_text().replace(before, hashlib.sha256(data).hexdigest()))


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{one}: &{one} [{', '.join([f'*{before}'] * 10)}]\n" for before, one in itertools.pairwise("abcdefghijkl")
)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("config.yaml", f"{BOMB}index: *l\n", "the alias \\*a is not allowed"),
        ("config.yaml", "[" * 5000, "config.yaml:1: not YAML: nested too deeply"),
        ("prompts/answer/general/v3.md", f"---\n{BOMB}variables: *l\n---\n# System\n# User\n", "the alias \\*a is not allowed"),
        ("prompts/answer/general/v3.md", "x" * (1024 * 1024 + 1), "has 1048577 bytes; at most 1048576 are read"),
        ("artefacts/0123456789abcdef.json", "x" * (64 * 1024 * 1024 + 1), "has 67108865 bytes; at most 67108864 are read"),
    ],
)
def test_a_release_whose_sums_agree_cannot_exhaust_who_reads_it(tmp_path: Path, name: str, text: str, words: str) -> None:
    digest = write(at(tmp_path), a_config(), artefacts=ARTEFACTS).digest
    rewritten(tmp_path / digest, name, text.encode())
    with pytest.raises(TouchstoneError, match=words):
        load_release(at(tmp_path), digest)


def test_a_file_of_a_release_is_no_link_to_elsewhere(tmp_path: Path) -> None:
    storage = at(tmp_path / "releases")
    digest = write(storage, a_config()).digest
    path = tmp_path / "releases" / digest / "config.yaml"
    path.rename(tmp_path / "elsewhere.yaml")
    path.symlink_to(tmp_path / "elsewhere.yaml")
    with pytest.raises(StoreError, match="leads out of"):
        load_release(storage, digest)
