"""Hard negatives and rewordings of a golden set."""

from harness.golden.hard_negatives import hard_negatives
from harness.golden.rewordings import rewordings
from serving.pipeline.checks.equivalence.guards import disagreement

QUESTIONS = [
    "What is the limit for meals in Leeds?",
    "Who signs the contract with Norrvik in Halden after 2025?",
    "How far does the TG-4410 reach at minimum power?",
    "How many trucks drive from Leeds to Halden within 30 days?",
    "May I borrow the two vans of Greta Ohlsson?",
]


def altered(kind):
    return [negative.altered for negative in hard_negatives(QUESTIONS) if negative.kind == kind]


def test_every_kind_alters_what_it_is_named_after():
    assert "What isn't the limit for meals in Leeds?" in altered("denied")
    assert "How far does the TG-4410 reach at maximum power?" in altered("opposite")
    assert altered("reversed") == ["How many trucks drive from Halden to Leeds within 30 days?"]
    assert "How many trucks drive from Leeds to Halden within 40 days?" in altered("number")
    assert "May I borrow the four vans of Greta Ohlsson?" in altered("number")
    assert altered("year") == ["Who signs the contract with Norrvik in Halden after 2024?"]
    assert altered("code") == ["How far does the TG-4411 reach at minimum power?"]
    assert "When signs the contract with Norrvik in Halden after 2025?" in altered("asked")
    assert all("Norrvik in Halden" not in text or "2025" not in text or "signs" in text for text in altered("name"))
    assert altered("name")
    assert altered("term")


def test_the_same_questions_give_the_same_negatives_and_none_of_their_own():
    assert hard_negatives(QUESTIONS) == hard_negatives(list(QUESTIONS))
    assert not {negative.altered for negative in hard_negatives(QUESTIONS)} & set(QUESTIONS)


def test_questions_without_anything_to_alter_are_left_alone():
    assert hard_negatives(["", "?", "Hello there"]) == []


def test_rewordings_keep_the_meaning_by_every_guard():
    found = rewordings(QUESTIONS)
    assert found
    assert {rewording.question for rewording in found} == set(QUESTIONS)
    assert [disagreement(rewording.question, rewording.reworded) for rewording in found] == [None] * len(found)
    assert "For meals in Leeds, what is the limit?" in {rewording.reworded for rewording in found}
