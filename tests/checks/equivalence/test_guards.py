"""The guards: what they keep apart, what they let through, and what no text does to them."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.pipeline.checks.equivalence.guards import disagreement
from serving.pipeline.checks.equivalence.wording import LONGEST, parsed
from tests.support.growth import outgrown

DIFFERENT = [
    ("How do I turn on the alarm?", "How do I turn off the alarm?"),
    ("How do I turn off wifi on my phone?", "How do I turn on wifi?"),
    ("How do I switch the alarm off?", "How do I enable the alarm?"),
    ("How do I log in to the portal?", "How do I log out of the portal?"),
    ("Can I travel with a visa?", "Can I travel without a visa?"),
    ("What must be done before the audit?", "What must be done after the audit?"),
    ("May I take more than the limit?", "May I take less than the limit?"),
    ("Is smoking allowed in the yard?", "Is smoking forbidden in the yard?"),
    ("Why did sales increase?", "Why did sales decrease?"),
    ("What is the minimum order?", "What is the maximum order?"),
    ("Who was the first director?", "Who was the last director?"),
    ("Which costs are included?", "Which costs are excluded?"),
    ("Where do I buy shares?", "Where do I sell shares?"),
    ("What was the previous limit?", "What is the current limit?"),
    ("Is the device covered?", "Is the device not covered?"),
    ("Is the lock reversible?", "Is the lock irreversible?"),
    ("How do I install the agent?", "How do I uninstall the agent?"),
    ("Is a notice of 30 days enough?", "Is a notice of 60 days enough?"),
    ("Is a notice of 30 days enough?", "Is a notice of 30 weeks enough?"),
    ("Is a notice of two weeks enough?", "Is a notice of three weeks enough?"),
    ("What did it cost in 2024?", "What did it cost in 2025?"),
    ("What does it cost in 2024?", "What does it cost?"),
    ("What is due in March?", "What is due in April?"),
    ("What is due on 2026-03-09?", "What is due on 2026-03-10?"),
    ("What is the price in EUR?", "What is the price in USD?"),
    ("What is the range of the TG-4410?", "What is the range of the TG-4401?"),
    ("What is the range of the TG-4410?", "What is the range of the TG-4410B?"),
    ("What is the limit in Leeds?", "What is the limit in Halden?"),
    ("What is the limit for meals in Poland?", "What is the limit for meals in Texas?"),
    ("what is the limit in paris", "what is the limit in london"),
    ("What does the GDPR say?", "What does the HIPAA say?"),
    ("How do I convert EUR to USD?", "How do I convert USD to EUR?"),
    ("Does the driver replace the agent?", "Does the agent replace the driver?"),
    ("Is copper heavier than zinc?", "Is zinc heavier than copper?"),
    ("Who signs the contract?", "When is the contract signed?"),
    ("Why is the store closed?", "Where is the store?"),
    ("How many trucks are there?", "Who drives the trucks?"),
    ("May I travel before the audit without a visa?", "May I travel after the audit with a visa?"),
    ("Is smoking not allowed in the yard?", "Is smoking allowed in the yard?"),
    ("Is smoking not allowed in the yard?", "Is smoking not forbidden in the yard?"),
    ("Who is the manager of Anna?", "Who is Anna the manager of?"),
    ("Which team does Anna report to?", "Which team reports to Anna?"),
    ("Did Leeds lend money to Halden?", "Was money lent by Halden to Leeds?"),
    ("Does Anna manage Bob?", "Does Bob manage Anna?"),
    ("Do we ship from plant 1 to plant 2?", "Do we ship from plant 2 to plant 1?"),
    ("Is it safe at -5 degrees?", "Is it safe at 5 degrees?"),
    ("Is it more than 5 days?", "Is it below 5 days?"),
    ("May I enter if it rains?", "May I enter unless it rains?"),
    ("Do I get a refund after 30 days?", "Do I get a refund within 30 days?"),
    ("Does he have to sign?", "Does she have to sign?"),
    ("Is the device no longer covered?", "Is the device covered?"),
    ("Why not use the cloud?", "Why use the cloud?"),
    ("What happens if it is approved?", "What happens if not approved?"),
    ("Are refundable tickets allowed?", "Are non-refundable tickets allowed?"),
    ("What did it cost last year?", "What does it cost this year?"),
    ("What does IT cost?", "What does it cost?"),
    ("Who does WHO work for?", "Who does who work for?"),
    ("How do I turn \u043eff the \u0430larm?", "How do I turn on the alarm?"),  # two letters of it are Cyrillic
]
SAME = [
    ("How long is the notice period?", "What is the period of notice?"),
    ("How much time do we have to pay?", "What is the deadline for paying?"),
    ("Is a notice of two weeks enough?", "Is a notice of 14 days enough?"),
    ("What happens within 24 hours?", "What happens within one day?"),
    ("What happens after a week?", "What happens after one week?"),
    ("May I spend 1,500 EUR?", "May I spend €1500?"),
    ("May I spend 1.5k EUR?", "May I spend 1500 euros?"),
    ("What is the range of the TG-4410?", "How far does the tg4410 reach?"),
    ("What is the limit in the UK?", "What is the limit in the United Kingdom?"),
    ("What are German rules on tips?", "What are the rules on tips in Germany?"),
    ("Is there a way to reset it?", "How do I reset it?"),
    ("For what reason is it late?", "Why is it late?"),
    ("In Leeds, what is the fee?", "What is the fee in Leeds?"),
    ("What is the difference between zinc and tin?", "What is the difference between tin and zinc?"),
    ("Why can't I log in?", "Why am I unable to log in?"),
    ("Which person approves this?", "Who approves this?"),
    ("How do I turn the alarm off?", "How can one switch off the alarm?"),
    ("To which team does Anna report?", "Which team does Anna report to?"),
    ("What is the price of 2 to 5 units?", "What do 2 to 5 units cost?"),
    ("Is smoking forbidden in the yard?", "Is smoking not allowed in the yard?"),
    ("Is training optional?", "Is training not mandatory?"),
    ("What is new in v7.2?", "What is new in 7.2?"),
    ("Is it due on 9 March 2026?", "Is it due on 2026-03-09?"),
]
QUESTIONS = [text for pair in DIFFERENT + SAME for text in pair]
TEXTS = st.one_of(
    st.text(max_size=120), st.text("ab AB01-.,%$€?!'\u0430\u05d0\u0660\ud800\u200b", max_size=120), st.sampled_from(QUESTIONS)
)


@pytest.mark.parametrize(("question", "other"), DIFFERENT)
def test_questions_with_other_answers_are_kept_apart(question, other):
    assert disagreement(question, other)
    assert disagreement(other, question)


@pytest.mark.parametrize(("question", "other"), SAME)
def test_the_same_question_in_other_words_passes(question, other):
    assert disagreement(question, other) is None
    assert disagreement(other, question) is None


def test_the_guard_says_in_words_what_differs():
    assert disagreement("What is due in March?", "What is due in April?") == "only one of them says 'March'"
    assert disagreement("What is the limit in Leeds?", "What is the limit in Halden?") == "only one of them names 'leeds'"
    assert disagreement("Why is it closed?", "Where is it closed?") == "one asks for a reason, the other for a place"


def test_names_of_the_corpus_are_known_in_small_letters():
    pair = "who is greta ohlsson", "who is dev marlow"
    assert disagreement(*pair) is None
    assert disagreement(*pair, frozenset({"greta", "ohlsson", "dev", "marlow"}))


@settings(deadline=None)
@given(TEXTS)
def test_a_question_agrees_with_itself_in_every_form(text):
    assert disagreement(text, text) is None
    assert disagreement(text, f"  {text}\n ") is None
    assert disagreement(text, text.replace(" ", "   ")) is None
    assert disagreement(unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text)) is None


@settings(deadline=None)
@given(TEXTS, TEXTS)
def test_the_guards_look_both_ways_alike(question, other):
    assert (disagreement(question, other) is None) == (disagreement(other, question) is None)


@settings(deadline=None)
@given(st.sampled_from([text for text in QUESTIONS if " IT " not in text and " WHO " not in text]))
def test_a_question_in_capitals_or_small_letters_agrees_with_itself(text):
    assert disagreement(text, text.upper()) is None
    assert disagreement(text, text.lower()) is None


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            ["please", "tell", "me", "how", "can", "I", "now", "the", "our", "big", "alarm", "on", "off", "phone", "with", "car"]
        ),
        max_size=6,
    ),
    st.sampled_from(["turn {} it", "turn it {}", "switch the big alarm {}", "is it turned {}", "power {} the phone"]),
    st.lists(
        st.sampled_from(["for", "the", "a", "day", "in", "my", "car", "on", "off", "my", "phone", "during", "lunch", "at", "night"]),
        max_size=6,
    ),
)
def test_on_never_passes_for_off(before, verb, after):
    on, off = (" ".join([*before, verb.format(state), *after]) for state in ("on", "off"))
    assert disagreement(on, off)
    assert disagreement(off, on)


@pytest.mark.parametrize("longest", [LONGEST, 1_000_000])
@pytest.mark.parametrize(
    "piece",
    [
        "9",
        "1 2 ",
        "a-",
        "twenty ",
        "turn ",
        "\u05d0",
        "\ud800",
        "A",
        "1,",
        "a.",
        "hundred ",
        "two thousand million ",
        "Ab ",
        "not no ",
        "what ",
        "1-a",
        "\u0660",
        "\ufdfa",
    ],
)
def test_texts_are_held_against_each_other_in_time_in_proportion(piece, longest):
    def work(text):
        parsed.cache_clear()
        disagreement(text, "How long is the notice period?")
        disagreement("How long is the notice period?", text + "?")
        disagreement(text, text + "x")

    assert not outgrown(work, lambda length: (piece * length)[:length], length=longest // 8)


def test_a_question_is_parsed_once():
    parsed.cache_clear()
    for _ in range(3):
        disagreement("How long is the notice period?", "Who signs?")
    assert parsed.cache_info().misses == 2
