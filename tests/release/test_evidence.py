import hashlib
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from serving.pipeline.errors import DataError, IntegrityError
from serving.release.bundle import SUMS, load_release
from serving.release.evidence import ReleaseEvidence
from tests.support.releasing import a_config, at, prove, some_evidence, write


def test_evidence_is_named_after_its_content_and_each_names_the_one_before(storage_uri: str) -> None:
    storage = at(storage_uri)
    digest = write(storage, a_config()).digest
    first = prove(storage, digest)
    second = prove(storage, digest, git_commit="abc")
    loaded = load_release(at(storage_uri), digest)
    assert list(loaded.evidence) == [first, second]
    assert [one.previous for one in loaded.evidence.values()] == ["", first]
    assert loaded.newest_evidence == second
    blob = storage.get(f"{digest}/evidence/{second}.json")
    assert blob and hashlib.sha256(blob.data).hexdigest().startswith(second)
    assert json.loads(blob.data)["sums_sha256"] == hashlib.sha256(loaded.sums).hexdigest()


def test_named_evidence_is_loaded_with_what_it_stands_on_and_no_more(storage_uri: str) -> None:
    storage = at(storage_uri)
    digest = write(storage, a_config()).digest
    first, second, third = (prove(storage, digest, git_commit=word) for word in "abc")
    assert list(load_release(storage, digest, evidence=second).evidence) == [first, second]
    assert load_release(storage, digest, evidence=second).newest_evidence == second
    assert list(load_release(storage, digest, evidence=third).evidence) == [first, second, third]
    with pytest.raises(DataError, match=f"No evidence '{third[:-1]}' in .* Did you mean '{third}'"):
        load_release(storage, digest, evidence=third[:-1])


def test_the_same_evidence_twice_is_one_document_and_nothing_is_written_over(storage_uri: str) -> None:
    storage = at(storage_uri)
    release = write(storage, a_config())
    assert prove(storage, release.digest, previous="") == prove(storage, release.digest, previous="")
    assert len(load_release(storage, release.digest).evidence) == 1


def test_two_who_prove_at_the_same_time_both_stand_on_what_they_saw(storage_uri: str) -> None:
    storage = at(storage_uri)
    digest = write(storage, a_config()).digest
    root = prove(storage, digest)
    sides = [prove(storage, digest, previous=root, who=who) for who in ("one", "other")]
    assert set(load_release(storage, digest).evidence) == {root, *sides}
    assert list(load_release(storage, digest, evidence=sides[1]).evidence) == [root, sides[1]]


def test_evidence_rewritten_with_its_sum_is_refused_by_whoever_names_it(tmp_path: Path) -> None:
    storage = at(tmp_path)
    digest = write(storage, a_config()).digest
    named = prove(storage, digest, git_commit="honest")
    path = tmp_path / digest / "evidence" / f"{named}.json"
    honest = path.read_text()

    path.write_text(honest.replace("honest", "forged"))
    for evidence in (None, named):
        with pytest.raises(IntegrityError, match=f"{named}.json is not the evidence that its name promises"):
            load_release(storage, digest, evidence=evidence)

    forged = hashlib.sha256(path.read_bytes()).hexdigest()[:16]  # renamed to its new sum, and a sum in SHA256SUMS for good measure
    path.rename(path.with_name(f"{forged}.json"))
    with pytest.raises(DataError, match=f"No evidence '{named}'"):
        load_release(storage, digest, evidence=named)
    sums = tmp_path / digest / SUMS
    sums.write_text(sums.read_text() + f"{forged}  evidence/{forged}.json\n")
    with pytest.raises(IntegrityError):
        load_release(storage, digest, evidence=named)


def test_evidence_that_others_stand_on_cannot_be_taken_away_or_changed(tmp_path: Path) -> None:
    storage = at(tmp_path)
    digest = write(storage, a_config()).digest
    first, second = prove(storage, digest), prove(storage, digest)
    path = tmp_path / digest / "evidence" / f"{first}.json"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"tests", b"nobody"))
    for evidence in (None, second):
        with pytest.raises(IntegrityError, match=f"{first}.json is not the evidence"):
            load_release(storage, digest, evidence=evidence)
    path.unlink()
    for evidence in (None, second):
        with pytest.raises(IntegrityError, match=f"{first}.json is missing though other evidence names it"):
            load_release(storage, digest, evidence=evidence)


def test_evidence_of_another_release_and_files_that_are_none_are_refused(tmp_path: Path) -> None:
    storage = at(tmp_path)
    one, two = (write(storage, a_config(k)) for k in (1, 2))
    named = prove(storage, one.digest)
    storage.put(f"{two.digest}/evidence/{named}.json", (tmp_path / one.digest / "evidence" / f"{named}.json").read_bytes())
    with pytest.raises(IntegrityError, match=f"proves the release {one.digest}, not {two.digest}"):
        load_release(storage, two.digest)
    storage.put(f"{one.digest}/evidence/notes.txt", b"x")
    with pytest.raises(IntegrityError, match="is not the evidence that its name promises"):
        load_release(storage, one.digest)
    assert load_release(storage, one.digest, evidence=named).evidence  # what is named holds


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\x00", b"[1]"])
def test_a_document_with_the_right_name_that_is_no_evidence_is_one_line(tmp_path: Path, data: bytes) -> None:
    storage = at(tmp_path)
    digest = write(storage, a_config()).digest
    name = hashlib.sha256(data).hexdigest()[:16]
    storage.put(f"{digest}/evidence/{name}.json", data)
    with pytest.raises(IntegrityError, match="is not evidence") as caught:
        load_release(storage, digest, evidence=name)
    assert "\n" not in str(caught.value)


def test_evidence_takes_no_field_that_it_does_not_know(tmp_path: Path) -> None:
    plain = some_evidence(write(at(tmp_path), a_config())).model_dump(mode="json")
    with pytest.raises(ValidationError):
        ReleaseEvidence.model_validate(plain | {"signed": "yes"})
