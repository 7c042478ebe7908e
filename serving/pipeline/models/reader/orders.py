"""A document speaks to people: what it says to the model that reads it is no answer to anybody's question."""

from typing import Final

from serving.pipeline.checks.injection.patterns import find_injections

_KINDS: Final = frozenset({"override", "role", "secrecy"})


def without_orders(text: str) -> str:
    """The text without sentences that order the model to forget, to play or to hide something."""
    kept, position = [], 0
    for order in find_injections(text):
        if order.kind in _KINDS:
            kept.append(text[position : order.start])
            position = order.end
    return "".join([*kept, text[position:]])
