import itertools
import json
import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import pytest

from serving.pipeline.errors import DataError, IntegrityError, NotProven, TouchstoneError
from serving.release.bundle import load_release
from serving.release.channel import Channel, check_not_replayed, find_channel, read_channel
from serving.release.move import approve_release, point_channel
from serving.storage.base import Storage
from tests.support.releasing import a_config, a_decision, at, point, prove, write


def proven(storage: Storage, *numbers: int) -> dict[str, str]:
    """Releases with the evidence of each."""
    digests = [write(storage, a_config(k, by_domain=False)).digest for k in numbers]
    return {digest: prove(storage, digest) for digest in digests}


def move(storage: Storage, digest: str, evidence: str, expected: Channel | None) -> Channel:
    return point_channel(storage, "dev", digest, evidence=evidence, expected=expected, who="ann", why="it is better")


@pytest.mark.slow
def test_a_channel_points_at_a_release_by_its_evidence_and_remembers_every_move(storage_uri: str) -> None:
    storage = at(storage_uri)
    known = proven(storage, 1, 2)
    one, two = known
    assert find_channel(storage, "dev") is None
    with pytest.raises(DataError, match="touchstone promote --channel dev"):
        read_channel(storage, "dev")
    first = move(storage, one, known[one], None)
    second = move(storage, two, known[two], first)
    third = move(storage, one, known[one], second)
    assert [channel.revision for channel in (first, second, third)] == [1, 2, 3]
    assert (third.stable, third.evidence) == (one, known[one])
    assert third.history[:2] == second.history and second.history[:1] == first.history
    assert [(step.before, step.to, step.evidence) for step in third.history] == [
        ("", one, known[one]),
        (one, two, known[two]),
        (two, one, known[one]),
    ]
    assert {(step.who, step.why) for step in third.history} == {("ann", "it is better")}
    assert third.history[-1].at == third.updated_at
    assert read_channel(at(storage_uri), "dev") == third


def test_a_channels_document_is_small_and_plain(tmp_path: Path) -> None:
    storage = at(tmp_path)
    [(digest, evidence)] = proven(storage, 1).items()
    move(storage, digest, evidence, None)
    document = json.loads((tmp_path / "channels" / "dev.json").read_text())
    at_ = document["updated_at"]
    change = {"at": at_, "from": "", "to": digest, "evidence": evidence, "who": "ann", "why": "it is better"}
    change |= {"kind": "stable", "mode": None, "weight": None, "until": ""}
    shown = {
        "name": "dev",
        "stable": digest,
        "evidence": evidence,
        "candidate": None,
        "revision": 1,
        "updated_at": at_,
        "history": [change],
    }
    assert document == shown | {"history": [change]}
    assert [path.name for path in (tmp_path / "channels").iterdir()] == ["dev.json"]


def test_a_channel_never_points_at_what_is_not_there_not_whole_or_not_proven(tmp_path: Path) -> None:
    storage = at(tmp_path)
    known = proven(storage, 1, 2)
    good, bad = known
    before = move(storage, good, known[good], None)
    (tmp_path / bad / "config.yaml").write_text("{}")
    for digest, evidence in (("none", known[good]), (bad, known[bad]), (good, known[bad]), (good, ""), (good, "none")):
        with pytest.raises(TouchstoneError):
            move(storage, digest, evidence, before)
    assert read_channel(storage, "dev") == before


def test_an_expectation_that_no_longer_holds_changes_nothing(storage_uri: str) -> None:
    storage = at(storage_uri)
    known = proven(storage, 1, 2)
    one, two = known
    first = move(storage, one, known[one], None)
    with pytest.raises(DataError, match=rf"points at {one} \(revision 1\), no longer at nothing; look again"):
        move(storage, two, known[two], None)
    second = move(storage, two, known[two], first)
    with pytest.raises(DataError, match="look again"):
        move(storage, one, known[one], first)
    third = move(storage, one, known[one], second)  # back where it was, and yet it has moved:
    with pytest.raises(DataError, match=rf"points at {one} \(revision 3\), no longer at {one} \(revision 1\)"):
        move(storage, two, known[two], first)
    assert read_channel(storage, "dev") == third


def test_a_channel_that_was_removed_has_moved(tmp_path: Path) -> None:
    storage = at(tmp_path)
    [(digest, evidence)] = proven(storage, 1).items()
    first = move(storage, digest, evidence, None)
    storage.delete("channels/dev.json")
    with pytest.raises(DataError, match="points at nothing, no longer at"):
        move(storage, digest, evidence, first)


def test_an_unknown_channel_and_a_broken_one_are_told_apart(storage_uri: str) -> None:
    storage = at(storage_uri)
    with pytest.raises(DataError, match=r"Did you mean 'prod'\?"):
        read_channel(storage, "prd")
    with pytest.raises(DataError, match="No channel '../dev'"):
        read_channel(storage, "../dev")
    for content in (b"", b"{}", b"\xff", b'{"name": "dev", "stable": "x", "evidence": "y", "odd": 1}'):
        storage.put("channels/dev.json", content)
        with pytest.raises(IntegrityError, match=r"dev\.json is not a channel") as caught:
            read_channel(storage, "dev")
        assert "\n" not in str(caught.value)


def _race(place: str, known: dict[str, str], worker: int) -> list[tuple[str, str]]:
    """Try to move the channel on from wherever it is seen to be; returns the moves that were ours."""
    won, storage, digests = [], at(place), list(known)
    for turn in range(4):
        seen = read_channel(storage, "dev")
        to = digests[(digests.index(seen.stable) + 1 + (worker + turn) % (len(digests) - 1)) % len(digests)]
        try:
            point_channel(storage, "dev", to, evidence=known[to], expected=seen, who=f"worker {worker}", why="")
            won.append((seen.stable, to))
        except DataError:
            continue
    return won


