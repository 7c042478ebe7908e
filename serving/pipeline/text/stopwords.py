"""Words of a question that say how it is asked, not what it is about."""

import re

WORD = re.compile(r"\w+(?:['’-]\w+)*")  # with hyphens, so that "A-12" and "how-to" stay whole
_GROUPS = (
    "a an the this that these those there here it its",
    "i me my we us our ours you your he him his she her they them their",
    "what which who whom whose how when where why whether",
    "am is are was were be been being do does did done doing has have had having",
    "can could shall should will would may might must",
    "and or but if then than as so such also just very too any some",
    "of in on at by for from to into with about",
    "please tell explain describe let's i'm i'd what's who's how's where's it's that's there's isn't aren't don't doesn't",
)
STOP_WORDS = frozenset(" ".join(_GROUPS).split())


def without_stop_words(text: str) -> str:
    """The text without them; the text itself if no word would be left.

    Capitals in a text that is not all capitals are names ("IT", "US"), so they stay.
    """
    shouted = text.isupper()

    def keep(match: re.Match[str]) -> str:
        word = match[0]
        name = word.isupper() and len(word) > 1 and not shouted
        return word if name or word.casefold().replace("’", "'") not in STOP_WORDS else " "

    left = WORD.sub(keep, text)
    return " ".join(left.split()) if WORD.search(left) else text
