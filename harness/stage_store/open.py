"""Opens the stage store that the settings name."""

from harness.settings import HarnessSettings
from harness.stage_store.bucket import BucketStageStore
from harness.stage_store.layered import LayeredStageStore
from harness.stage_store.sqlite import SqliteStageStore
from serving.storage.place import is_remote


def open_stage_store(
    settings: HarnessSettings, *, enabled: bool = True, began_s: float | None = None
) -> SqliteStageStore | LayeredStageStore | None:
    """The stage store, if enabled; none while a cassette is recorded, since a hit would not be recorded."""
    return configured_stage_store(settings, began_s) if enabled and settings.cassette_mode != "record" else None


def configured_stage_store(settings: HarnessSettings, began_s: float | None = None) -> SqliteStageStore | LayeredStageStore:
    """The stage store of the settings: a file, or a bucket with a copy on this machine; `began_s` is when the run began."""
    local = SqliteStageStore(settings.stage_folder, began_s=began_s)
    return LayeredStageStore(local, BucketStageStore(settings.stages, settings)) if is_remote(settings.stages) else local
