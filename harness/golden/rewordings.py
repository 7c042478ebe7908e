"""Questions of a golden set in slightly other words: polite, shortened, with a synonym, with its parts in another order."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_SYNONYMS: Final = (
    "holiday|vacation",
    "supplier|vendor",
    "suppliers|vendors",
    "client|customer",
    "clients|customers",
    "firm|company",
    "boss|manager",
    "bill|invoice",
    "bills|invoices",
    "employee|staff member",
    "employees|staff",
    "deadline|time limit",
    "cost|price",
    "guarantee|warranty",
    "discount|rebate",
    "reseller|distributor",
    "resellers|distributors",
    "trip|journey",
    "contract|agreement",
    "begin|start",
    "approve|authorise",
    "buy|purchase",
    "outage|downtime",
    "box|unit",
    "boxes|units",
    "device|appliance",
    "money|funds",
    "repaired|mended",
    "currently|at present",
    "at the moment|currently",
    "must|have to",
    "may|can",
    "get|receive",
    "need|require",
    "applies|holds",
    "yearly|annual",
    "altogether|in total",
    "in total|altogether",
    "workshop|repair shop",
    "report|announce",
    "form|template",
)
_FORMS: Final = (  # how a question begins, and how it may begin as well
    (r"What is the\b", "What's the"),
    (r"What is the\b", "Which is the"),
    (r"How long (?:is|are) the\b", "What is the length of the"),
    (r"How long (?:does|do|may|must|can)\b", "For what period {0}"),
    (r"How much time\b", "How long"),
    (r"Which\b", "What"),
    (r"Who (?:is|are)\b", "Which person {0}"),
    (r"Why\b", "For what reason"),
    (r"When\b", "At what time"),
    (r"Where\b", "In which place"),
    (r"How (?:do|can|should) I\b", "What is the way to"),
    (r"How (?:do|can|should) we\b", "In what way {0} we"),
    (r"What (?:must|should) (?:I|we) do\b", "Which steps {0} we take"),
)
_POLITE: Final = ("Please tell me: {}", "I would like to know: {}", "Hello, {}", "{} Thanks.")
_TAIL: Final = re.compile(r"\A([A-Z][^?,;:.]{10,120}?) ((?:in|at|for|during|under) (?:the )?[^?,;:.]{3,40})\?\Z")


@dataclass(frozen=True, slots=True)
class Rewording:
    """A question and the same in slightly other words."""

    question: str
    reworded: str


def rewordings(questions: Sequence[str]) -> list[Rewording]:
    """Every rewording that each question allows, the same for the same questions."""
    return [Rewording(question, text) for question in questions for text in dict.fromkeys(_reworded(question)) if text != question]


def _reworded(question: str) -> Iterator[str]:
    for number, polite in enumerate(_POLITE):
        if number == len(question) % len(_POLITE):  # one form a question is enough
            yield polite.format(question)
    yield question.lower().rstrip("?")
    for pattern, form in _FORMS:
        match = re.match(pattern, question)
        if match:
            verb = match[0].split()[2 if match[0].startswith("How long") else 1] if len(match[0].split()) > 1 else ""
            yield form.format(verb) + question[match.end() :]
    swapped = _with_synonyms(question)
    yield swapped
    tail = _TAIL.match(question)
    if tail:
        yield f"{tail[2][0].upper()}{tail[2][1:]}, {tail[1][0].lower()}{tail[1][1:]}?"
        yield _with_synonyms(f"{tail[2][0].upper()}{tail[2][1:]}, {tail[1][0].lower()}{tail[1][1:]}?")


def _with_synonyms(question: str) -> str:
    """The question with a synonym for every word that has one."""
    for pair in _SYNONYMS:
        word, synonym = pair.split("|")
        question = re.sub(rf"\b{word}\b", synonym.replace(" ", "\0"), question)
    return question.replace("\0", " ")
