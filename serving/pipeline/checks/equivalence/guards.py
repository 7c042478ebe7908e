"""The guards against false hits: the first that says two questions are not the same, in words."""

from collections.abc import Callable
from typing import Final

from serving.pipeline.checks.equivalence import quantities
from serving.pipeline.checks.equivalence.asked import asks_else
from serving.pipeline.checks.equivalence.names import unnamed
from serving.pipeline.checks.equivalence.polarity import denied_instead, opposed
from serving.pipeline.checks.equivalence.quantities import CURRENCIES
from serving.pipeline.checks.equivalence.roles import traded
from serving.pipeline.checks.equivalence.wording import LONGEST, Wording, wording_of
from serving.pipeline.checks.equivalence.words import FUNCTION_WORDS

VERSION: Final = "1"  # raise it when a guard objects to more, to less, or in other words


def disagreement(question: str, other: str, names: frozenset[str] = frozenset()) -> str | None:
    """Why one question may not take the other's answer, by the first guard that objects; `None` where none does.

    `names` are those of the corpus, in lower case, for questions that write them small.
    """
    if question == other:
        return None
    if max(len(question), len(other)) > LONGEST:
        return f"longer than {LONGEST:,} characters and not the same text"
    one, two = wording_of(question, names), wording_of(other, names)
    return next((why for guard in GUARDS.values() if (why := guard(one, two))), None)


def _quantities(one: Wording, two: Wording) -> str | None:
    for first, second in ((one, two), (two, one)):
        number = quantities.missing(first.quantities, second.quantities)
        if number is not None:
            return f"only one of them says {number[:40]!r}, or with another unit"
    return None


def _units(one: Wording, two: Wording) -> str | None:
    first, second = one.quantities.units & CURRENCIES, two.quantities.units & CURRENCIES
    return f"one asks in {min(first)}, the other in {min(second)}" if first and second and first != second else None


def _codes(one: Wording, two: Wording) -> str | None:
    differing = one.codes ^ two.codes
    return f"only one of them says {min(differing)[:40]!r}" if differing else None


def _calendar(one: Wording, two: Wording) -> str | None:
    differing = one.calendar ^ two.calendar
    return f"only one of them says {_spoken(min(differing))!r}" if differing else None


def _names(one: Wording, two: Wording) -> str | None:
    name = unnamed(one.names, two.names)
    return None if name is None else f"only one of them names {name[:60]!r}"


def _acronyms(one: Wording, two: Wording) -> str | None:
    for first, second in ((one, two), (two, one)):
        loud = min((first.acronyms - second.acronyms) & second.stems.keys() & FUNCTION_WORDS, default=None)
        if loud is not None:
            return f"{loud.upper()!r} is no {loud!r}"
    return None


def _denials(one: Wording, two: Wording) -> str | None:
    if len(one.denied) % 2 == len(two.denied) % 2 or denied_instead(opposed(one.stems, two.stems), one.denied, two.denied):
        return None
    return "only one of them denies"


def _switches(one: Wording, two: Wording) -> str | None:
    if one.switches and two.switches and one.switches != two.switches:
        return f"one is about {' and '.join(sorted(one.switches))}, the other about {' and '.join(sorted(two.switches))}"
    return None


def _opposites(one: Wording, two: Wording) -> str | None:
    pairs = opposed(one.stems, two.stems)
    if not pairs or denied_instead(pairs, one.denied, two.denied):
        return None
    return f"one says {pairs[0][0]!r}, the other {pairs[0][1]!r}"


def _asked(one: Wording, two: Wording) -> str | None:
    pair = asks_else(one.asked, two.asked)
    return None if pair is None else f"one asks for {_ARTICLES.get(pair[0], pair[0])}, the other for {_ARTICLES.get(pair[1], pair[1])}"


def _roles(one: Wording, two: Wording) -> str | None:
    names = frozenset(word for side in (one, two) for run in side.names.runs for word in run) | one.codes
    pair = traded(one.places, two.places, names)
    return None if pair is None else f"{pair[0]!r} and {pair[1]!r} trade places"


_ARTICLES: Final = {
    **{kind: f"a {kind}" for kind in ("person", "place", "time", "duration", "frequency", "reason", "way")},
    "amount": "an amount",
    "possible": "yes or no",
    "measure": "a thing",
    "thing": "a thing",
    "dates": "dates",
}
_MONTHS: Final = "January February March April May June July August September October November December"


def _spoken(day: str) -> str:
    return _MONTHS.split()[int(day[5:]) - 1] if day.startswith("month") and day[5:].isdigit() else day


GUARDS: Final[dict[str, Callable[[Wording, Wording], str | None]]] = {
    "numbers": _quantities,
    "units": _units,
    "codes": _codes,
    "calendar": _calendar,
    "names": _names,
    "acronyms": _acronyms,
    "denials": _denials,
    "switches": _switches,
    "opposites": _opposites,
    "answer type": _asked,
    "roles": _roles,
}
