"""Follow-ups in English, by their form: whether a question leans on the one before, and what the two mean together.

Two forms lean: an ellipsis, which names something else to ask the same about ("And in Singapore?", "What about trainees?"), and a pronoun
that stands for what was asked about ("When do they lapse?"). An ellipsis takes the place of what it stands beside in the question before;
a pronoun keeps its question, and the subject of the one before is put behind it.
"""

import re
from typing import Final

from serving.pipeline.text.folding import straight_apostrophes
from serving.pipeline.text.stopwords import READER_STOP_WORDS
from serving.pipeline.text.words import WHOLE_WORD

_LEAD: Final = re.compile(
    r"\A(?:(?:and|but|or|also|so|ok(?:ay)?|then)\b[\s,]*)+(?:what|how)\s+about\s+|\A(?:what|how)\s+about\s+"
    r"|\A(?:(?:and|but|or|also|so|ok(?:ay)?|then)\b[\s,]*)+",
    re.IGNORECASE,
)
_ABOUT: Final = re.compile(r"\b(?:what|how)\s+about\b", re.IGNORECASE)
_ASKING: Final = re.compile(
    r"\b(?:what|which|who|whom|whose|how|when|where|why|is|are|was|were|do|does|did|can|could|may|must|should|will|would|has|have|had)\b",
    re.IGNORECASE,
)
_POINTING: Final = re.compile(
    r"\b(?:it|its|they|them|their|theirs|those|these|he|him|his|she|her|hers|ones?|the same|the latter|the former)\b"
    r"|\b(?:this|that|such)(?=\s*(?:[?.!,;]|\Z|(?:is|are|was|were|do|does|did|can|could|may|must|should|will|would|has|have|be|an?|for|in)\b))"
    r"|\b(?:for|of|with|about|above|below|after|before|by|on|in|to|from|than|does|is|if|do|did|without|under|until)\s+(?:this|that|such|there)\b"
    r"|\b(?:may|can|could|will|would|should|must|was|were|are)\s+(?:this|that|such)\b"
    r"|\b(?:this|that)\s+[\w-]+\s*(?:[?.!]|\Z)"
    r"|\b(?:then|there|instead|otherwise)\s*(?:[?.!]|\Z)",
    re.IGNORECASE,
)
_EXPLETIVE: Final = re.compile(  # stands for nothing: "how is it proved that …", "what does it cost to …"
    r"\b(?:is|was|be|does|did)\s+it\s+\w+\s+(?:that|to)\b|\bit\s+(?:is|was)\s+\w+\s+(?:that|to)\b"
    r"|\bthere\s+(?:is|are|was|were)\b|\b(?:is|are|was|were)\s+there\b",
    re.IGNORECASE,
)
_MOST_OWN_WORDS: Final = 6  # with more of its own, a question with a pronoun says itself what it is about
_OWN_SUBJECT: Final = 3  # words before the pronoun from which it stands for something of the question itself
_LITTLE: Final = READER_STOP_WORDS | {"then", "long", "same", "if"}  # say nothing of what a question is about
_ABOUT_BEFORE: Final = " About: "

_PLACES: Final = ("in", "at", "within", "across", "outside", "inside", "on", "near", "from")
_PREPOSITIONS: Final = (*_PLACES, "for", "of", "with", "without", "by", "to", "after", "before", "during", "above", "below", "under", "per")
_PHRASE: Final = re.compile(rf"\A(?P<preposition>{'|'.join(_PREPOSITIONS)})\b\s*(?P<rest>\S.*)\Z", re.IGNORECASE | re.DOTALL)
_NAMED_THEN_PHRASE: Final = re.compile(
    rf"\A(?P<named>\S+(?:\s+\S+){{0,2}}?)\s+(?P<phrase>(?P<preposition>{'|'.join(_PLACES)})\s+\S.*)\Z", re.IGNORECASE | re.DOTALL
)
_PHRASE_END: Final = rf"(?=\s+(?:{'|'.join(_PREPOSITIONS)}|{_ASKING.pattern[4:-3]}|if|and|or|get|gets)\b|\s*[,;?!]|\s*\.(?!\d)|\s*\Z)"

# things of one kind take each other's place
_CODE: Final = re.compile(r"(?<!\w)#?(?=[\w-]{0,40}\d)(?=[\w-]{0,40}[A-Za-z])[A-Za-z0-9]+(?:-[A-Za-z0-9]+)*(?!\w)")  # TG-4410X, P1
_NUMBER: Final = re.compile(r"\b\d+(?:[.,]\d+)*(?:\s?(?:%|EUR|USD|SGD|GBP|°C))?(?!\w)")  # 20 %, 7.2
_NAME: Final = re.compile(r"(?<=\s)(?!I\b)[A-Z][\w&]*(?:[\s-][A-Z][\w&]*){0,3}\b")  # Halden, Premier
_OPENING: Final = re.compile(
    r"\A(?:(?:so|and|but|please|tell me)\s+)*"
    r"(?:(?:up to|within|from|by|at|in|on|for|to|of|under|with|after|before)\s+(?=how|wh))?"
    r"(?:(?:how|what|which|who|whom|whose|when|where|why)\b(?:\s+(?:many|much|long|often|fast|soon|far|big|large|old|high|heavy))?\s*)?"
    r"(?:(?:is|are|was|were|do|does|did|can|could|may|must|should|will|would|has|have|had)\b\s*)?",
    re.IGNORECASE,
)
_LONGEST_SUBJECT: Final = 160  # characters


