"""The rules of the local judge: key facts, figures, words."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from serving.pipeline.checks.grounding.support import Support
from serving.pipeline.models.reader.words import terms
from serving.pipeline.text.answer_words import contains_fact, normalized, words

CORRECT_SHARE = 0.8  # share of the reference's terms in a correct answer
PARTIAL_SHARE = 0.3  # below this share the answer is wrong
RELATED_SHARE = 0.4  # share of a claim's terms in a few sentences in a row; below it the passages are about something else
CLAIM_CHARACTERS = 120  # characters of a claim in a reason
NEGATIONS = frozenset({"no", "not", "never", "none", "neither", "nor", "cannot", "without"})
NUMBER = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """A rule's label with its reason; no label where the rule does not apply."""

    label: str | None
    reason: str


def correctness(answer: str, references: Sequence[str], facts: Sequence[str]) -> RuleVerdict:
    """By the key facts where there are any, else the best over the references."""
    if facts:
        return _by_facts(answer, facts)
    verdicts = [_by_reference(answer, reference) for reference in references]
    return min(verdicts, key=lambda verdict: ("correct", "partial", "wrong").index(str(verdict.label)))


def _by_facts(answer: str, facts: Sequence[str]) -> RuleVerdict:
    normal_answer = normalized(answer)
    missing = [fact for fact in facts if not contains_fact(normal_answer, fact)]
    if not missing:
        return RuleVerdict("correct", f"it holds every fact: {', '.join(facts)}")
    return RuleVerdict("partial" if len(missing) < len(facts) else "wrong", f"it lacks {', '.join(missing)}")


def _by_reference(answer: str, reference: str) -> RuleVerdict:
    answer_terms, reference_terms = set(terms(answer)), list(dict.fromkeys(terms(reference)))
    if _yes_or_no(answer) != _yes_or_no(reference) and _yes_or_no(reference) is not None:
        return RuleVerdict("wrong", f"the reference says {'yes' if _yes_or_no(reference) else 'no'}, the answer does not")
    if contains_fact(normalized(answer), reference):
        return RuleVerdict("correct", "it holds the reference word by word")
    if not reference_terms:
        return RuleVerdict("wrong", "it does not hold the reference")
    share = sum(term in answer_terms for term in reference_terms) / len(reference_terms)
    figures = [term for term in reference_terms if NUMBER.search(term)]
    missing = [figure for figure in figures if figure not in answer_terms]
    one_denies = _denies(answer) != _denies(reference)
    reason = f"it holds {share:.0%} of the reference's words" + (f" and lacks {', '.join(missing)}" if missing else "")
    if share < PARTIAL_SHARE or (figures and len(missing) == len(figures)):
        return RuleVerdict("wrong", reason)
    if share < CORRECT_SHARE or missing:
        return RuleVerdict("partial", reason)
    return RuleVerdict("partial", f"{reason}; only one of the two denies something") if one_denies else RuleVerdict("correct", reason)


def _yes_or_no(text: str) -> bool | None:
    """What a text begins with, if that is a yes or a no."""
    first = next(iter(words(text)), "")
    return {"yes": True, "no": False}.get(first)


def _denies(text: str) -> bool:
    return any(word in NEGATIONS or word.endswith(("n't", "n’t")) for word in words(text))


def groundedness(claims: Sequence[tuple[str, Support]]) -> RuleVerdict:
    """One label for how well each claim of an answer is supported; the reason names the worst one."""
    if not claims:
        return RuleVerdict(None, "the answer claims nothing that could be looked up")
    grounded = [support.grounded for _, support in claims]
    if all(grounded):
        return RuleVerdict("supported", f"{len(claims)} of {len(claims)} claims are in the passages")
    text, worst = min(claims, key=lambda claim: claim[1].probability)
    reason = f"{sum(grounded)} of {len(claims)} claims are in the passages; {text[:CLAIM_CHARACTERS]!r}: {worst.reason}"
    touched = any(grounded) or max(support.lexical.window for _, support in claims) >= RELATED_SHARE
    return RuleVerdict("partial" if touched else "unsupported", reason)
