import re
import runpy
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", ["settings", "metrics", "configuration"])
def test_a_page_made_from_the_code_says_what_the_code_says(name: str) -> None:
    page = runpy.run_path(str(REPOSITORY / "docs" / f"make_{name}.py"))["page"]()
    assert (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8") == page, "run: make docs"


def test_every_link_between_pages_leads_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))]
    broken = [f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()]
    assert len(links) > 5
    assert broken == []


def test_every_command_the_readme_names_exists() -> None:
    from harness.cli import COMMANDS

    names = set(COMMANDS)
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    named = set(re.findall(r"(?:`|^ {4}|: )touchstone ([a-z]+)", text, re.MULTILINE))
    assert named <= names
    assert {"ask", "eval", "sweep", "promote", "serve"} <= named
