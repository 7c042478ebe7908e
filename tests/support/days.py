"""The day for which budgets count."""

from datetime import UTC, datetime

import pytest

from serving.app.core.budget import Budgets

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def endless_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """It ends in no test that does not say so: at midnight budgets are whole again."""
    monkeypatch.setitem(Budgets.__init__.__kwdefaults__, "now", lambda: NOON)
