"""The digest of an index's content changes with everything that a search shows or a filter reads, and with no file layout."""

from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from serving.pipeline.index.base import StoredRow
from serving.pipeline.index.content import ContentDigest, content_digest
from serving.pipeline.types import Chunk

CHUNK = Chunk("c1", "d", 0, 4, "text", 1, "Title", "Head", "hr", "s.md", "1", "acme", ("a", "b"), {"status": "current"})
ROW = StoredRow.of(CHUNK, "Title\ntext", np.array([0.6, 0.8], np.float32))
OTHER = StoredRow.of(replace(CHUNK, id="c2"), "Title\ntext", np.array([0.8, 0.6], np.float32))
CHANGED: dict[str, Any] = {
    "id": "c9", "document_id": "e", "start": 1, "end": 5, "text": "tent", "ordinal": 2, "title": "t", "heading": "h", "domain": "it",
    "source": "t.md", "version": "2", "tenant": "public", "groups": ("a",), "metadata": {"status": "old"},
    "instruction_score": 0.7,
}  # fmt: skip


def test_the_order_and_the_batches_of_rows_do_not_matter() -> None:
    digest = ContentDigest()
    digest.add([OTHER])
    digest.add([ROW])
    assert digest.hexdigest() == content_digest([ROW, OTHER])
    assert len(digest.hexdigest()) == 64


@pytest.mark.parametrize("field", [field.name for field in fields(Chunk)])
def test_every_field_of_a_chunk_is_covered(field: str) -> None:
    changed = replace(ROW, chunk=replace(CHUNK, **{field: CHANGED[field]}))
    assert content_digest([changed, OTHER]) != content_digest([ROW, OTHER])


@pytest.mark.parametrize(
    "changed",
    [
        replace(ROW, text="Title\ntent"),
        replace(ROW, open=True),
        replace(ROW, facts=()),
        replace(ROW, vector=np.array([0.6, np.nextafter(np.float32(0.8), np.float32(1))], np.float32)),
    ],
)
def test_every_other_column_is_covered(changed: StoredRow) -> None:
    assert content_digest([changed]) != content_digest([ROW])


def test_a_row_that_is_there_twice_or_missing_is_seen() -> None:
    assert len({content_digest(rows) for rows in ([], [ROW], [ROW, ROW], [ROW, OTHER])}) == 4
