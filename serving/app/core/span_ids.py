"""Derives the OpenTelemetry trace id of a question's spans from its trace, so that any replica can find them."""

import hashlib
import re
from typing import Final

TRACEPARENT_FORM: Final = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-(?P<flags>[0-9a-f]{2})")
_SAMPLED: Final = 1


def span_trace_id(trace_id: str, traceparent: str) -> str:
    """The caller's trace id, where the question came with one; else one derived from the question's trace."""
    caller = TRACEPARENT_FORM.fullmatch(traceparent)
    return caller["trace"] if caller else hashlib.sha256(trace_id.encode("utf-8", "replace")).hexdigest()[:32]


def spans_are_sent(trace_id: str, traceparent: str, share: float) -> bool:
    """Whether the spans of a question are sent: as the caller decided, else by the share, as OpenTelemetry draws it from the id."""
    if caller := TRACEPARENT_FORM.fullmatch(traceparent):
        return bool(int(caller["flags"], 16) & _SAMPLED)
    return int(span_trace_id(trace_id, "")[16:], 16) < round(share * 2**64)
