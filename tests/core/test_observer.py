import logging
from typing import Any

import pytest

from serving.pipeline.observer import Observers
from serving.pipeline.types import Query, StageRecord, Trace, Usage
from tests.support.making import a_trace


class Counting:
    def __init__(self) -> None:
        self.calls = 0

    def stage_started(self, query: Query, stage: str) -> None:
        self.calls += 1

    def stage_finished(self, query: Query, record: StageRecord) -> None:
        self.calls += 1

    def answered(self, trace: Trace) -> None:
        self.calls += 1

    def failed(self, query: Query, error: BaseException) -> None:
        self.calls += 1

    def spent(self, query: Query, usage: Usage) -> None:
        self.calls += 1


class Broken:
    def __getattr__(self, name: str) -> Any:
        def fail(*_: object) -> None:
            raise RuntimeError("the disk is full")

        return fail


def tell_all(observers: Observers) -> None:
    query = Query("q")
    observers.stage_started(query, "guard")
    observers.stage_finished(query, StageRecord("guard", "", 1.0))
    observers.answered(a_trace())
    observers.failed(query, ValueError())
    observers.spent(query, Usage("m"))


def test_all_are_told_of_everything() -> None:
    one, two = Counting(), Counting()
    tell_all(Observers([one, two]))
    assert (one.calls, two.calls) == (5, 5)


def test_one_that_fails_keeps_nobody_from_hearing_and_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    after = Counting()
    observers = Observers([Broken(), after])
    with caplog.at_level(logging.ERROR):
        tell_all(observers)
        tell_all(observers)
    assert after.calls == 10
    assert [record.getMessage() for record in caplog.records] == ["The observer Broken failed; what it shows is not complete."]
