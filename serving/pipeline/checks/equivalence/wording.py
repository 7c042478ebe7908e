"""Everything that the guards and the verifier compare of a question, parsed once."""

from collections import Counter
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from serving.pipeline.checks.equivalence.asked import asked_kinds
from serving.pipeline.checks.equivalence.names import QuestionNames, names_of
from serving.pipeline.checks.equivalence.polarity import denied_words, switches
from serving.pipeline.checks.equivalence.quantities import Quantities, quantities_of
from serving.pipeline.checks.equivalence.roles import WordPositions, places_of
from serving.pipeline.checks.equivalence.tokens import Token, tokens_of
from serving.pipeline.checks.equivalence.words import FUNCTION_WORDS, words_of
from serving.pipeline.text.stems import stem

LONGEST: Final = 2000  # characters; a longer question is the same as its equal only
_LONGEST_KEPT: Final = 400  # characters; with the number of questions, this bounds what is kept to some 120 MB
_CACHED: Final = 4096  # questions

_MONTHS: Final = "january february march april may june july august september october november december"
_CALENDAR: Final = {
    **{name: f"month{number}" for number, name in enumerate(_MONTHS.split(), 1)},
    **{name[:3]: f"month{number}" for number, name in enumerate(_MONTHS.split(), 1) if name[:3] not in ("mar", "may", "dec", "jan", "jun")},
    **{f"month{number}": f"month{number}" for number in range(1, 13)},
    "sept": "month9",
    **{day: day for day in words_of("monday tuesday wednesday thursday friday saturday sunday spring summer autumn winter")},
    **{day: day for day in ["tonight", "tomorrow", "yesterday", "christmas", "easter"]},
}
_MONTH_LEADS: Final = words_of("in of since until till by from before after during for on this last next to and early late mid end")


@dataclass(frozen=True, slots=True)
class Wording:
    """A question as it is compared."""

    text: str
    tokens: tuple[Token, ...]
    stems: Counter[str]  # of every word that states no quantity
    content: frozenset[str]  # those of them that carry meaning
    quantities: Quantities
    codes: frozenset[str]
    calendar: frozenset[str]
    names: QuestionNames
    acronyms: frozenset[str]  # words in capitals, in small letters; none where everything is in capitals
    denied: tuple[frozenset[str], ...]  # for each denial, the stems after it
    switches: frozenset[str]
    asked: tuple[str, ...]
    places: WordPositions
    said: tuple[str, ...]  # every token but the stops
    meaning: tuple[str, ...]  # those of them that are no function words
    function: frozenset[str]  # those that are


def wording_of(text: str, names: frozenset[str] = frozenset()) -> Wording:
    """A question of at most `LONGEST` characters, parsed; `names` are those of the corpus, in lower case."""
    return parsed(text, names) if len(text) <= _LONGEST_KEPT else _parse(text, names)


def _parse(text: str, names: frozenset[str]) -> Wording:
    tokens = tokens_of(text)
    quantities = quantities_of(tokens)
    words = [token.text for index, token in enumerate(tokens) if token.kind == "word" and index not in quantities.taken]
    stems = Counter(stem(word) for word in words)
    content = frozenset(stem(word) for word in words if word not in FUNCTION_WORDS)
    said = tuple(token.text for token in tokens if token.kind != "stop")
    calendar = _calendar(tokens)
    dated = [replace(token, text=calendar[index]) if index in calendar else token for index, token in enumerate(tokens)]
    return Wording(
        text=text,
        tokens=tuple(tokens),
        stems=stems,
        content=content,
        quantities=quantities,
        codes=frozenset(token.text for token in tokens if token.kind == "code"),
        calendar=frozenset(calendar.values()),
        names=names_of(tokens, names),
        acronyms=frozenset() if text.isupper() else frozenset(token.text for token in tokens if token.loud),
        denied=denied_words(tokens),
        switches=switches(tokens),
        asked=asked_kinds(tokens),
        places=places_of(dated),
        said=said,
        meaning=tuple(word for word in said if word not in FUNCTION_WORDS),
        function=frozenset(said) & FUNCTION_WORDS,
    )


def _calendar(tokens: list[Token]) -> dict[int, str]:
    """The months, days of the week, seasons and near days of a question, by the places of their tokens."""
    found: dict[int, str] = {}
    for index, token in enumerate(tokens):
        if token.text not in _CALENDAR:
            continue
        if token.text in ("may", "march"):
            before = tokens[index - 1] if index else None
            after = tokens[index + 1] if index + 1 < len(tokens) else None
            dated = (before is not None and (before.text in _MONTH_LEADS or before.kind == "number")) or (
                after is not None and after.kind == "number"
            )
            if not dated:
                continue
        found[index] = _CALENDAR[token.text]
    return found


parsed = lru_cache(maxsize=_CACHED)(_parse)
