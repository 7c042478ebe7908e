"""Personal data in a text: presidio's pattern recognisers, and a few patterns of our own for what it lacks."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, Final, Literal, get_args

from serving.pipeline.checks.detection import Detection
from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command

PiiKind = Literal[
    "EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD", "IP_ADDRESS", "US_SSN", "CRYPTO", "MAC_ADDRESS", "URL_PASSWORD",
    "SECRET_KEY",
]  # fmt: skip
EVERY_KIND: Final[tuple[PiiKind, ...]] = get_args(PiiKind)
KINDS: Final = EVERY_KIND[:6]  # those that a metric counts
# Of two kinds that claim the same characters, the first of these is meant: a card is also the digits of a telephone.
CERTAINTY: Final[tuple[PiiKind, ...]] = (
    "URL_PASSWORD", "SECRET_KEY", "EMAIL_ADDRESS", "IBAN_CODE", "CREDIT_CARD", "US_SSN", "CRYPTO", "MAC_ADDRESS", "IP_ADDRESS",
    "PHONE_NUMBER",
)  # fmt: skip
LEAST_CONFIDENCE: Final = (
    0.4  # presidio's own confidence; what it marks "weak" (nine digits are an SSN, "::" is an address) fires on anything
)
LEAST_DIGITS: Final = 7  # of what is named as a telephone number
PLAIN_CHARACTERS: Final = 4096  # that are remembered
TEXT_LIMIT: Final = 10_000  # characters of a text that are looked at

_Recogniser = Callable[[str], list[Detection]]
_NAMED_SSN: Final = re.compile(
    r"\b(?:ssn|social[ -]security)\b[^0-9\n]{0,30}\b((?!000|666|9)[0-9]{3}(?!00)[0-9]{2}(?!0000)[0-9]{4})\b", re.IGNORECASE
)
_URL_PASSWORD: Final = re.compile(r"\b[a-z][a-z0-9+.-]{1,15}://[^\s/@:]{1,64}:[^\s/@]{1,128}@[^\s/:]{1,128}", re.IGNORECASE)
_SECRET_KEY: Final = re.compile(
    r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bgithub_pat_[A-Za-z0-9_]{22,100}\b|\bxox[abprs]-[A-Za-z0-9-]{10,72}\b"
    r"|\bsk-[A-Za-z0-9_-]{20,200}|\bAIza[A-Za-z0-9_-]{35}|\beyJ[A-Za-z0-9_-]{10,1000}\.[A-Za-z0-9_-]{10,2000}\.[A-Za-z0-9_-]{10,1000}"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----"
)
_SECRET_SIGNS: Final = (  # one of them is in every secret key
    "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "xox", "sk-", "AIza", "eyJ", "PRIVATE KEY",
)  # fmt: skip
_NAMED_PHONE: Final = re.compile(
    r"\b(?:(?:tele)?phone|mobile|cell(?:phone)?|tel|fax|desk|whatsapp|call (?:me|us|him|her|them)|reach (?:me|us|him|her|them)"
    r"|text (?:me|us|him|her|them)|answering|my number)\b(?:\s{0,2}(?:number|no|nr|is|at|on|under|[.:])){0,3}\s{0,2}"
    r"([+(]?[0-9][0-9 ()./x-]{5,22}[0-9])",
    re.IGNORECASE,
)
_GROUPED_CARD: Final = re.compile(r"\b[3-6][0-9]{3}(?:(?:\.[0-9]{4}){3}|(?:_[0-9]{4}){3}|(?:/[0-9]{4}){3})\b")
_NUMBERED: Final = re.compile(
    r"(?:\b(?:clause|section|sec\.|version|chapter|paragraph|para|article|annex|release|step|v)|§)\s{0,2}\Z", re.IGNORECASE
)
# What a text must hold for a kind to be in it; what is quickly told absent need not be looked for.
_SIGNS: Final[Mapping[PiiKind, re.Pattern[str]]] = {
    "EMAIL_ADDRESS": re.compile("@"),
    "PHONE_NUMBER": re.compile(r"[0-9][^0-9]{0,4}[0-9][^0-9]{0,4}[0-9][^0-9]{0,4}[0-9]"),
    "IBAN_CODE": re.compile(r"[A-Za-z]{2}[0-9]{2}"),
    "CREDIT_CARD": re.compile(r"[0-9](?:[-._/ ]?[0-9]){11}"),
    "IP_ADDRESS": re.compile(r"[.:][0-9a-fA-F:]"),
    "US_SSN": re.compile(r"[0-9](?:[-. ]?[0-9]){8}"),
    "CRYPTO": re.compile(r"[13b][0-9A-Za-z]{20}"),
    "MAC_ADDRESS": re.compile(r"[0-9a-fA-F]{2}[:-][0-9a-fA-F]{2}[:-]|[0-9a-fA-F]{4}\.[0-9a-fA-F]{4}"),
}


def find_pii(text: str, kinds: Sequence[PiiKind] = KINDS) -> list[Detection]:
    """Each piece of personal data of these kinds in the first `TEXT_LIMIT` characters; several kinds may claim one number."""
    text = text[:TEXT_LIMIT]
    plain = text if text.isascii() else text.translate(_PLAIN)
    recognisers = _recognisers()
    present = [kind for kind in kinds if kind not in _SIGNS or _SIGNS[kind].search(plain)]
    spans = {(one.kind, one.start, one.end): one.score for kind in present for one in recognisers[kind](plain)}
    detections = [Detection(kind, text[start:end], start, end, score) for (kind, start, end), score in spans.items()]
    return sorted(detections, key=lambda detection: (detection.start, detection.end, detection.kind))


def prepare() -> None:
    """Import presidio now, which takes seconds."""
    _recognisers()


class _PlainCharacters(dict[int, str]):
    """What `str.translate` asks: digits and signs of other alphabets and widths as ASCII has them; each character is worked out once."""

    def __missing__(self, code: int) -> str:
        if len(self) >= PLAIN_CHARACTERS:  # a text may hold all there are
            self.clear()
        self[code] = plain = _ascii(chr(code))
        return plain


_PLAIN: Final = _PlainCharacters()


def _ascii(character: str) -> str:
    if character.isascii():
        return character
    if character.isdecimal():
        return str(int(character))
    code = ord(character)
    if 0xFF01 <= code <= 0xFF5E:  # full width
        return chr(code - 0xFEE0)
    return {"\u3000": " ", "\u00a0": " ", "\u2007": " ", "\u202f": " ", "\u2009": " "}.get(
        character, "-" if character in "‐‑‒–—−" else character
    )


@cache
def _recognisers() -> dict[PiiKind, _Recogniser]:
    """Presidio's recognisers one by one: its engine would want a language model."""
    try:
        from presidio_analyzer import predefined_recognizers as presidio
        from tldextract import TLDExtract
    except ImportError as error:
        raise ConfigError(f"The check 'pii' needs the package presidio-analyzer ({error}). Install it: {install_command('pii')}") from error

    suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list it ships; the default would be fetched
    suffixes("example.com")  # reads it now

    class Email(presidio.EmailRecognizer):
        """Asks for a domain that exists, without asking the network."""

        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text).suffix)

    regions = ("US", "GB", "DE")
    possible, valid = (presidio.PhoneRecognizer(supported_regions=regions, leniency=leniency) for leniency in (0, 2))
    return {
        "EMAIL_ADDRESS": _detector("EMAIL_ADDRESS", Email()),
        "PHONE_NUMBER": _union(
            _own("PHONE_NUMBER", _NAMED_PHONE, lambda value: sum(map(str.isdigit, value)) >= LEAST_DIGITS),
            # with a country code, what could be a number; without, only what is one and is grouped: dates and amounts look alike
            _where(["+"], _detector("PHONE_NUMBER", possible, lambda value: value.startswith("+"))),
            _detector("PHONE_NUMBER", valid, lambda value: not value.isdigit()),
        ),
        "IBAN_CODE": _in_capitals(_detector("IBAN_CODE", presidio.IbanRecognizer())),
        "CREDIT_CARD": _union(_own("CREDIT_CARD", _GROUPED_CARD, _luhn), _detector("CREDIT_CARD", presidio.CreditCardRecognizer())),
        "IP_ADDRESS": _unnumbered(_detector("IP_ADDRESS", presidio.IpRecognizer())),
        "US_SSN": _union(_own("US_SSN", _NAMED_SSN), _detector("US_SSN", presidio.UsSsnRecognizer())),
        "CRYPTO": _detector("CRYPTO", presidio.CryptoRecognizer()),
        # one with dots and digits alone is a number of a part or an order
        "MAC_ADDRESS": _detector("MAC_ADDRESS", presidio.MacAddressRecognizer(), lambda value: not value.replace(".", "").isdigit()),
        "URL_PASSWORD": _where(["://"], _own("URL_PASSWORD", _URL_PASSWORD)),
        "SECRET_KEY": _where(_SECRET_SIGNS, _own("SECRET_KEY", _SECRET_KEY)),
    }


