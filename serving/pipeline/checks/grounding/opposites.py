"""Antonyms: "before" where the passage says "after"."""

from collections.abc import Set as AbstractSet
from functools import cache
from typing import Final

from serving.pipeline.text.stems import stem

PAIRS: Final = (
    "before after",
    "above below",
    "over under",
    "more less",
    "more fewer",
    "minimum maximum",
    "least most",
    "always never",
    "allowed prohibited",
    "allowed forbidden",
    "permitted prohibited",
    "permitted forbidden",
    "mandatory optional",
    "mandatory voluntary",
    "required optional",
    "compulsory optional",
    "increase decrease",
    "increased reduced",
    "rise fall",
    "raise lower",
    "rose fell",
    "higher lower",
    "high low",
    "longer shorter",
    "larger smaller",
    "include exclude",
    "included excluded",
    "included except",
    "internal external",
    "inside outside",
    "accept reject",
    "accepted rejected",
    "approve reject",
    "approved rejected",
    "enable disable",
    "enabled disabled",
    "with without",
    "first last",
    "earliest latest",
    "early late",
    "open closed",
    "opened closed",
    "paid unpaid",
    "true false",
    "up down",
    "won lost",
    "win lose",
    "buy sell",
    "bought sold",
    "public private",
    "full partial",
    "permanent temporary",
    "monthly yearly",
    "daily weekly",
    "monthly weekly",
    "weekly yearly",
    "encrypted unencrypted",
    "possible impossible",
    "able unable",
    "agree disagree",
    "import export",
    "upload download",
    "north south",
    "east west",
    "left right",
    "male female",
    "valid invalid",
    "entitled excluded",
    "refundable nonrefundable",
    "online offline",
)


@cache
def _table() -> dict[str, frozenset[str]]:
    opposites: dict[str, frozenset[str]] = {}
    for pair in PAIRS:
        one, other = map(stem, pair.split())
        opposites[one] = opposites.get(one, frozenset()) | {other}
        opposites[other] = opposites.get(other, frozenset()) | {one}
    return opposites


def opposites_of(claimed: AbstractSet[str], written: AbstractSet[str]) -> list[str]:
    """The stems of a claim whose antonym is in the sentence instead of them."""
    return [word for word in sorted(claimed - written) if _table().get(word, frozenset()) & (written - claimed)]