@pytest.mark.parametrize("kind", ["threads", "processes"])
@pytest.mark.slow
def test_racers_for_a_channel_leave_exactly_the_history_of_those_who_won(storage_uri: str, kind: str) -> None:
    storage = at(storage_uri)
    known = proven(storage, 1, 2, 3, 4)
    first = next(iter(known))
    move(storage, first, known[first], None)
    context = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(4) if kind == "threads" else ProcessPoolExecutor(2, mp_context=context) as pool:
        runs: list[Future[list[tuple[str, str]]]] = [pool.submit(_race, storage_uri, known, worker) for worker in range(4)]
        won = [step for run in runs for step in run.result()]
    after = read_channel(storage, "dev")
    assert after.revision == len(won) + 1 == len(after.history)
    steps = [(step.before, step.to) for step in after.history]
    assert sorted(steps[1:]) == sorted(won)
    assert all(left[1] == right[0] for left, right in itertools.pairwise(steps))


@pytest.mark.slow
def test_a_reader_never_sees_half_a_channel(storage_uri: str) -> None:
    storage = at(storage_uri)
    known = proven(storage, 1, 2)
    one, two = known
    move(storage, one, known[one], None)

    def write_many() -> None:
        for turn in range(10):
            digest = (one, two)[turn % 2]
            move(storage, digest, known[digest], read_channel(storage, "dev"))

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(write_many)
        seen = {read_channel(at(storage_uri), "dev").stable for _ in iter(writing.done, True)}
        writing.result()
    assert seen <= set(known)
    assert read_channel(storage, "dev").revision == 11


def test_pointing_again_by_new_evidence_is_a_move(storage_uri: str) -> None:
    storage = at(storage_uri)
    digest = write(storage, a_config()).digest
    first, second = point(storage, "dev", digest), point(storage, "dev", digest)
    assert (second.stable, second.revision) == (digest, 2)
    assert first.evidence != second.evidence
    assert len(load_release(storage, digest).evidence) == 2


@pytest.mark.parametrize("channel", ["staging", "prod"])
def test_only_dev_takes_what_no_gate_has_passed(tmp_path: Path, channel: str) -> None:
    storage = at(tmp_path)
    digest = write(storage, a_config(1, by_domain=False)).digest
    passed = a_decision(digest)
    for facts, words in (
        ({}, "has no decision"),
        ({"decision": a_decision(digest, "fail")}, "has a decision that says fail"),
        ({"decision": passed, "forced": {"who": "ann", "why": "now"}}, "was forced"),
    ):
        proof = prove(storage, digest, **facts)
        with pytest.raises(NotProven, match=words):
            point_channel(storage, channel, digest, evidence=proof, expected=None, who="ann", why="now")
    assert find_channel(storage, channel) is None
    good = prove(storage, digest, decision=passed)
    before = approve_release(storage, "prod", digest, hours=1, expected=None, who="bob", why="read it") if channel == "prod" else None
    assert point_channel(storage, channel, digest, evidence=good, expected=before, who="ann", why="gate").stable == digest


def test_a_decision_on_another_configuration_is_no_evidence(tmp_path: Path) -> None:
    storage = at(tmp_path)
    digest = write(storage, a_config(1, by_domain=False)).digest
    proof = prove(storage, digest, decision=a_decision("0123456789abcdef"))
    with pytest.raises(IntegrityError, match="by a decision on configuration 0123456789abcdef"):
        load_release(storage, digest, evidence=proof)


def test_a_channel_edited_by_hand_is_refused(tmp_path: Path) -> None:
    storage = at(tmp_path)
    known = proven(storage, 1, 2)
    one, two = known
    move(storage, two, known[two], move(storage, one, known[one], None))
    path = tmp_path / "channels" / "dev.json"
    good = json.loads(path.read_text())
    edits: list[tuple[dict[str, object], str]] = [
        ({"stable": one}, f"points at {one} by {known[two]}, which its last move does not"),
        ({"stable": one, "evidence": known[one]}, f"points at {one} by {known[one]}, which its last move does not"),
        ({"name": "prod"}, "is the channel 'prod'"),
        ({"revision": 3}, "has 2 moves that do not lead to revision 3"),
        ({"history": good["history"][1:], "revision": 1}, "has 1 moves that do not lead to revision 1"),
        ({"history": []}, "has 0 moves"),
        (
            {"candidate": {"release": one, "evidence": known[one], "mode": "canary", "weight": 1.0}},
            f"has the candidate {one}, which its hist",
        ),
    ]
    for edit, words in edits:
        path.write_text(json.dumps(good | edit))
        with pytest.raises(IntegrityError, match=words):
            read_channel(storage, "dev")


def test_an_earlier_document_of_a_channel_is_no_way_back(tmp_path: Path) -> None:
    storage = at(tmp_path)
    known = proven(storage, 1, 2)
    one, two = known
    first = move(storage, one, known[one], None)
    second = move(storage, two, known[two], first)
    with pytest.raises(IntegrityError, match="is at revision 1 again after revision 2"):
        check_not_replayed(first, second)
    check_not_replayed(second, first)
    check_not_replayed(second, second)
    check_not_replayed(move(storage, one, known[one], second), second)
    (tmp_path / "channels" / "dev.json").unlink()
    anew = first.model_copy(update={"history": (first.history[0].model_copy(update={"at": "2030-01-01T00:00:00+00:00"}),)})
    check_not_replayed(anew, second)  # removed and promoted again
