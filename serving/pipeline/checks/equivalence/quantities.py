"""Quantities in one unit of their kind: "two weeks" is 14 days, "1.5 k" is 1,500, "30" without a unit is just 30."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from serving.pipeline.checks.equivalence.tokens import Token
from serving.pipeline.checks.equivalence.words import words_of
from serving.pipeline.checks.grounding.values import ORDINALS, SCALES, UNITS, WORDS

_LONGEST: Final = 20  # digits of a number that is calculated with; a longer one stands for itself
_SHORT_SCALES: Final = {"k": 1000, "bn": 10**9, "lakh": 10**5, "lakhs": 10**5, "crore": 10**7, "crores": 10**7}
_MULTIPLES: Final = {"twice": "2", "thrice": "3", "dozen": "12", "half": "0.5"}
_HOUR: Final = 3600
_UNITS: Final[dict[str, dict[str, int | str]]] = {  # dimension → names → how many of its smallest
    "s": {
        "ms millisecond milliseconds": "0.001",
        "s sec secs second seconds": 1,
        "min mins minute minutes": 60,
        "h hr hrs hour hours": _HOUR,
        "d day days": 24 * _HOUR,
        "w week weeks": 7 * 24 * _HOUR,
        "fortnight fortnights": 14 * 24 * _HOUR,
    },
    "month": {"month months": 1, "quarter quarters": 3, "y yr yrs year years": 12, "decade decades": 120, "century centuries": 1200},
    "m": {
        "mm millimetre millimetres millimeter millimeters": "0.001",
        "cm centimetre centimetres centimeter centimeters": "0.01",
        "metre metres meter meters": 1,
        "km kms kilometre kilometres kilometer kilometers": 1000,
        "inch inches": "0.0254",
        "foot feet ft": "0.3048",
        "yard yards": "0.9144",
        "mile miles": "1609.344",
    },
    "g": {
        "mg milligram milligrams": "0.001",
        "g gram grams": 1,
        "kg kgs kilo kilos kilogram kilograms": 1000,
        "lb lbs": "453.59237",
        "oz ounce ounces": "28.349523125",
        "ton tons tonne tonnes": 10**6,
    },
    "byte": {
        "kb kilobyte kilobytes": 10**3,
        "mb megabyte megabytes": 10**6,
        "gb gigabyte gigabytes": 10**9,
        "tb terabyte terabytes": 10**12,
    },
    "hz": {"hz": 1, "khz": 10**3, "mhz": 10**6, "ghz": 10**9},
    "w": {"watt watts": 1, "kw kilowatt kilowatts": 1000, "mw megawatt megawatts": 10**6},
    "v": {"v volt volts": 1},
    "c": {"celsius centigrade": 1},
    "f": {"fahrenheit": 1},
    "l": {"ml millilitre millilitres milliliter milliliters": "0.001", "litre litres liter liters": 1, "gallon gallons": "3.785411784"},
    "rupee": {"rupee rupees inr rs": 1},
    "yen": {"yen jpy ¥": 1},
    "zloty": {"pln zloty": 1},
    "franc": {"chf": 1},
    "sgd": {"sgd": 1},
    **{unit: {" ".join(word for word, other in UNITS.items() if other == unit): 1} for unit in ("usd", "eur", "gbp", "%")},
}
_FACTORS: Final = {
    name: (dimension, Decimal(factor)) for dimension, units in _UNITS.items() for names, factor in units.items() for name in names.split()
}
_BEFORE: Final = frozenset({"$", "€", "£", "¥", "usd", "eur", "gbp", "rs", "inr", "chf", "pln", "sgd"})  # currencies before their number
_KINDS_OF_DAY: Final = words_of("full working business calendar consecutive whole straight more additional")
CURRENCIES: Final = frozenset({"usd", "eur", "gbp", "rupee", "yen", "zloty", "franc", "sgd"})
_UNIT_ALONE: Final = frozenset(  # words that are units without a number too; "second", "foot", "pound" and "yard" are other things as well
    name
    for name, (kind, _) in _FACTORS.items()
    if len(name) > 2 and name not in ("second", "foot", "feet", "yard", "pound", "pounds", "quarter", "sec", "min", "mins")
)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in the smallest unit of its kind; without a unit the kind is empty."""

    kind: str
    value: str
    written: str  # the number as it stands, for a partner without a unit
    must: bool = True  # a spelled "one" may be missing: "one week" is "a week"


