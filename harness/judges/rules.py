"""The local judge's rules for what may be said to be right: facts, figures, words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serving.pipeline.checks.grounding.support import Support
from serving.pipeline.models.reader.words import terms
from serving.pipeline.text.answer_words import contains_fact, normalized, words

SAYS = 0.8  # share of a reference's terms in an answer that says what it says, in its own order and grammar
TOUCHES = 0.3  # below this share it says something else
TOUCHED = 0.4  # share of a claim's terms in a few sentences in a row; below it the passages speak of something else
SHOWN = 120  # characters of a claim in a reason
NO = frozenset({"no", "not", "never", "none", "neither", "nor", "cannot", "without"})
NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Ruled:
    """A label, or none where the rule cannot say, and the words that explain it."""

    label: str | None
    reason: str


def correctness(answer: str, references: Sequence[str], facts: Sequence[str]) -> Ruled:
    """By the key facts where there are any, else the best over the references."""
    if facts:
        return _by_facts(answer, facts)
    ruled = [_by_reference(answer, reference) for reference in references]
    return min(ruled, key=lambda one: ("correct", "partial", "wrong").index(str(one.label)))


def _by_facts(answer: str, facts: Sequence[str]) -> Ruled:
    said = normalized(answer)
    missing = [fact for fact in facts if not contains_fact(said, fact)]
    if not missing:
        return Ruled("correct", f"it holds every fact: {', '.join(facts)}")
    return Ruled("partial" if len(missing) < len(facts) else "wrong", f"it lacks {', '.join(missing)}")


def _by_reference(answer: str, reference: str) -> Ruled:
    said, wanted = set(terms(answer)), list(dict.fromkeys(terms(reference)))
    if _yes_or_no(answer) != _yes_or_no(reference) and _yes_or_no(reference) is not None:
        return Ruled("wrong", f"the reference says {'yes' if _yes_or_no(reference) else 'no'}, the answer does not")
    if contains_fact(normalized(answer), reference):
        return Ruled("correct", "it holds the reference word by word")
    if not wanted:
        return Ruled("wrong", "it does not hold the reference")
    share = sum(term in said for term in wanted) / len(wanted)
    figures = [term for term in wanted if NUMBER.search(term)]
    lacking = [figure for figure in figures if figure not in said]
    denied = _denies(answer) != _denies(reference)
    found = f"it holds {share:.0%} of the reference's words" + (f" and lacks {', '.join(lacking)}" if lacking else "")
    if share < TOUCHES or (figures and len(lacking) == len(figures)):
        return Ruled("wrong", found)
    if share < SAYS or lacking:
        return Ruled("partial", found)
    return Ruled("partial", f"{found}; only one of the two denies something") if denied else Ruled("correct", found)


def _yes_or_no(text: str) -> bool | None:
    """What a text begins with, if that is a yes or a no."""
    first = next(iter(words(text)), "")
    return {"yes": True, "no": False}.get(first)


def _denies(text: str) -> bool:
    return any(word in NO or word.endswith(("n't", "n’t")) for word in words(text))


def groundedness(claims: Sequence[tuple[str, Support]]) -> Ruled:
    """One label for how well each claim of an answer is supported; the reason names the worst one."""
    if not claims:
        return Ruled(None, "the answer claims nothing that could be looked up")
    grounded = [found.grounded for _, found in claims]
    if all(grounded):
        return Ruled("supported", f"{len(claims)} of {len(claims)} claims are in the passages")
    text, worst = min(claims, key=lambda one: one[1].probability)
    reason = f"{sum(grounded)} of {len(claims)} claims are in the passages; {text[:SHOWN]!r}: {worst.reason}"
    touched = any(grounded) or max(found.lexical.window for _, found in claims) >= TOUCHED
    return Ruled("partial" if touched else "unsupported", reason)
