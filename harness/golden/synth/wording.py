"""The English that templates need: where a sentence's subject ends, how a verb is asked for, what a document is called."""

import re
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass

from serving.pipeline.text.words import WRITTEN_WORD
from serving.pipeline.types import Document

AUXILIARY = frozenset("is are was were must may can should will shall".split())  # noqa: SIM905 — a list of words reads better so
VERBS = {  # third person → the form after "does"; only verbs that are seldom nouns in the plural
    "applies": "apply", "approves": "approve", "asks": "ask", "begins": "begin", "calls": "call", "chairs": "chair",
    "checks": "check", "closes": "close", "collects": "collect", "confirms": "confirm", "contains": "contain", "costs": "cost",
    "covers": "cover", "decides": "decide", "deletes": "delete", "earns": "earn", "ends": "end", "expires": "expire", "falls": "fall",
    "gets": "get", "gives": "give", "goes": "go", "has": "have", "holds": "hold", "includes": "include", "informs": "inform",
    "keeps": "keep", "lasts": "last", "leads": "lead", "meets": "meet", "needs": "need", "opens": "open", "owns": "own", "pays": "pay",
    "reaches": "reach", "receives": "receive", "records": "record", "releases": "release", "replaces": "replace",
    "requires": "require", "reviews": "review", "runs": "run", "sends": "send", "shows": "show", "signs": "sign", "starts": "start",
    "stays": "stay", "stops": "stop", "stores": "store", "takes": "take", "tells": "tell", "waits": "wait", "works": "work",
    "writes": "write",
}  # fmt: skip
BAD_START = frozenset(
    """
    about above after also although any as at because before below between both but by each either every everyone everything
    first for from he her here his if in instead it its last more most neither next no nobody none not nothing of on only or
    other others otherwise our out over per please second she since so such than that their then there these they this those
    three through to two under unless until up we what when where whether which who whoever why with within without you your
    """.split()  # noqa: SIM905 — a list of words reads better so
)
BAD_INSIDE = frozenset(
    """
    although and because but he her his if it its no not nor or other our she such than that their them then these they this those
    unless we what when where whether which while who whom whose why you your
    """.split()  # noqa: SIM905 — a list of words reads better so
)
BAD_AFTER = frozenset(
    """
    also although because been but either he her his if it its neither never no nobody none not only otherwise our same she such
    that their them then there these they this those thus unless we when where whether which while who whom whose why you your
    """.split()  # noqa: SIM905 — a list of words reads better so
)
CODE = re.compile(r"\b(?=[A-Z0-9./-]{0,40}\d)(?=[A-Z0-9./-]{0,40}[A-Z])[A-Z0-9]+(?:[-./][A-Z0-9]+)+\b|\b[A-Z]{1,4}\d{2,}[A-Z]?\b")
PLAIN_TITLE = re.compile(r"[A-Z][\w&/-]{0,60}(?: [\w&/().-]{1,60}){1,6}")


@dataclass(frozen=True, slots=True)
class Clause:
    """A sentence cut into subject, verb and the rest, each as a question uses it."""

    subject: str
    verb: str  # as the sentence has it: "is", "must", "expires"
    rest: str  # without the full stop

    def as_question(self, rest: str) -> str:
        """Verb and subject in the order of a question: "must the form be sent"."""
        front, back = (self.verb, "") if self.verb in AUXILIARY else ("does", VERBS[self.verb])
        return " ".join(part for part in (front, self.subject, back, rest) if part)


def clause(sentence: str, common: Set[str]) -> Clause | None:
    """The parts of a plain statement; None for a sentence that a question cannot safely be made of."""
    if not sentence.endswith(".") or re.search(r"[:;()\[\]\"“”„|<>{}*`…?!]|\.\.", sentence):
        return None
    tokens = sentence[:-1].split()
    place = next((place for place, token in enumerate(tokens[:11]) if token in AUXILIARY or token in VERBS), 0)
    subject, token, rest = tokens[:place], tokens[place], tokens[place + 1 :]
    if not subject or not rest or not _plain_subject(subject) or not _plain_rest(token, rest):
        return None
    return Clause(" ".join([uncapitalised(subject[0], common), *subject[1:]]), token, " ".join(rest))


def _plain_subject(subject: list[str]) -> bool:
    if subject[0].casefold() in BAD_START or subject[0][0].isdigit() or not subject[0][0].isupper():
        return False
    return not any(word.casefold() in BAD_INSIDE or word.endswith(",") for word in subject[1:])


def _plain_rest(verb: str, rest: list[str]) -> bool:
    if any(word in AUXILIARY or word.casefold() in BAD_AFTER or word[-1] in ",." for word in rest):
        return False
    return not (verb in VERBS and (rest[0] in VERBS or rest[0].endswith("ed")))  # "has agreed", "replaces checks": not what it seems


def uncapitalised(word: str, common: Set[str]) -> str:
    """A sentence's first word as it stands within one: names and codes keep their capital."""
    lower = word.lower()
    forms = (lower, lower.removesuffix("s"), f"{lower}s", lower.partition("-")[0])
    return lower if word in ("A", "An", "The") or (not word.isupper() and any(form in common for form in forms)) else word


def common_words(texts: Iterable[str]) -> frozenset[str]:
    """Words that the documents write in lower case, so that a capital at a sentence's start is only that."""
    return frozenset(word for text in texts for word in WRITTEN_WORD.findall(text) if word.islower())


def document_names(documents: Iterable[Document]) -> dict[str, str]:
    """What a question calls each document: the Travel Policy 2026; with its version where titles repeat; those still alike have no name."""
    wanted = list(documents)
    titles = Counter(document.title for document in wanted)
    names = {document.id: _named(document, repeats=titles[document.title] > 1) for document in wanted}
    times = Counter(names.values())
    return {ident: name for ident, name in names.items() if times[name] == 1}


def _named(document: Document, *, repeats: bool) -> str:
    """The title, in quotes where it would not read well in a sentence."""
    bare = " ".join(document.title.replace('"', "").split())
    plain = PLAIN_TITLE.fullmatch(bare) and bare.split()[0] not in ("The", "A", "An", "How", "What", "Why", "When")
    version = document.version or document.metadata.get("effective", "")
    return (f"the {bare}" if plain else f'"{bare}"') + (f" (version {version})" if repeats else "")


def upper_first(text: str) -> str:
    """The text with a capital at its start."""
    return text[:1].upper() + text[1:]
