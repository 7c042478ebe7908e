"""Writes docs/settings.md from the settings themselves: `make docs`."""

from pathlib import Path

from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from harness.settings import HarnessSettings
from serving.app.settings import AppSettings
from serving.pipeline.settings import PipelineSettings

PAGE = Path(__file__).with_name("settings.md")
HEAD = """# Settings

What differs between machines and never changes an answer: places, endpoints, patience. Read from the environment and from a `.env` file.
What changes an answer is configuration: `touchstone config show`. Made by `make docs`.
"""


def page() -> str:
    """The whole page."""
    shared = set(PipelineSettings.model_fields)
    parts = [
        ("Everything", PipelineSettings, set()),
        ("The harness (`touchstone …`)", HarnessSettings, shared),
        ("The query API (`touchstone serve`)", AppSettings, shared),
    ]
    return HEAD + "".join(_table(title, settings, without) for title, settings, without in parts)


def _table(title: str, settings: type[BaseSettings], without: set[str]) -> str:
    rows = []
    for name, field in settings.model_fields.items():
        if name in without:
            continue
        alias = field.validation_alias
        names = alias.choices if isinstance(alias, AliasChoices) else [alias or f"TOUCHSTONE_{name.upper()}"]
        default = f"`{field.default}`" if field.default is not None and str(field.default) else ""  # a secret's text is its stars
        meaning = str(field.description).replace("|", "\\|")  # else it ends the cell
        rows.append(f"| {' or '.join(f'`{one}`' for one in names)} | {default} | {meaning} |\n")
    return f"\n## {title}\n\n| variable | default | meaning |\n|---|---|---|\n" + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
