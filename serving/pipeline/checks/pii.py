"""Personal data in a text, by presidio's pattern recognisers."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Final, Literal

from serving.pipeline.checks.detection import Detection
from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command

PiiKind = Literal["EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD", "IP_ADDRESS", "US_SSN"]
KINDS: Final[tuple[PiiKind, ...]] = ("EMAIL_ADDRESS", "PHONE_NUMBER", "IBAN_CODE", "CREDIT_CARD", "IP_ADDRESS", "US_SSN")
LEAST_CONFIDENCE: Final = (
    0.4  # presidio's own confidence; what it marks "weak" (nine digits are an SSN, "::" is an address) fires on anything
)
TEXT_LIMIT: Final = 10_000  # characters of a text that are looked at

_Recogniser = Callable[[str], list[Detection]]


def find_pii(text: str, kinds: Sequence[PiiKind] = KINDS) -> list[Detection]:
    """Each piece of personal data of these kinds in the first `MOST` characters, in their order; several kinds may claim one number."""
    recognisers = _recognisers()
    detections = {detection: None for kind in kinds for detection in recognisers[kind](text[:TEXT_LIMIT])}
    return sorted(detections, key=lambda detection: (detection.start, detection.end, detection.kind))


@cache
def _recognisers() -> dict[PiiKind, _Recogniser]:
    """Presidio's recognisers one by one: its engine would want a language model."""
    try:
        from presidio_analyzer import predefined_recognizers as presidio
        from tldextract import TLDExtract
    except ImportError as error:
        raise ConfigError(f"The check 'pii' needs the package presidio-analyzer ({error}). Install it: {install_command('pii')}") from error

    suffixes = TLDExtract(suffix_list_urls=(), cache_dir=None)  # the list it ships; the default would be fetched

    class Email(presidio.EmailRecognizer):
        """Asks for a domain that exists, without asking the network."""

        def validate_result(self, pattern_text: str) -> bool:
            return bool(suffixes(pattern_text).suffix)

    regions = ("US", "GB", "DE")
    possible, valid = (presidio.PhoneRecognizer(supported_regions=regions, leniency=leniency) for leniency in (0, 2))
    return {
        "EMAIL_ADDRESS": _detector("EMAIL_ADDRESS", Email()),
        "PHONE_NUMBER": _union(
            # with a country code, what could be a number; without, only what is one and is grouped: dates and amounts look alike
            _detector("PHONE_NUMBER", possible, lambda value: value.startswith("+")),
            _detector("PHONE_NUMBER", valid, lambda value: not value.isdigit()),
        ),
        "IBAN_CODE": _detector("IBAN_CODE", presidio.IbanRecognizer()),
        "CREDIT_CARD": _detector("CREDIT_CARD", presidio.CreditCardRecognizer()),
        "IP_ADDRESS": _detector("IP_ADDRESS", presidio.IpRecognizer()),
        "US_SSN": _detector("US_SSN", presidio.UsSsnRecognizer()),
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


def _union(first: _Recogniser, second: _Recogniser) -> _Recogniser:
    def detect(text: str) -> list[Detection]:
        by_span = {(detection.start, detection.end): detection for detection in [*second(text), *first(text)]}
        return list(by_span.values())

    return detect
