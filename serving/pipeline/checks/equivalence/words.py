"""Words that say how a question is put, not what it is about."""

from typing import Final


def words_of(text: str) -> frozenset[str]:
    """The words of a list that is written as a text."""
    return frozenset(text.split())


FUNCTION_WORDS: Final = words_of(
    """
    a an the this that these those there it its i me my we us our you your he his she her they them their what which who whom
    whose how when where why is are was were be been being am do does did doing done has have having had can could should will
    would may must shall might and or but if then than as so such also just any some of in on at by for from to into with about
    please tell me know get one here very too really actually exactly
    """
)
