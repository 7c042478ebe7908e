"""Entries as bytes outside this process: JSON under a keyed seal, so that what was altered, cut or put elsewhere is no entry."""

import hmac
import json
from dataclasses import dataclass
from typing import Final

from serving.pipeline.cache.base import CacheEntry
from serving.pipeline.cache.keys import CacheKeys
from serving.pipeline.codec import Codec

FORMAT: Final = b"tc1"
MOST_BYTES: Final = 512 * 1024  # of one entry


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """An entry with the question that it was written for."""

    entry: CacheEntry
    question: str
    at_s: float  # when it was written, by the backend's clock


_CODEC: Final = Codec(StoredAnswer)


class BrokenSeal(Exception):
    """Bytes that are no entry of this deployment's, or not the one of this place."""


def sealed(kept: StoredAnswer, place: str, keys: CacheKeys) -> bytes | None:
    """The bytes of an entry for one place; none for one that is too large or has no JSON form."""
    try:
        data = json.dumps(_CODEC.dump(kept, sparse=True), ensure_ascii=False, separators=(",", ":")).encode()
    except (ValueError, UnicodeEncodeError):
        return None
    if len(data) > MOST_BYTES:
        return None
    return b"\n".join((FORMAT, keys.mac("entry", place, data).encode(), data))


def opened(data: bytes, place: str, keys: CacheKeys) -> StoredAnswer:
    """The entry in some bytes, or `BrokenSeal`."""
    head, _, rest = data.partition(b"\n")
    mac, _, body = rest.partition(b"\n")
    if head != FORMAT or len(data) > MOST_BYTES + 200 or not hmac.compare_digest(mac, keys.mac("entry", place, body).encode()):
        raise BrokenSeal
    try:
        return _CODEC.value(json.loads(body))
    except (ValueError, TypeError, RecursionError):  # of another version of this program
        raise BrokenSeal from None
