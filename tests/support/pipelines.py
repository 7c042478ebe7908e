"""A small index and pipelines over it, for tests of what `build_pipeline` wires."""

import asyncio
from pathlib import Path
from typing import Any

from serving.pipeline.build import build_pipeline
from serving.pipeline.config import RagConfig
from serving.pipeline.index.build import OpenIndex, build_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document

PROMPTS = PromptLibrary(Path(__file__).parents[2] / "prompts")
ECHO = {"name": "local:echo", "text": "Everyone has 28 days of paid leave a year [1]."}
CONFIG = RagConfig.parse(
    {
        "index": {"embedder": {"name": "local:hashing"}, "store": {"name": "memory"}},
        "answer": {"models": {"lite": ECHO, "pro": ECHO}},
    }
)
LEAVE = Document("leave.md", "# Leave\n\nEveryone has 28 days of paid leave a year.", "Leave policy", "hr")
SECRET = Document("board.md", "# Board\n\nDirectors have 40 days of paid leave a year.", "Board", "board", groups=("board",))


def small_index(home: Path) -> OpenIndex:
    """Two documents, one of them for a group only."""
    return asyncio.run(build_index(Corpus.of("small", [LEAVE, SECRET]), CONFIG, settings=PipelineSettings(home=home, _env_file=None)))


def small_pipeline(index: OpenIndex, changes: dict[str, Any] | None = None, **given: Any) -> RagPipeline:
    """A pipeline over a small index whose model always says the same."""
    settings = given.pop("settings", PipelineSettings(_env_file=None))
    return build_pipeline(CONFIG.replace(changes or {}), index, PROMPTS, settings, **given)
