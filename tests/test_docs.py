import re
import runpy
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]


@pytest.mark.parametrize("name", ["settings", "metrics", "configuration", "monitoring"])
def test_a_page_made_from_the_code_says_what_the_code_says(name: str) -> None:
    page = runpy.run_path(str(REPOSITORY / "docs" / f"make_{name}.py"))["page"]()
    assert (REPOSITORY / "docs" / f"{name}.md").read_text(encoding="utf-8") == page, "run: make docs"


def test_every_link_between_pages_leads_somewhere() -> None:
    links = [(page, link) for page in PAGES for link in re.findall(r"\]\(([^)#]+)", page.read_text(encoding="utf-8"))]
    broken = [f"{page.name}: {link}" for page, link in links if "://" not in link and not (page.parent / link).exists()]
    assert len(links) > 5
    assert broken == []


NAMED = re.compile(r"(?:`|^ {4}|: )touchstone ([a-z][^`\n\\\"'|#;&]*)", re.MULTILINE)  # in a block, in backticks, or as a message's mend


def mistake(words: str) -> str:
    """The first word of a command line that is no command of the group before it, or no option of the command; else nothing."""
    from typer.main import get_command

    from harness.cli import app

    found: Any = get_command(app)
    for word in words.split():
        name = word.strip("[].,:)…")
        if hasattr(found, "commands"):
            if name and name not in found.commands:
                return word
            found = found.commands[name] if name else found
        elif name.startswith("--"):
            known = [option for parameter in found.params for option in [*parameter.opts, *parameter.secondary_opts]]
            if name.partition("=")[0] not in [*known, "--help"]:
                return word
    return ""


def test_every_command_and_option_that_a_page_or_a_message_names_exists() -> None:
    code = [path for room in ("harness", "serving") for path in sorted((REPOSITORY / room).rglob("*"))]
    files = [*PAGES, *(path for path in code if path.suffix in (".py", ".md", ".yaml", ".yml"))]
    named = [(path.name, words) for path in files for words in NAMED.findall(path.read_text(encoding="utf-8"))]
    lines = [(name, words) for name, words in named if not words.startswith("import ")]
    assert [(name, words, wrong) for name, words in lines if (wrong := mistake(words))] == []
    assert {"ask", "eval", "sweep", "promote", "serve", "golden"} <= {words.split()[0] for _, words in lines}
    assert mistake("golden chek mine") == "chek"
    assert mistake("sweep quickstart.yaml --resum") == "--resum"
