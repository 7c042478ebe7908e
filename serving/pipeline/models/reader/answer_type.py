"""The type of answer that a question expects: a date, a sum, a person, a code and so on."""

import re
from typing import Final


def _any(words: str) -> str:
    """A pattern for any of some words, which may hold patterns themselves."""
    return f"(?:{'|'.join(words.split())})"


_MONTH: Final = _any(
    "jan(?:uary)? feb(?:ruary)? mar(?:ch)? apr(?:il)? may june? july? "
    "aug(?:ust)? sep(?:t(?:ember)?)? oct(?:ober)? nov(?:ember)? dec(?:ember)?"
)
_NUMBER: Final = _any(r"\d[\d,.]{0,20} one two three four five six seven eight nine ten twelve half")
_COUNT: Final = rf"(?:{_NUMBER}|an?)"
_KIND_OF_DAY: Final = r"(?:(?:full|working|business|calendar|consecutive)\s{1,3}){0,3}"
_SPAN: Final = rf"{_COUNT}[\s-]{{0,3}}{_KIND_OF_DAY}{_any('second minute hour day week month quarter year h min')}s?\b"
_ROLES: Final = _any(
    "officer manager director head team counsel owner lead committee board desk engineer supervisor approver president vp "
    "ceo cfo cto coo ciso dpo controller executive specialist paralegal coordinator partner"
)
_ACTIONS: Final = _any("run click open press select enter use set hold check send call file")
_PLACES: Final = _any("room site folder page portal office building drive")

ANSWER_PATTERNS: Final = {  # answer type → pattern of a text that contains one
    "date": re.compile(
        rf"\b\d{{4}}-\d\d(?:-\d\d)?\b|\b\d{{1,2}}\.?\s{{1,3}}{_MONTH}\b|\b{_MONTH}\s{{1,3}}\d|\b(?:19|20)\d\d\b"
        rf"|\b{_any('mon tues wednes thurs fri satur sun')}days?\b|\b{_any('in until by of each every')}\s+{_MONTH}\b"
        rf"|\bquarter|\b\d{{1,2}}:\d\d\b|\b{_SPAN}|\b{_any('daily weekly monthly yearly annually')}\b",
        re.IGNORECASE,
    ),
    "duration": re.compile(rf"\b{_SPAN}|\bpermanent", re.IGNORECASE),
    "money": re.compile(
        rf"[€$£]\s?\d|\b{_any('EUR USD GBP SGD PLN CHF')}\b|\b\d[\d,.]{{0,20}}\s?(?:{_any('euros? dollars? pounds? % percent')}|per cent)",
        re.IGNORECASE,
    ),
    "percent": re.compile(r"\d\s?(?:%|percent|per cent|points?\b)", re.IGNORECASE),
    "number": re.compile(rf"\b{_NUMBER}\b", re.IGNORECASE),
    "person": re.compile(rf"\b[A-Z][a-zà-ÿ’'-]{{1,30}} (?:[A-Z]\. )?[A-Z][a-zà-ÿ’'-]{{1,30}}\b|@|(?i:\b{_ROLES}\b)"),
    "place": re.compile(rf"\b(?i:in|at|on|to|under|from)\s{{1,3}}(?:the\s{{1,3}})?(?:[A-Z]|`|#)|https?:|\w/\w|#[a-z]|(?i:\b{_PLACES}\b)"),
    "code": re.compile(
        r"\b(?=[\w-]{0,30}\d)(?=[\w-]{0,30}[A-Z])[A-Z0-9]{1,30}(?:-[A-Z0-9]{1,30}){0,8}\b"
        r"|\b[A-Z]{2,30}(?:-[A-Z0-9]{1,30}){1,8}\b|`[^`]{1,200}`"
    ),
    "reason": re.compile(
        rf"\b(?:{_any('because since reason therefore caused refers?')}|so that|due to|in order to|as a result|to avoid)\b",
        re.IGNORECASE,
    ),
    "command": re.compile(rf"`[^`]{{1,200}}`|^[$>#]\s|\b{_ACTIONS}\b|\bgo to\b", re.IGNORECASE),
}

_WHICH: Final = r"\b(?:what|which)(?: is| are| was| were)?(?: the)?(?: [\w-]{1,30})"
_TIME_UNITS: Final = _any("days weeks months years hours minutes")
_QUESTION_PATTERNS: Final = tuple(  # the first that matches decides
    (kind, re.compile(pattern))
    for kind, pattern in (
        ("", r"\bwhat (?:do|does) .{0,80}\b(?:mean|stand for)\b"),
        ("duration", rf"\bhow {_any('long soon often quickly fast late early')}\b|\bhow many (?:\w+ )?{_TIME_UNITS}\b|\bretention\b"),
        ("duration", rf"{_WHICH}{{0,3}} (?:{_any('period duration notice deadline term window')}|time limit)\b"),
        ("duration", rf"{_WHICH}{{0,3}} {_any('response reaction repair lead delivery waiting')} time\b"),
        ("percent", rf"{_WHICH}{{0,1}} {_any('percentage percent share rate discount proportion')}\b|\bhow many per ?cent\b"),
        (
            "money",
            rf"\bhow much\b|\b{_any('price cost fee budget amount salary limit allowance cap penalty total rate discount pay')}\b",
        ),
        ("number", rf"\bhow {_any('many large big high far heavy old hot cold')}\b"),
        (
            "number",
            rf"{_WHICH}{{0,2}} {_any('number count quantity maximum minimum temperature version revision size threshold ratio range')}\b",
        ),
        ("date", rf"\bwhen\b|{_WHICH}{{0,1}} {_any('date day month year time quarter')}\b|\beffective\b|\bdeadline\b"),
        ("person", rf"\bwho(?:m|se)?\b|{_WHICH}{{0,1}} {_any('person team role manager department committee')}\b"),
        (
            "code",
            rf"{_WHICH}{{0,2}} {_any('part code form id identifier model sku error command setting invoice order serial ticket hold')}\b",
        ),
        ("code", r"\bpart number\b|\bcommand\b"),
        ("place", rf"\bwhere\b|{_WHICH}{{0,1}} {_any('site place city country office room folder page channel address')}\b"),
        ("reason", rf"\bwhy\b|{_WHICH}{{0,1}} reason\b"),
        ("command", r"\bhow (?:do|can|should|to|does)\b|\bwhat (?:should|must|do) \w+ do\b|\bsteps?\b"),
    )
)


def expected_answer_type(question: str) -> str:
    """The expected answer type, a key of `ANSWER_PATTERNS`; empty where the words do not tell."""
    lower = question.lower()
    return next((kind for kind, pattern in _QUESTION_PATTERNS if pattern.search(lower)), "")
