"""The page's code is run as it stands, on a few documents."""

import re
from typing import Any

import pytest

from tests.support.world import REPOSITORY, World, rename

PAGE = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def company(world: World) -> World:
    """The small company under the names that the page uses: its code is the same, its documents are few."""
    rename(world.root, "techcorp")
    assert world.touchstone("golden", "seal", "techcorp/v1").code == 0
    return world


@pytest.mark.parametrize("number", range(len(BLOCKS)))
@pytest.mark.slow
def test_a_block_of_the_page_runs(company: World, number: int) -> None:
    found: dict[str, Any] = {"__name__": "__main__"}
    company.capture.readouterr()
    exec(compile(BLOCKS[number], f"docs/python.md, block {number + 1}", "exec"), found)  # the page's own code
    assert found["verdict"].verdict in company.capture.readouterr().out
    assert found["verdict"].cases >= 3
    assert not (company.root / "reports").exists()


def test_ten_lines_lead_to_a_verdict_and_ten_more_to_ones_own_chain() -> None:
    assert len(BLOCKS) == 2
    for block in BLOCKS:
        lines = [line for line in block.splitlines() if line.strip() and not line.startswith(("import ", "from "))]
        assert len(lines) <= 10


def test_every_method_the_page_names_is_one_and_none_is_left_out() -> None:
    from touchstone import Project

    named = set(re.findall(r"`(?:await )?(\w+)\(", PAGE.split("## What there is")[1]))
    public = {
        name for name in vars(Project) if not name.startswith("_") and name not in ("open", "finished_evaluation", "open_sweep", "counts")
    }
    assert public - named == set()