def _detector(kind: PiiKind, recogniser: Any, accept: Callable[[str], bool] = bool) -> _Recogniser:
    def detect(text: str) -> list[Detection]:
        results = recogniser.analyze(text, [kind], None) or []
        detections = (
            Detection(kind, text[result.start : result.end], result.start, result.end, float(result.score))
            for result in results
            if result.score >= LEAST_CONFIDENCE
        )
        return [result for result in detections if accept(result.value)]

    return detect


def _own(kind: PiiKind, pattern: re.Pattern[str], accept: Callable[[str], bool] = bool) -> _Recogniser:
    """A pattern of ours; where it has a group, the rest of it are the words that name what is in the group."""

    def detect(text: str) -> list[Detection]:
        spans = (match.span(match.lastindex or 0) for match in pattern.finditer(text))
        return [Detection(kind, text[start:end], start, end, 1.0) for start, end in spans if accept(text[start:end])]

    return detect


def _luhn(number: str) -> bool:
    """Whether a card's digits have the checksum of cards."""
    digits = [int(character) for character in reversed(number) if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[1::2]]
    return (sum(digits[::2]) + sum(doubled)) % 10 == 0


def _in_capitals(find: _Recogniser) -> _Recogniser:
    """A recogniser of codes that are also written in small letters."""

    def detect(text: str) -> list[Detection]:
        capitals = text.upper()
        found = find(capitals if len(capitals) == len(text) else text)
        return [replace(one, value=text[one.start : one.end]) for one in found]

    return detect


def _unnumbered(find: _Recogniser) -> _Recogniser:
    """Without the numbers of clauses and versions, which look like addresses."""
    return lambda text: [one for one in find(text) if not _NUMBERED.search(text[max(0, one.start - 16) : one.start])]


def _where(signs: Sequence[str], find: _Recogniser) -> _Recogniser:
    """A recogniser of what always has one of some signs: a text without them is not looked through."""
    return lambda text: find(text) if any(sign in text for sign in signs) else []


def _union(*recognisers: _Recogniser) -> _Recogniser:
    def detect(text: str) -> list[Detection]:
        by_span = {(one.start, one.end): one for find in reversed(recognisers) for one in find(text)}
        return list(by_span.values())

    return detect
