"""The reader as a new user meets it: the right column, the place that was named, arithmetic, slips of the pen, plain wording."""

import pytest

from serving.pipeline.models.reader.entities import Entities, vocabulary
from serving.pipeline.models.reader.numeric_range import column_with, question_amount
from serving.pipeline.models.reader.prompt_task import Passage, PromptTask
from serving.pipeline.models.reader.reader import Reader
from serving.pipeline.models.reader.spelling import corrected, is_near
from serving.pipeline.models.reader.tables import parse_table

REFUSAL = "The documents I can see do not answer this question."
TIERS = """| Tier | S1 first response | S2 | S3 |
|---|---|---|---|
| Basic | 8 h | 16 h | 3 days |
| Premier | 1 h | 3 h | 1 day |"""
SERVICE = """| Length of service | Leave days per year | Notice |
|---|---|---|
| below 5 years | 18 | 2 weeks |
| 5 to 9 years | 21 | 4 weeks |
| 10 years and more | 24 | 8 weeks |"""
PRICES = """| Part | Description | EUR |
|---|---|---|
| QX-10 | gateway, indoor | 930 |
| QX-10B | gateway, new radio | 1,010 |
| PS-4 | power supply | 68 |"""
NOTICE = """| Site | By the company, below 5 years | 5 to 10 years | above 10 years |
|---|---|---|---|
| Leeds | 5 weeks | 8 weeks | 12 weeks |
| Porto | 1 month | 3 months | 4 months |"""
TICKETS = """| Month | S1 | S2 |
|---|---|---|
| May | 21 | 188 |
| June | 17 | 204 |
| July | 12 | 171 |
| August | 15 | 163 |"""


def ask(question: str, *passages: str | Passage) -> str:
    numbered = tuple(one if isinstance(one, Passage) else Passage(n, one) for n, one in enumerate(passages, start=1))
    return Reader().answer(PromptTask(question, numbered, citations="every", refusal=REFUSAL))


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("What is the S2 response time for Premier?", "Premier, S2: 3 h [1]."),
        ("S1 response for Basic?", "Basic, S1 first response: 8 h [1]."),
    ],
)
def test_a_key_in_a_header_decides_between_columns(question, answer):
    assert ask(question, TIERS) == answer


@pytest.mark.parametrize(("years", "days"), [(3, 18), (5, 21), (6, 21), (9, 21), (10, 24), (14, 24)])
def test_a_number_is_looked_up_in_the_row_whose_range_holds_it(years, days):
    assert f": {days} leave days per year" in ask(f"How many leave days do I have after {years} years of service?", SERVICE)


def test_a_number_is_looked_up_in_the_column_whose_range_holds_it():
    assert "8 weeks" in ask("What notice does the company give in Leeds after 7 years?", NOTICE)
    assert "4 months" in ask("What notice does the company give in Porto after 12 years?", NOTICE)
    assert column_with(question_amount("after 7 years"), ("Site", "Notice", "Remark")) is None


def test_a_place_that_no_passage_names_is_refused_and_one_that_a_passage_names_is_not():
    leave = "Employees have 28 days of annual leave. In Leeds bank holidays are added."
    assert ask("How many days of annual leave do employees in Lisbon have?", leave) == REFUSAL
    assert "28 days" in ask("How many days of annual leave do employees in Leeds have?", leave)
    assert "28 days" in ask("How Many Days Of Annual Leave Do Employees Have?", leave)  # capitals of a title name nothing


def test_the_passage_of_another_place_does_not_answer():
    austin = Passage(1, "Up to 5 days may be carried over into the next year.", title="Leave (Austin)", section="Carry-over")
    group = Passage(2, "Up to 8 days may be carried over into the next year.", title="Leave (group)", section="Carry-over")
    scope = Passage(3, "The group policy is for Leeds and Porto.", title="Leave (group)", section="Scope")
    assert ask("How many days may be carried over in Leeds?", austin, group, scope).startswith("Up to 8 days")
    assert ask("How many days may be carried over in Austin?", austin, group, scope).startswith("Up to 5 days")


def test_names_are_capitalised_words_inside_a_sentence_and_what_passages_always_capitalise():
    passages = (Passage(1, "The depot of Leeds is closed in May. See sites/leeds-depot.md."),)
    assert Entities.of("Is the depot in leeds closed in May?", passages).named == (("leeds",),)
    assert Entities.of("Is the Danish depot closed on Monday?", passages).named == ()
    assert Entities.of("When does Blue Heron close?", passages).missing == (("blue", "heron"),)


def test_a_difference_a_sum_and_a_product_show_their_numbers():
    assert ask("How much more does the QX-10B cost than the QX-10?", PRICES) == "1,010 EUR (QX-10B) − 930 EUR (QX-10) = 80 EUR [1]."
    assert ask("What do a QX-10 and a PS-4 cost together?", PRICES) == "930 EUR (QX-10) + 68 EUR (PS-4) = 998 EUR [1]."
    assert ask("What do 12 PS-4 cost?", PRICES) == "12 × 68 EUR (PS-4) = 816 EUR [1]."


