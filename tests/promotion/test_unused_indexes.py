"""Indexes that no release stands on are found and removed; those that one stands on never are."""

from datetime import UTC, datetime, timedelta

import pytest

from harness.project.unused_indexes import remove_index, unused_indexes
from harness.settings import HarnessSettings
from serving.pipeline.errors import IntegrityError
from serving.pipeline.index.manifest import index_storage, write_manifest
from serving.release.bundle import write_release
from serving.storage.place import below
from tests.support.releasing import PROMPTS, a_config, a_manifest, at

LATER = datetime.now(UTC) + timedelta(days=40)


@pytest.fixture
def places(storage_uri: str) -> HarnessSettings:
    """Two indexes, of which one has a release, and a build that never finished."""
    settings = HarnessSettings(_env_file=None, indexes=below(storage_uri, "indexes"), releases=below(storage_uri, "releases"))
    for changes in (3, 4):
        manifest = a_manifest(a_config(changes), corpus_digest=f"{changes}{changes}c0ffee")
        uri = below(settings.index_root, manifest.recipe)
        index_storage(uri, settings).put("lancedb/part", b"rows")
        write_manifest(uri, manifest, settings)
    index_storage(settings.index_root, settings).put("0123456789abcdef/lancedb/part", b"half")
    return settings


def test_what_a_release_stands_on_stays_and_the_rest_goes_when_it_is_old(places: HarnessSettings) -> None:
    used = write_for(places)
    found = unused_indexes(places, unused_days=30, now=LATER)
    assert used not in [index.recipe for index in found]
    assert sorted(index.whole for index in found) == [False, True]
    assert unused_indexes(places, unused_days=60, now=LATER) == []
    for index in found:
        remove_index(places, index)
    left = {entry.key.partition("/")[0] for entry in index_storage(places.index_root, places).list()}
    assert left == {used}


def test_a_build_that_may_be_running_is_left_alone_whatever_is_asked(places: HarnessSettings) -> None:
    assert [index.whole for index in unused_indexes(places, unused_days=0)] == [True, True]


def test_while_a_release_cannot_be_read_nothing_is_removed(places: HarnessSettings) -> None:
    write_for(places)
    storage = at(places.releases)
    key = next(entry.key for entry in storage.list() if entry.key.endswith("index.json"))
    storage.put(key, b"{}")
    with pytest.raises(IntegrityError, match="Nothing was removed"):
        unused_indexes(places, unused_days=0)


def write_for(places: HarnessSettings) -> str:
    """A release over the first index; returns that one's recipe."""

    manifest = a_manifest(a_config(3), corpus_digest="33c0ffee")
    write_release(at(places.releases), a_config(3), PROMPTS, manifest)
    return manifest.recipe
