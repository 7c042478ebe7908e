"""The page's Python is run as it stands."""

import re
from typing import Any

import pytest

from tests.support.world import REPOSITORY

PAGE = (REPOSITORY / "docs" / "calibration.md").read_text(encoding="utf-8")


def test_the_code_of_the_page_finds_a_threshold(capsys: pytest.CaptureFixture[str]) -> None:
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    found: dict[str, Any] = {}
    exec(compile(block, "docs/calibration.md", "exec"), found)  # the page's own code
    assert found["found"].threshold is not None
    assert str(found["found"].threshold) in capsys.readouterr().out