@dataclass(frozen=True, slots=True)
class Quantities:
    """The quantities of a question, which of its tokens state them, and the units that it names without a number."""

    found: tuple[Quantity, ...]
    taken: frozenset[int]
    units: frozenset[str]


def is_figure(word: str) -> bool:
    """Whether a word is a number, a scale or a unit."""
    return word in WORDS or word in SCALES or word in ORDINALS or word in _FACTORS or word in _SHORT_SCALES


def quantities_of(tokens: Sequence[Token]) -> Quantities:
    """Every quantity of a question."""
    found: list[Quantity] = []
    taken: set[int] = set()
    units: set[str] = set()
    index = 0
    while index < len(tokens):
        number = _number_at(tokens, index)
        if number is None:
            token = tokens[index]
            if token.kind in ("word", "sign") and token.text in _UNIT_ALONE | {"$", "€", "£", "%"}:
                units.add(_FACTORS[token.text][0] if _FACTORS[token.text][0] in CURRENCIES else token.text.removesuffix("s"))
            index += 1
            continue
        amount, end, must = number
        before = tokens[index - 1].text if index else ""
        kind, factor = _FACTORS.get(before, ("", Decimal(1))) if before in _BEFORE else ("", Decimal(1))
        number_end = end
        if not kind:
            unit_end = end + 1 if end < len(tokens) and tokens[end].text in _KINDS_OF_DAY | {"a", "an", "of"} else end
            unit = tokens[unit_end] if unit_end < len(tokens) else None
            if unit is not None and unit.kind in ("word", "sign") and unit.text in _FACTORS and _is_unit(unit, amount):
                kind, factor = _FACTORS[unit.text]
                end = unit_end + 1
        found.append(_quantity(kind, factor, amount, must=must))
        taken.update([*range(index, number_end), end - 1])  # "working" of "10 working days" stays a word
        index = end
    return Quantities(tuple(dict.fromkeys(found)), frozenset(taken), frozenset(units))


def _is_unit(unit: Token, amount: Decimal | str) -> bool:
    """Whether the word after a number is its unit; a lone letter is one only where it is written to the number."""
    return (len(unit.text) > 1 or unit.joined or unit.kind == "sign") and not (unit.text == "second" and amount != 1)


def _number_at(tokens: Sequence[Token], index: int) -> tuple[Decimal | str, int, bool] | None:
    """The number that begins at a token, where it ends, and whether it must be in the other question too."""
    token = tokens[index]
    if token.kind == "number":
        if len(token.text) > _LONGEST:
            return token.text, index + 1, True
        amount, end = Decimal(token.text), index + 1
        if end < len(tokens) and tokens[end].text in ("st", "nd", "rd", "th", "s") and tokens[end].joined:
            return amount, end + 1, True
        return *_scaled(amount, tokens, end), True
    if token.kind != "word":
        return None
    word = token.text
    if word in _MULTIPLES:
        return Decimal(_MULTIPLES[word]), index + 1, True
    if word in ORDINALS and word != "first":
        return Decimal(ORDINALS[word]), index + 1, True
    if word not in WORDS:
        return None
    amount, end = Decimal(WORDS[word]), index + 1
    if amount >= 20 and end < len(tokens) and 0 < WORDS.get(tokens[end].text, 0) < 10:
        amount, end = amount + WORDS[tokens[end].text], end + 1
    amount, after = _scaled(amount, tokens, end)
    return amount, after, amount > 1 or after > end


def _scaled(amount: Decimal, tokens: Sequence[Token], end: int) -> tuple[Decimal, int]:
    while end < len(tokens):
        word = tokens[end].text
        scale = SCALES.get(word) or (_SHORT_SCALES.get(word) if tokens[end].joined or len(word) > 2 else None)
        if not scale or amount > 10**15:
            break
        amount, end = amount * scale, end + 1
    return amount, end


def _quantity(kind: str, factor: Decimal, amount: Decimal | str, *, must: bool) -> Quantity:
    if isinstance(amount, str):
        return Quantity(kind, amount, amount, must)
    return Quantity(kind, _plain(amount * factor), _plain(amount), must)


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def missing(one: Quantities, other: Quantities) -> str | None:
    """A quantity of one question that the other does not have, as it is written."""
    for quantity in one.found:
        if quantity.must and not any(_agree(quantity, candidate) for candidate in other.found):
            return quantity.written
    return None


def _agree(one: Quantity, other: Quantity) -> bool:
    if one.kind and other.kind:
        return one.kind == other.kind and one.value == other.value
    return one.written == other.written
