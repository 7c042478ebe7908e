"""Candidates, approvals and ways back of a channel."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from serving.pipeline.errors import ConfigError, DataError, NotProven
from serving.release.channel import CandidateRelease, Channel, read_channel
from serving.release.move import approve_release, point_channel, promote_candidate, roll_back, set_candidate, withdraw_candidate
from serving.storage.base import Storage
from tests.support.releasing import a_config, a_decision, at, prove, write

WHO = {"who": "ann", "why": "a test"}


@pytest.fixture
def known(tmp_path: Path) -> dict[str, str]:
    """Three proven releases with the evidence of each."""
    storage = at(tmp_path)
    digests = [write(storage, a_config(k, by_domain=False)).digest for k in (1, 2, 3)]
    return {digest: prove(storage, digest, decision=a_decision(digest)) for digest in digests}


def point(storage: Storage, digest: str, known: dict[str, str], expected: Channel | None, name: str = "dev") -> Channel:
    return point_channel(storage, name, digest, evidence=known[digest], expected=expected, **WHO)


def test_a_candidate_stands_beside_the_stable_release_until_it_is_withdrawn(tmp_path: Path, known: dict[str, str]) -> None:
    storage, (one, two, _) = at(tmp_path), known
    first = point(storage, one, known, None)
    tried = set_candidate(storage, "dev", two, evidence=known[two], mode="canary", weight=0.1, expected=first, **WHO)
    assert (tried.stable, tried.candidate) == (one, CandidateRelease(release=two, evidence=known[two], mode="canary", weight=0.1))
    more = set_candidate(storage, "dev", two, evidence=known[two], mode="canary", weight=0.5, expected=tried, **WHO)
    assert more.candidate is not None and more.candidate.weight == 0.5
    alone = withdraw_candidate(storage, "dev", expected=more, **WHO)
    assert (alone.stable, alone.candidate, alone.revision) == (one, None, 4)
    assert [change.kind for change in read_channel(storage, "dev").history] == ["stable", "candidate", "candidate", "withdrawal"]
    with pytest.raises(DataError, match="has no candidate"):
        withdraw_candidate(storage, "dev", expected=alone, **WHO)


def test_a_candidate_that_takes_over_is_no_candidate_any_more(tmp_path: Path, known: dict[str, str]) -> None:
    storage, (one, two, three) = at(tmp_path), known
    first = point(storage, one, known, None)
    prepared = set_candidate(storage, "dev", two, evidence=known[two], mode="blue-green", weight=1.0, expected=first, **WHO)
    assert prepared.candidate is not None and prepared.candidate.weight == 0.0  # it is asked nothing before the switch
    switched = promote_candidate(storage, "dev", expected=prepared, **WHO)
    assert (switched.stable, switched.candidate) == (two, None)
    tried = set_candidate(storage, "dev", one, evidence=known[one], mode="shadow", weight=0.2, expected=switched, **WHO)
    assert point(storage, three, known, tried).candidate is None  # it was tried beside another


def test_what_is_no_candidate_is_refused_and_changes_nothing(tmp_path: Path, known: dict[str, str]) -> None:
    storage, (one, two, _) = at(tmp_path), known
    first = point(storage, one, known, None)
    for digest, weight, error, words in (
        (one, 0.1, ConfigError, "is what channel 'dev' points at already"),
        (two, 0.0, ConfigError, "a share above 0"),
        (two, 1.5, ConfigError, "at most 1"),
        ("none", 0.1, DataError, "No release 'none'"),
    ):
        with pytest.raises(error, match=words):
            set_candidate(storage, "dev", digest, evidence=known.get(digest, ""), mode="canary", weight=weight, expected=first, **WHO)
    tried = set_candidate(storage, "dev", two, evidence=known[two], mode="canary", weight=0.1, expected=first, **WHO)
    with pytest.raises(DataError, match="look again"):
        set_candidate(storage, "dev", two, evidence=known[two], mode="canary", weight=0.2, expected=first, **WHO)
    assert read_channel(storage, "dev") == tried


def test_prod_takes_only_what_was_approved_and_not_longer_than_that_holds(tmp_path: Path, known: dict[str, str]) -> None:
    storage, (one, two, _) = at(tmp_path), known
    with pytest.raises(NotProven, match=rf"touchstone channel approve prod {one}"):
        point(storage, one, known, None, "prod")
    approved = approve_release(storage, "prod", one, hours=1, expected=None, **WHO)
    assert approved.stable == ""
    with pytest.raises(DataError, match="points at nothing yet"):
        read_channel(storage, "prod")
    served = point(storage, one, known, approved, "prod")
    assert served.stable == one
    long_ago = datetime.now(UTC) - timedelta(hours=5)
    expired = approve_release(storage, "prod", two, hours=4, expected=served, now=long_ago, **WHO)
    with pytest.raises(NotProven, match="that of ann lapsed at"):
        point(storage, two, known, expired, "prod")
    with pytest.raises(NotProven, match="that of ann lapsed at"):
        set_candidate(storage, "prod", two, evidence=known[two], mode="canary", weight=0.1, expected=expired, **WHO)
    anew = approve_release(storage, "prod", two, hours=4, expected=expired, **WHO)
    assert point(storage, two, known, anew, "prod").stable == two


def test_what_is_approved_is_a_release_by_the_evidence_of_then_or_by_what_followed(tmp_path: Path, known: dict[str, str]) -> None:
    storage, one = at(tmp_path), next(iter(known))
    approved = approve_release(storage, "prod", one, hours=1, expected=None, **WHO)
    assert approved.history[-1].evidence == known[one]
    later = prove(storage, one, decision=a_decision(one), created_at="2026-11-01T00:00:09+00:00")
    assert point_channel(storage, "prod", one, evidence=later, expected=approved, **WHO).stable == one

    bare = write(storage, a_config(9)).digest
    with pytest.raises(DataError, match="has no evidence that it could be approved by"):
        approve_release(storage, "prod", bare, hours=1, expected=read_channel(storage, "prod"), **WHO)


def test_evidence_that_does_not_follow_from_what_was_approved_is_refused(tmp_path: Path, known: dict[str, str]) -> None:
    storage, one = at(tmp_path), next(iter(known))
    prove(storage, one, decision=a_decision(one), created_at="2026-11-01T00:00:09+00:00")  # what the approver saw: it follows the first
    approved = approve_release(storage, "prod", one, hours=1, expected=None, **WHO)
    with pytest.raises(NotProven, match=f"ann approved {one} by the evidence .*, which it would not be served by"):
        point_channel(storage, "prod", one, evidence=known[one], expected=approved, **WHO)


@pytest.mark.parametrize(("hours", "why"), [(0.0, "x"), (-1.0, "x"), (1e6, "x"), (1.0, "  ")])
def test_an_approval_has_an_end_and_a_reason(tmp_path: Path, known: dict[str, str], hours: float, why: str) -> None:
    with pytest.raises(ConfigError, match="An approval"):
        approve_release(at(tmp_path), "prod", next(iter(known)), hours=hours, expected=None, who="ann", why=why)


def test_an_approval_is_for_a_channel_that_needs_one_and_a_release_that_is_there(tmp_path: Path, known: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="needs no approval"):
        approve_release(at(tmp_path), "dev", next(iter(known)), hours=1, expected=None, **WHO)
    with pytest.raises(DataError, match="No release"):
        approve_release(at(tmp_path), "prod", "0" * 16, hours=1, expected=None, **WHO)


def test_a_way_back_leads_to_what_was_served_by_the_evidence_of_then_and_needs_no_approval_anew(
    tmp_path: Path, known: dict[str, str]
) -> None:
    storage, (one, two, three) = at(tmp_path), known
    channel: Channel | None = None
    for digest in (one, two, three):
        channel = approve_release(storage, "prod", digest, hours=1, expected=channel, **WHO)
        channel = point(storage, digest, known, channel, "prod")
    assert channel is not None
    back = roll_back(storage, "prod", expected=channel, **WHO)
    assert (back.stable, back.evidence) == (two, known[two])
    first = roll_back(storage, "prod", one, expected=back, **WHO)
    assert first.stable == one
    with pytest.raises(DataError, match="has never served 0000"):
        roll_back(storage, "prod", "0000", expected=first, **WHO)
    with pytest.raises(DataError, match="already"):
        roll_back(storage, "prod", one, expected=first, **WHO)


def test_there_is_no_way_back_from_the_first_release(tmp_path: Path, known: dict[str, str]) -> None:
    storage = at(tmp_path)
    first = point(storage, next(iter(known)), known, None)
    with pytest.raises(DataError, match="has served nothing before"):
        roll_back(storage, "dev", expected=first, **WHO)
