"""AWS's event-stream encoding, as far as a stand-in needs it."""

import json
import struct
import zlib
from typing import Any


def frame(name: str, payload: dict[str, Any], kind: str = "event") -> bytes:
    """One frame of AWS's event stream: lengths and their checksum, headers, payload, checksum of all."""
    body = json.dumps(payload).encode()
    headers = _header(f":{kind}-type", name) + _header(":content-type", "application/json") + _header(":message-type", kind)
    lengths = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    front = lengths + struct.pack("!I", zlib.crc32(lengths)) + headers + body
    return front + struct.pack("!I", zlib.crc32(front))


def _header(name: str, value: str) -> bytes:
    string = 7  # the type of a header whose value is a string
    return struct.pack("!B", len(name)) + name.encode() + struct.pack("!BH", string, len(value.encode())) + value.encode()
