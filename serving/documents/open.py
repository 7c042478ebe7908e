"""Opens the store of added documents that the settings name."""

from serving.documents.store import DocumentStore
from serving.pipeline.settings import PipelineSettings
from serving.storage.open import open_storage


def open_documents(settings: PipelineSettings) -> DocumentStore:
    """The store at `TOUCHSTONE_DOCUMENTS`."""
    return DocumentStore(open_storage(settings.document_root, settings, purpose="store of documents", setting="TOUCHSTONE_DOCUMENTS"))
