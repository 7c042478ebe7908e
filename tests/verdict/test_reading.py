"""A trial is read from its start, page by page, from every store."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from serving.pipeline.errors import DataError
from serving.pipeline.types import Answer, Draw, Principal, Query, Trace
from serving.release.channel import Channel, ChannelChange, candidate_of
from serving.traces.record import Feedback, TraceRecord
from serving.traces.sqlite import SqliteTraceStore
from serving.verdict import read
from serving.verdict.read import CandidateTrial, read_verdict
from serving.verdict.rules import VerdictRules
from tests.verdict.making import NEW, OLD, START, TURN_S

DAY_S = 86_400.0


def a_change(kind: str, at: float, to: str = NEW, **more: object) -> ChannelChange:
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
    return ChannelChange.model_validate({"at": when, "from": OLD, "to": to, "evidence": "e", "who": "w", "why": "y", "kind": kind, **more})


def a_channel(*changes: ChannelChange) -> Channel:
    return Channel(name="dev", stable=OLD, evidence="e", candidate=candidate_of(changes), history=changes, revision=len(changes))


CANARY = a_change("candidate", START, mode="canary", weight=0.5)


def put(store: SqliteTraceStore, count: int, *, at: float = START, refused: bool = False) -> None:
    for number in range(count):
        share = (number + 0.5) / count
        chosen = share < 0.5
        trace = Trace(
            f"t{at:.0f}-{number}",
            Query("?", Principal("ann", "acme")),
            "c",
            "i",
            release_digest=NEW if chosen else OLD,
            role="canary" if chosen else "stable",
            draw=Draw(NEW, "canary", share, 0.5),
            answer=Answer("a", refused=refused and chosen),
        )
        store.put([TraceRecord.of(trace, at + number % 7)])


@pytest.fixture
def store(tmp_path: Path) -> SqliteTraceStore:
    return SqliteTraceStore(tmp_path / "traces.db")


def test_a_trial_begins_with_its_mode_and_goes_on_when_the_weight_grows() -> None:
    grown = a_change("candidate", START + 60, mode="canary", weight=0.8)
    approved = a_change("approval", START + 30, until="2100-01-01T00:00:00+00:00")
    shadow = a_change("candidate", START - 60, mode="shadow", weight=0.5)
    again = a_change("candidate", START + 90, mode="canary", weight=0.5)
    assert CandidateTrial.of(a_channel(shadow, CANARY, approved, grown)).since == CANARY.at
    assert CandidateTrial.of(a_channel(CANARY, a_change("withdrawal", START + 70, to=""), again)).since == again.at
    assert CandidateTrial.of(a_channel(a_change("candidate", START, to="other", mode="canary", weight=0.5), again)).since == again.at
    with pytest.raises(DataError, match="touchstone channel set dev --candidate"):
        CandidateTrial.of(a_channel(CANARY, a_change("withdrawal", START + 1, to="")))


def test_what_came_before_the_candidate_was_set_is_not_read(store: SqliteTraceStore) -> None:
    put(store, 100, at=START - 100, refused=True)
    put(store, 60)
    judged = read_verdict(a_channel(CANARY), store, VerdictRules(), now=START + 2 * TURN_S)
    assert (judged.traces, judged.complete, judged.found.callers) == (60, True, 60)
    assert judged.found.verdict == "undecided"


def test_pages_that_end_within_a_moment_lose_nothing_and_count_nothing_twice(
    store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 100)
    for size in (1, 7, 15, 99, 100, 101):
        monkeypatch.setattr(read, "PAGE", size)
        judged = read_verdict(a_channel(CANARY), store, VerdictRules(), now=START + 2 * TURN_S)
        assert (judged.traces, judged.found.callers, judged.found.questions) == (100, 100, 100)


def test_of_too_many_traces_the_first_are_read_and_this_is_said(store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "MOST_TRACES", 50)
    put(store, 50)
    rules = VerdictRules(turn_s=0.0)
    assert read_verdict(a_channel(CANARY), store, rules, now=START + DAY_S).complete
    put(store, 50, at=START + 60)
    judged = read_verdict(a_channel(CANARY), store, rules, now=START + DAY_S)
    assert (judged.traces, judged.complete, judged.until) == (50, False, START + 6)
    assert any("first 50 traces" in note for note in judged.found.notes)


def test_what_the_store_has_let_go_of_is_said(store: SqliteTraceStore) -> None:
    put(store, 10)
    judged = read_verdict(a_channel(CANARY), store, VerdictRules(), now=START + 40 * DAY_S, retention_s=30 * DAY_S)
    assert any("removed by now" in note for note in judged.found.notes)


def test_complaints_are_read_of_every_tenant_and_too_many_are_said_to_be(store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, 60)
    said = Feedback("f", f"t{START:.0f}-1", START + 9, "acme", "ann", "thumbs", -1.0)
    store.put_feedback(said)
    judged = read_verdict(a_channel(CANARY), store, VerdictRules(), now=START + 2 * TURN_S)
    assert next(one for one in judged.found.measures if one.name == "complaints").candidate == pytest.approx(1 / 30)
    monkeypatch.setattr(read, "MOST_COMPLAINTS", 2)
    for ident, kind, value in (("praise", "thumbs", 1.0), ("click", "click", 1.0), ("rating", "rating", 1.0)):
        store.put_feedback(replace(said, id=ident, kind=kind, value=value))
    assert read_verdict(a_channel(CANARY), store, VerdictRules(), now=START + 2 * TURN_S).found == judged.found
    store.put_feedback(replace(said, id="g"))
    many = read_verdict(a_channel(CANARY), store, VerdictRules(), now=START + 2 * TURN_S)
    assert any("Tenant 'acme' has complained 2 times or more" in note for note in many.found.notes)
    assert next(one for one in many.found.measures if one.name == "complaints").outcome == "undecided"


def test_who_complains_too_often_to_be_read_does_not_make_a_candidate_look_as_good(
    store: SqliteTraceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(store, 1000)
    rules = VerdictRules(margins=dict.fromkeys(VerdictRules().margins, 0.4))
    assert read_verdict(a_channel(CANARY), store, rules, now=START + 2 * TURN_S).found.verdict == "no worse"
    monkeypatch.setattr(read, "MOST_COMPLAINTS", 3)
    for number in range(3):
        store.put_feedback(Feedback(f"f{number}", f"t{START:.0f}-1", START + 9, "acme", "ann", "correction", text="no"))
    found = read_verdict(a_channel(CANARY), store, rules, now=START + 2 * TURN_S).found
    assert found.verdict == "undecided"
    assert "complaints" in found.reason