def test_a_rate_is_multiplied_and_quoted_with_its_limit():
    rule = "A private car is paid with 0.38 EUR per km, at most 300 km per trip."
    said = ask("I drove 200 km with my private car, how much do I get back?", rule)
    assert said == "200 km × 0.38 EUR per km = 76 EUR [1]. A private car is paid with 0.38 EUR per km, at most 300 km per trip [1]."


def test_two_editions_are_compared_and_both_are_cited():
    old = Passage(1, PRICES.replace("930", "900"), title="Prices 2025", effective="2025-01-01", status="superseded")
    new = Passage(2, PRICES, title="Prices 2026", effective="2026-01-01", status="current")
    said = ask("By how much did the price of the QX-10 rise from 2025 to 2026?", old, new)
    assert said == "930 EUR (QX-10, Prices 2026) − 900 EUR (QX-10, Prices 2025) = 30 EUR [1][2]."


def test_a_sum_with_a_number_that_no_passage_states_is_not_made():
    assert "=" not in ask("What do a QX-10 and a ZZ-99 cost together?", PRICES)


def test_rows_from_one_to_another_are_added_up():
    assert (
        ask("How many S1 tickets came from May to July in total?", Passage(1, TICKETS, title="Ticket volumes"))
        == "S1: 21 + 17 + 12 = 50 [1]."
    )


def test_what_no_longer_holds_says_so():
    old = Passage(1, "The meal cap is 45 EUR.", title="Travel Policy", effective="2024-01-01", status="superseded")
    new = Passage(2, "The meal cap is 52 EUR.", title="Travel Policy", effective="2026-01-01", status="current")
    assert ask("What is the meal cap?", old, new).startswith("The meal cap is 52 EUR [2].")
    assert ask("What was the meal cap before 2026?", old, new).startswith("The meal cap is 45 EUR (Travel Policy, superseded) [1].")


def test_slips_of_the_pen_are_mended_by_the_passages_words():
    known = vocabulary((Passage(1, "The warranty of a device is a matter of the repair centre. Calibration costs more."),))
    assert corrected("wich waranty has a devise from the repair center", known) == "which warranty has a device from the repair centre"
    assert corrected("calibraton", known) == "calibration"


@pytest.mark.parametrize("word", ["share", "wording", "modifications", "shielded", "TG-4410", "Warantees", "four"])
def test_words_of_english_names_and_codes_are_never_changed(word):
    known = vocabulary((Passage(1, "spare working modules should for tg warranty"),))
    assert corrected(word, known) == word


def test_two_slips_are_allowed_in_long_words_only():
    assert is_near("firmwear", "firmware")
    assert not is_near("house", "mouse")
    assert not is_near("cost", "cots" + "s")


@pytest.mark.parametrize(
    ("table", "row"),
    [
        ("| Property | Value |\n|---|---|\n| Radio chip | KR-91 |", "Radio chip: KR-91"),
        ("| Step | Working days |\n|---|---|\n| Repair | 9 |", "Repair: 9 working days"),
        ("| Course | Price (EUR) |\n|---|---|\n| Sales | 290 |", "Sales, price: 290 EUR"),
        ("| Part | EUR |\n|---|---|\n| QX-10 | 930 |", "QX-10: 930 EUR"),
        ("| Tier | Hours | Calls |\n|---|---|---|\n| Plus | 12x5 | yes |", "Plus, hours: 12x5; calls: yes"),
    ],
)
def test_a_row_reads_as_a_colleague_would_say_it(table, row):
    parsed = parse_table(table.split("\n"), "", {}).rows[0]
    assert parsed.in_words(range(len(parsed.cells)), [0]) == row


def test_an_answer_below_the_question_that_it_answers_is_found():
    faq = "## I lost a receipt. What now?\n\nFill in form FI-22."
    assert ask("I lost the receipt for my lunch, what do I do?", faq).startswith("Fill in form FI-22 [1].")


def test_a_class_of_numbers_is_found_by_the_letters_before_them():
    assert ask(
        "IP rating of the QX-10?", Passage(1, "| Property | Value |\n|---|---|\n| Protection | IP67 |", title="Data sheet QX-10")
    ) == ("Protection, IP67 [1].")


def test_letters_that_happen_to_stand_in_a_name_do_not_shorten_it():
    prices = "| Tier | PLN |\n|---|---|\n| Basic | 400 |\n| Premier | 900 |"
    assert ask("What does the Platinum tier cost?", prices) == REFUSAL


def test_how_many_are_paid_for_need_not_be_stated():
    assert ask(
        "What does the company pay for 12 months of internet?", "| Item | Company pays |\n|---|---|\n| Internet | 20 EUR per month |"
    ) == ("12 months × 20 EUR per month = 240 EUR [1]. Internet, company pays: 20 EUR per month [1].")
