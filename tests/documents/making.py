"""A proven index of a tiny corpus, and documents that are added to it."""

from pathlib import Path

from serving.documents.indexing import IndexedDocuments
from serving.documents.open import open_documents
from serving.documents.order import IndexingLimits
from serving.documents.record import NewDocument
from serving.documents.store import DocumentStore
from serving.pipeline.config import RagConfig
from serving.pipeline.index.build import OpenIndex, ensure_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document

RELEASED = [
    Document("leave.md", "# Leave\n\nEveryone has 28 days of paid leave a year, taken in whole or half days.", "Leave policy", "hr"),
    Document("expenses.md", "# Expenses\n\nReceipts above 25 euro are kept for seven years.", "Expenses", "finance"),
    Document("release.md", "# Releases\n\nThe service is released on Tuesdays after the smoke test.", "Release runbook", "engineering"),
    Document("salaries.md", "# Salaries\n\nPaid leave of directors: 40 days a year.", "Salaries", "hr", groups=("board",)),
    Document("acme.md", "# Acme\n\nThe badge of Acme opens the gate on Tuesdays.", "Acme badges", "hr", tenant="acme"),
]


def small_config(**index: object) -> RagConfig:
    """A configuration that needs no model."""
    return RagConfig.parse({"index": {"embedder": {"name": "local:hashing"}, **index}})


def settings_at(folder: Path, documents: str = "") -> PipelineSettings:
    return PipelineSettings(home=folder / "home", documents=documents, _env_file=None)


async def proven_index(settings: PipelineSettings, config: RagConfig | None = None) -> OpenIndex:
    return await ensure_index(Corpus.of("tiny", RELEASED), config or small_config(), settings=settings)


async def replica(settings: PipelineSettings, config: RagConfig | None = None, *, limits: IndexingLimits | None = None) -> IndexedDocuments:
    """A process of its own, as far as it goes: a store and an index that share nothing in memory."""
    config = config or small_config()
    return IndexedDocuments(open_documents(settings), config, await proven_index(settings, config), limits=limits)


def note(name: str, **about: object) -> NewDocument:
    return NewDocument.model_validate({"name": name, "media_type": "text/markdown", **about})


def put(store: DocumentStore, name: str, text: str, **about: object) -> str:
    """Add a document; its id."""
    return store.put(note(name, **about), text.encode()).record.id
