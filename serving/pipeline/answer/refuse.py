"""Recognises an answer that says there is no answer."""

import re
from typing import Final

from serving.pipeline.text.folding import straight_apostrophes

_ABOUT_SOURCES: Final = re.compile(
    r"\b(?:passages?|documents?|context|sources?|excerpts?|texts?|information|materials?)\b[^.]{0,60}?"
    r"\b(?:do|does|did|is|are|was|were)(?:\s+not|n.?t)\b[^.]{0,30}?"
    r"\b(?:contain|answer|mention|provide|say|state|include|specify|cover|address|enough|sufficient|give|available)",
)
_ABOUT_SELF: Final = re.compile(
    r"\A(?:i(?:.m| am)? (?:sorry|afraid)[^a-z]{0,3}(?:but )?)?(?:i|we) (?:can ?not|can.?t|could ?not|couldn.?t|am unable to|do not|don.?t) "
    r"(?:answer|find|know|determine|tell|have (?:enough|any|that|the) )"
)
_MOST_WORDS: Final = 45  # a longer text that mentions a gap is an answer with a caveat


def is_refusal(text: str, sentence: str) -> bool:
    """Whether a text refuses: in the prompt's own sentence, or in other words if it says little else."""
    said, exact = _plain(text), _plain(sentence)
    if exact and (said == exact or (said.startswith(exact) and len(said.split()) <= len(exact.split()) + 25)):
        return True
    if len(said.split()) > _MOST_WORDS or re.search(r"\[\d", text):
        return False
    return bool(_ABOUT_SELF.search(said) or _ABOUT_SOURCES.search(said))


def _plain(text: str) -> str:
    """Lower case without quotes, marks of emphasis, citations and final stops."""
    bare = re.sub(r"\[\d+\]|[\"“”*_`]", "", straight_apostrophes(text.casefold()))
    return " ".join(bare.split()).strip(" .!'")
