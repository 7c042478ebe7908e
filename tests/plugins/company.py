"""A small company's pipeline, with parts of LangChain in it where a test says so."""

from pathlib import Path
from typing import Any

from serving.pipeline.build import build_pipeline
from serving.pipeline.config import RagConfig
from serving.pipeline.index.build import ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document

PROMPTS = Path(__file__).resolve().parents[2] / "prompts"
QUESTION = "How many days of paid leave does everyone have?"
SAYS = "Everyone has 28 days of paid leave a year [1]."

DOCUMENTS = [
    Document(
        "leave.md",
        "# Leave\n\nEveryone has 28 days of paid leave a year.\n\nIt is taken in whole or half days.",
        "Leave",
        "hr",
        version="7",
    ),
    Document("expenses.md", "# Expenses\n\nReceipts above 25 euro are kept for seven years.", "Expenses", "finance"),
    Document("brand.md", "# Brand\n\nThe logo stands on white, never on gold.", "Brand guide", "marketing"),
    Document("salaries.md", "# Salaries\n\nPaid leave of directors: 40 days a year.", "Salaries", "hr", groups=("board",)),
]


def config(**changes: Any) -> RagConfig:
    """A configuration that needs no model file and always says the same."""
    echo = {"name": "local:echo", "text": SAYS}
    base = RagConfig.parse(
        {
            "index": {"embedder": {"name": "local:hashing"}, "store": {"name": "memory"}, "chunker": {"name": "sentence", "size": 80}},
            "route": {"router": {"name": "always", "tier": "lite"}},
            "answer": {"models": {"lite": echo, "pro": echo}},
        }
    )
    return base.replace(changes) if changes else base


async def pipeline(home: Path, chosen: RagConfig | None = None) -> RagPipeline:
    """The pipeline of a configuration over the company's documents."""
    chosen, settings = chosen or config(), PipelineSettings(home=home, _env_file=None)
    index = await ensure_index(Corpus.of("company", DOCUMENTS), chosen, settings=settings)
    return build_pipeline(chosen, index, PromptLibrary(PROMPTS), settings)
