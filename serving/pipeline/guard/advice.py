"""What a caller is advised to do when a check blocks a question; it does not reveal what the check detected."""

from collections.abc import Mapping
from typing import Final

ADVICE: Final[Mapping[str, str]] = {  # by the name of the check in its table
    "injection": "It reads as an order to the system. Ask what you want to know from the documents.",
    "pii": "It holds personal data. Ask without it.",
    "toxicity": "It holds offensive words. Ask without them.",
    "size": "It is too long. Ask in fewer words.",
    "encoding": "It holds characters that are not plain text. Write it anew.",
    "topics": "It is about something that is not answered here.",
    "content": "It is about something that is not answered here.",
}
NOT_CHECKED: Final = "It could not be checked. Try again."
FAILED: Final = frozenset({"error", "timeout", "outage"})  # rules of a check that failed to run
