"""The manifest of an index; it is written last, so its presence means that the index is complete."""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.pipeline.config import IndexConfig
from serving.pipeline.errors import IntegrityError
from serving.pipeline.index.sums import damaged
from serving.pipeline.settings import PipelineSettings
from serving.storage.base import Storage
from serving.storage.open import open_storage
from serving.storage.place import absolute, below

FILE = "index.json"


class IndexManifest(BaseModel):
    """The recipe of an index, and its result."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1, 2] = 2  # in format 1, an index had no sums
    recipe: str  # digest of the index section, the code behind it and the corpus
    corpus: str
    corpus_digest: str
    documents: int
    chunks: int
    index: IndexConfig
    embedder_version: str
    detector_version: str = ""  # of the detector that scored the chunks; empty: none did
    dimensions: int
    store_version: str  # the store's own version of the data
    lancedb: str  # version of the library
    data: str  # the folder beside this file that holds the store
    created_at: str  # ISO 8601, UTC; in no digest
    content_digest: str = ""  # over rows and vectors, however they lie in files
    sums_sha256: str = ""  # of the file that holds the sums of the store's files
    checksum: str = ""  # of this document without this field


def index_storage(uri: str, settings: PipelineSettings) -> Storage:
    """The storage of the files at a place of an index."""
    return open_storage(absolute(uri), settings, purpose="index", setting="TOUCHSTONE_INDEXES")


def read_manifest(uri: str, settings: PipelineSettings) -> IndexManifest | None:
    """The manifest of the index at a place, or None where no whole index is."""
    blob = index_storage(uri, settings).get(FILE)
    if blob is None:
        return None
    try:
        manifest = IndexManifest.model_validate_json(blob.data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise IntegrityError(
            f"{below(uri, FILE)}: is not a manifest of an index: {path or 'file'}: {first['msg']}. Remove it and run: touchstone index"
        ) from None
    if manifest.format == 2 and manifest.checksum != _checksum(manifest):
        raise damaged(absolute(uri), f"{FILE} is not what was written")
    return manifest


def write_manifest(uri: str, manifest: IndexManifest, settings: PipelineSettings) -> None:
    """Write the manifest, which makes the index at a place complete."""
    summed = manifest.model_copy(update={"checksum": _checksum(manifest)})
    index_storage(uri, settings).put(FILE, (summed.model_dump_json(indent=2) + "\n").encode())


def forget_outdated(uri: str, settings: PipelineSettings) -> None:
    """Remove a manifest that has no sums, so that the next builder takes the place; one that another has written since stays."""
    manifest = read_manifest(uri, settings)
    if manifest is not None and manifest.format == 1:
        index_storage(uri, settings).delete(FILE)


def _checksum(manifest: IndexManifest) -> str:
    fields = manifest.model_dump(mode="json", exclude={"checksum"})
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
