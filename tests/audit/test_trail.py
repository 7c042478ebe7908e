"""An act is written down before it is done, and how it ended after."""

import pytest

from serving.audit.record import LONGEST_TEXT, MOST_DETAILS, Act, AuditEntry, AuditOutcome, AuditQuery, error_title
from serving.audit.trail import AuditTrail
from serving.pipeline.errors import DataError, NotProven, NotRecorded, StoreError, TouchstoneError
from tests.audit.making import FailingStore, an_act, nothing_is_lost


@pytest.fixture
def store() -> FailingStore:
    return FailingStore()


def trail(store: FailingStore) -> AuditTrail:
    return AuditTrail(store, "command line", lost=nothing_is_lost, wall=lambda: 1000.123456789)


def test_the_entry_is_there_before_the_act_and_the_outcome_after(store: FailingStore) -> None:
    with trail(store).act(an_act(to="5ee318a2")) as result:
        [within] = store.find(AuditQuery("public"))
        assert (within.state, within.entry.details, within.entry.at, within.entry.source) == (
            "begun",
            {"to": "5ee318a2"},
            1000.123457,
            "command line",
        )
        result["revision"] = 4
    [after] = store.find(AuditQuery("public"))
    assert after.outcome == AuditOutcome(1000.123457, "done", "", {"revision": 4})


@pytest.mark.parametrize(
    ("error", "ending", "reason"),
    [
        (NotProven("the words of it"), "refused", "Not proven"),
        (DataError("the words of it"), "refused", "Data error"),
        (StoreError("the words of it"), "failed", "Store error"),
        (RuntimeError("the words of it"), "failed", "Runtime error"),
        (KeyboardInterrupt(), "failed", "Stopped"),
    ],
)
def test_what_is_raised_is_the_outcome_without_its_words(store: FailingStore, error: BaseException, ending: str, reason: str) -> None:
    with pytest.raises(type(error)), trail(store).act(an_act()):
        raise error
    [act] = store.find(AuditQuery("public"))
    assert act.outcome is not None
    assert (act.outcome.ending, act.outcome.reason) == (ending, reason)
    assert "words" not in repr(act)


def test_what_cannot_be_written_down_is_not_done(store: FailingStore) -> None:
    store.fails = {"entry"}
    done = []
    with pytest.raises(NotRecorded, match="Nothing was done: channel.promote has to be written down first"), trail(store).act(an_act()):
        done.append(1)
    assert not done
    assert not store.entries
    assert NotRecorded.exit_code == 3


def test_an_outcome_that_is_lost_leaves_the_act_done_and_begun_and_somebody_is_told(store: FailingStore) -> None:
    told: list[tuple[str, str]] = []

    def lost(entry: AuditEntry, error: TouchstoneError) -> None:
        told.append((entry.subject, str(error)))

    with AuditTrail(store, "api", lost=lost).act(an_act()):
        store.fails = {"outcome"}
    assert [act.state for act in store.find(AuditQuery("public"))] == ["begun"]
    assert told == [("dev", "the outcome is not written")]


def test_a_refusal_is_an_entry_with_its_reason(store: FailingStore) -> None:
    trail(store).refused(an_act(), "Forbidden")
    [act] = store.find(AuditQuery("public"))
    assert act.outcome is not None
    assert (act.state, act.outcome.reason) == ("refused", "Forbidden")


def test_an_entry_is_bounded_and_holds_no_key_and_no_password() -> None:
    key = "ts_" + "aB3-_" * 8
    details = {f"d{n}": "x" * 900 for n in range(40)} | {"d0": f"redis://me:secret@host/0 {key}", "d1": 3}
    entry = AuditEntry.of(Act("public", "ann", "key.revoke", f"{key}", details), "api", 1.0)
    assert (entry.subject, entry.details["d0"], entry.details["d1"]) == ("ts_***", "redis://me:***@host/0 ts_***", 3)
    assert len(entry.details) == MOST_DETAILS
    assert {len(str(value)) for name, value in entry.details.items() if name not in ("d0", "d1")} == {LONGEST_TEXT}
    assert key not in repr(entry)


def test_titles_are_words() -> None:
    assert [error_title(error) for error in (NotRecorded(), OSError(), SystemExit())] == ["Not recorded", "Os error", "Stopped"]
