"""The manifest of an index; it is written last, so its presence means that the index is complete."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.pipeline.config import IndexConfig
from serving.pipeline.errors import IntegrityError
from serving.pipeline.settings import PipelineSettings
from serving.storage.base import Storage
from serving.storage.open import open_storage
from serving.storage.place import absolute, below

FILE = "index.json"


class IndexManifest(BaseModel):
    """The recipe of an index, and its result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    recipe: str  # digest of the index section, the code behind it and the corpus
    corpus: str
    corpus_digest: str
    documents: int
    chunks: int
    index: IndexConfig
    embedder_version: str
    dimensions: int
    store_version: str  # the store's own version of the data
    lancedb: str  # version of the library
    data: str  # the folder beside this file that holds the store
    created_at: str  # ISO 8601, UTC; in no digest


def index_storage(uri: str, settings: PipelineSettings) -> Storage:
    """The storage of the files at a place of an index."""
    return open_storage(absolute(uri), settings, purpose="index", setting="TOUCHSTONE_INDEXES")


def read_manifest(uri: str, settings: PipelineSettings) -> IndexManifest | None:
    """The manifest of the index at a place, or None where no whole index is."""
    blob = index_storage(uri, settings).get(FILE)
    if blob is None:
        return None
    try:
        return IndexManifest.model_validate_json(blob.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(
            f"{below(uri, FILE)}: is not a manifest of an index: {path or 'file'}: {first['msg']}. Remove it and run: touchstone index"
        ) from None


def write_manifest(uri: str, manifest: IndexManifest, settings: PipelineSettings) -> None:
    """Write the manifest, which makes the index at a place complete."""
    index_storage(uri, settings).put(FILE, (manifest.model_dump_json(indent=2) + "\n").encode())
