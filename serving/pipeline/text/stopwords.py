"""Words that carry little meaning, in groups; search and reader leave out those groups that help them."""

import re
from typing import Final

from serving.pipeline.text.folding import straight_apostrophes
from serving.pipeline.text.words import WHOLE_WORD

# for search and reader
POINTERS: Final = "a an the this that these those there it its"
PERSONS: Final = "i me my we us our you your he his she her they them their"
QUESTION_WORDS: Final = "what which who whom whose how when where why"
AUXILIARIES: Final = "is are was were be been being do does did doing has have had having"
MODALS: Final = "can could should will would may must"
CONNECTIVES: Final = "and or but if then than as so such also just any some"
PREPOSITIONS: Final = "of in on at by for from to into with about"
REQUESTS: Final = "please tell"
# for search alone: whole words, literary forms included
LITERARY_FORMS: Final = "here ours him whether am done shall might very too"
WORDIER_REQUESTS: Final = "explain describe"
CONTRACTIONS: Final = "let's i'm i'd what's who's how's where's it's that's there's isn't aren't don't doesn't"
# for the reader alone: its terms must identify a sentence, and it splits contractions
CONTRACTION_PARTS: Final = "s t re ve"
RELATIONS: Final = "according after between under up while within per"
AMOUNTS: Final = "all both many much one no not kind"
NOW: Final = "currently exactly now"
COMMON_VERBS: Final = "get give need needs say says said use used"
OWN_COMPANY: Final = "company"

_SHARED: Final = (POINTERS, PERSONS, QUESTION_WORDS, AUXILIARIES, MODALS, CONNECTIVES, PREPOSITIONS, REQUESTS)
STOP_WORDS: Final = frozenset(" ".join((*_SHARED, LITERARY_FORMS, WORDIER_REQUESTS, CONTRACTIONS)).split())
READER_STOP_WORDS: Final = frozenset(" ".join((*_SHARED, CONTRACTION_PARTS, RELATIONS, AMOUNTS, NOW, COMMON_VERBS, OWN_COMPANY)).split())


def without_stop_words(text: str) -> str:
    """The text without `STOP_WORDS`; the text itself if no word would be left.

    Capitals in a text that is not all capitals are names ("IT", "US"), so they stay.
    """
    all_capitals = text.isupper()

    def keep(match: re.Match[str]) -> str:
        word = match[0]
        name = word.isupper() and len(word) > 1 and not all_capitals
        return word if name or straight_apostrophes(word.casefold()) not in STOP_WORDS else " "

    remaining = WHOLE_WORD.sub(keep, text)
    return " ".join(remaining.split()) if WHOLE_WORD.search(remaining) else text
