"""Opens the storage that a setting names."""

from pathlib import Path

from serving.pipeline.settings import PipelineSettings
from serving.storage.base import Storage
from serving.storage.bucket import BucketStorage
from serving.storage.folder import FolderStorage
from serving.storage.place import is_remote


def open_storage(uri: str, settings: PipelineSettings, *, purpose: str = "storage", setting: str = "The place") -> Storage:
    """The storage of a folder or of s3://bucket/prefix; its errors name the purpose and the setting."""
    return BucketStorage(uri, settings, purpose=purpose, setting=setting) if is_remote(uri) else FolderStorage(Path(uri))
