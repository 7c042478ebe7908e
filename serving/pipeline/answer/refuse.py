"""Recognises refusals: answers that say there is no answer."""

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
    plain_text, plain_sentence = _plain(text), _plain(sentence)
    if plain_sentence and (
        plain_text == plain_sentence
        or (plain_text.startswith(plain_sentence) and len(plain_text.split()) <= len(plain_sentence.split()) + 25)
    ):
        return True
    if len(plain_text.split()) > _MOST_WORDS or re.search(r"\[\d", text):
        return False
    return bool(_ABOUT_SELF.search(plain_text) or _ABOUT_SOURCES.search(plain_text))


def _plain(text: str) -> str:
    """Lower case without quotes, marks of emphasis, citations and final stops."""
    bare = re.sub(r"\[\d+\]|[\"“”*_`]", "", straight_apostrophes(text.casefold()))
    return " ".join(bare.split()).strip(" .!'")
