"""Numbers, months and units in one written form: 1,000 is 1000, "twenty-five" is 25, "$" is usd."""

import re
from decimal import Decimal
from typing import Final

_ONES: Final = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen"
)
_TENS: Final = "twenty thirty forty fifty sixty seventy eighty ninety"
_ORDINALS: Final = "first second third fourth fifth sixth seventh eighth ninth tenth"
_MONTHS: Final = "january february march april may june july august september october november december"
WORDS: Final = {word: number for number, word in enumerate(_ONES.split())} | {
    word: 20 + 10 * number for number, word in enumerate(_TENS.split())
}
ORDINALS: Final = {word: str(number) for number, word in enumerate(_ORDINALS.split(), start=1)}
SCALES: Final = {"hundred": 100, "thousand": 1000, "million": 10**6, "bn": 10**9, "billion": 10**9, "trillion": 10**12}
MONTHS: Final = {name: name[:3] for name in _MONTHS.split()} | {name[:3]: name[:3] for name in _MONTHS.split()} | {"sept": "sep"}
UNITS: Final = {
    **dict.fromkeys(["$", "usd", "dollar", "dollars"], "usd"),
    **dict.fromkeys(["€", "eur", "euro", "euros"], "eur"),
    **dict.fromkeys(["£", "gbp", "pound", "pounds"], "gbp"),
    **dict.fromkeys(["%", "percent", "percentage", "pct"], "%"),
}
_ISO_DATE: Final = re.compile(r"\b(\d{4})-(0[1-9]|1[0-2])-([0-2]\d|3[01])\b")
_YEARS: Final = re.compile(r"\b(1\d|20)(\d\d)[-/](\d\d)\b(?![-/\d])")


def spelled_dates(text: str) -> str:
    """The text with 2024-03-09 written as 9 March 2024, and 2018-19 as 2018-2019."""
    names = _MONTHS.split()
    text = _YEARS.sub(lambda match: f"{match[1]}{match[2]}-{match[1]}{match[3]}", text)
    return _ISO_DATE.sub(lambda match: f"{int(match[3])} {names[int(match[2]) - 1].title()} {match[1]}", text)


def value(digits: str, scale: str = "") -> str:
    """A number as it is compared: without separators and idle zeros, its scale multiplied in."""
    if ":" in digits:  # a time of day
        return digits.lstrip("0")
    number = Decimal(digits.replace(",", "")) * SCALES.get(scale, 1)
    plain = f"{number:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
