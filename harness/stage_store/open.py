"""Opens the stage store that the settings name."""

from harness.settings import HarnessSettings
from harness.stage_store.layered import LayeredStageStore
from harness.stage_store.objects import BucketStageStore
from harness.stage_store.sqlite import SqliteStageStore
from serving.storage.place import is_remote


def open_stage_store(places: HarnessSettings, *, on: bool = True) -> SqliteStageStore | LayeredStageStore | None:
    """The stage store, if it is wanted; while answers are recorded there is none, since what is kept is not asked for."""
    return configured_stage_store(places) if on and places.cassette_mode != "record" else None


def configured_stage_store(places: HarnessSettings) -> SqliteStageStore | LayeredStageStore:
    """What is kept of earlier work: a file, or a bucket with a copy in front."""
    here = SqliteStageStore(places.stage_folder)
    return LayeredStageStore(here, BucketStageStore(places.stages, places)) if is_remote(places.stages) else here