def leans(question: str) -> bool:
    """Whether a question cannot be understood without the one before it."""
    text = straight_apostrophes(question.strip())
    if not WHOLE_WORD.search(_LEAD.sub("", text)):
        return False
    if _ABOUT.match(text) or _is_ellipsis(text):
        return True
    own = _own_words(text)
    pointing = _POINTING.search(_EXPLETIVE.sub(lambda match: "-" * len(match[0]), text))
    if pointing is None:
        return not own
    return len(own) <= _MOST_OWN_WORDS and len(_own_words(text[: pointing.start()])) < _OWN_SUBJECT


def stand_alone(question: str, before: str) -> str:
    """The question as it can be asked without `before`, the last one that stood alone; as it is where it does already."""
    text = " ".join(question.split())
    if not before or not leans(text):
        return text
    if _is_ellipsis(text):
        return _in_place(_LEAD.sub("", text).rstrip(" ?.!"), before)
    subject = subject_of(before)
    return f"{text}{_ABOUT_BEFORE}{subject}." if subject else text


def subject_of(question: str) -> str:
    """What a question is about: all of it but the words that ask."""
    own, _, about = question.partition(_ABOUT_BEFORE)  # of a follow-up: what that one is about
    return _cut(about.rstrip(" .") or _OPENING.sub("", " ".join(own.split())).rstrip(" ?.!"))


def _is_ellipsis(text: str) -> bool:
    """Whether a text names something without asking anything of it."""
    lead = _LEAD.match(text)
    rest = text[lead.end() :] if lead else text
    if len(_own_words(rest)) > 4 or _ASKING.search(rest) or _POINTING.search(rest):
        return False
    return lead is not None or (len(rest.split()) <= 4 and (text.endswith("?") or _PHRASE.match(text) is not None))


def _in_place(new: str, before: str) -> str:
    """The question before with something else in the place of what it named."""
    phrase = _PHRASE.match(new)
    bare = re.sub(r"\A(?:a|an|the|our|my|your)\s+", "", phrase["rest"] if phrase else new, flags=re.IGNORECASE)
    for kind in (_CODE, _NUMBER):
        found = list(kind.finditer(before))
        if found and kind.fullmatch(bare):
            return before[: found[-1].start()] + bare + before[found[-1].end() :]
    if phrase:
        return _phrase_in_place(new, phrase["preposition"].lower(), before)
    if two := _NAMED_THEN_PHRASE.match(new):  # "part-timers in Austin"
        placed = _phrase_in_place(two["phrase"], two["preposition"].lower(), before)
        return _in_place(two["named"], placed)
    names = list(_NAME.finditer(before))
    if names and bare[:1].isupper() and not _CODE.match(bare):
        return before[: names[-1].start()] + bare + before[names[-1].end() :]
    head = bare.split()[-1].lower() if bare.split() else ""
    alike = rf"(?:\b(?:a|an|the|our|my|your)\s+)?(?:[\w-]{{1,40}}\s+)?\b{re.escape(head)}s?\b"
    same_head = re.search(alike, before, re.IGNORECASE) if len(bare.split()) > 1 else None
    if same_head:
        return before[: same_head.start()] + new + before[same_head.end() :]
    return f"{before.rstrip(' ?.!')}, {new}?"


def _phrase_in_place(new: str, preposition: str, before: str) -> str:
    """With the last phrase of this preposition, or of another one of place, exchanged; else with the phrase behind it."""
    for prepositions in ((preposition,), _PLACES if preposition in _PLACES else ()):
        if prepositions:
            found = list(re.finditer(rf"\b(?:{'|'.join(prepositions)})\s+\S.*?{_PHRASE_END}", before, re.IGNORECASE))
            if found:
                last = found[-1]
                return before[: last.start()] + new + before[last.end() :]
    return f"{before.rstrip(' ?.!')} {new}?"


def _own_words(text: str) -> list[str]:
    """The words that say what a text is about."""
    return [word for word in WHOLE_WORD.findall(text.casefold()) if word not in _LITTLE]


def _cut(text: str) -> str:
    if len(text) <= _LONGEST_SUBJECT:
        return text
    return text[:_LONGEST_SUBJECT].rpartition(" ")[0]
