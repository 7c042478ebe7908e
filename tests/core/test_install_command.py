"""The command that adds what is missing is one that works for the installation at hand."""

import json

import pytest

from serving.pipeline import packages
from serving.pipeline.packages import install_command


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ({"url": "file:///somewhere", "dir_info": {"editable": True}}, "uv sync --extra ragas, in the checkout of Touchstone"),
        ({"url": "file:///wheels/touchstone.whl"}, 'pip install "touchstone-rag[ragas] @ file:///wheels/touchstone.whl"'),
        (None, 'pip install "touchstone-rag[ragas]"'),
    ],
)
def test_the_command_fits_the_installation(origin: dict[str, object] | None, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            assert name == "direct_url.json"
            return origin and json.dumps(origin)

    monkeypatch.setattr(packages, "distribution", lambda name: Installed())
    assert install_command("ragas") == command
