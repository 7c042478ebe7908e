import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.golden.case import Case
from harness.golden.check import balance, cases_for_five_points, check_set, detectable_differences
from harness.golden.sets import Card, GoldenSet
from harness.golden.similarity import same_words, similar_words, split_leaks
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.text.answer_words import words
from serving.pipeline.types import Document
from tests.support.world import World

TEXT = "Holiday is 30 days. Sick leave is 6 weeks."
CORPUS = Corpus.of(
    "tiny", [Document("d1", TEXT), Document("pay", "Pay is 9.", groups=("board",)), Document("far", "Elsewhere.", tenant="acme")]
)


def a_case(ident: str, question: str = "", **changes: Any) -> Case:
    fields: dict[str, Any] = {"id": ident, "question": question or f"What of {ident}?", "answers": ["x"], "relevant_ids": ["d1"]}
    return Case.model_validate(fields | changes)


def unanswered(ident: str, **changes: Any) -> Case:
    return a_case(ident, answers=[], relevant_ids=[], answerable=False, kind="unanswerable", **changes)


def a_set(*cases: Case, **card: Any) -> GoldenSet:
    facts = Card.model_validate({"name": "tiny", "version": 1, "corpus": "tiny"} | card)
    lines = {case.id: number for number, case in enumerate(cases, 1)}
    return GoldenSet(Path("golden/tiny/v1"), facts, cases, lines, "digest")


def plenty(*cases: Case) -> GoldenSet:
    """With enough other cases that both splits have some."""
    return a_set(*cases, *(a_case(f"n{number}") for number in range(20)), *(unanswered(f"u{number}") for number in range(20)))


def test_a_sound_set_has_neither_problems_nor_warnings() -> None:
    found = check_set(plenty(), CORPUS)
    assert (found.problems, found.warnings) == ((), ())


def test_the_same_question_twice_is_a_problem_that_one_group_mends() -> None:
    twins = [a_case("a", "How long is the holiday?"), a_case("b", "how long is  holiday")]
    problem = check_set(plenty(*twins), CORPUS).problems[0]
    assert problem.startswith("golden/tiny/v1/cases.jsonl:2: case 'b' asks the same, word for word, as 'a' (line 1)")
    assert "give both one 'group': 'a'" in problem
    assert not list(same_words([case.model_copy(update={"group": "g"}) for case in twins]))


def test_nearly_the_same_question_is_a_warning_unless_a_number_differs() -> None:
    long = "How many days of paid holiday does an employee of the firm have in year 2025"
    found = check_set(plenty(a_case("a", f"{long}?"), a_case("b", f"Please: {long}?")), CORPUS)
    assert found.problems == ()
    assert "cases.jsonl:2: case 'b' shares 93% of its words with 'a' (line 1)" in found.warnings[0]
    assert not list(similar_words([a_case("a", long), a_case("b", long.replace("2025", "2026"))]))


def test_comparing_only_questions_that_share_a_rare_word_misses_no_pair() -> None:
    chance = random.Random(4)
    texts = {" ".join(chance.choice("bcdefg") for _ in range(chance.randint(3, 12))): None for _ in range(300)}
    cases = [a_case(str(number), text) for number, text in enumerate(texts)]
    found = {(pair.first.id, pair.second.id) for pair in similar_words(cases, 0.8)}
    slow = set()
    for index, case in enumerate(cases):
        mine = words(case.question)
        for other in cases[:index]:
            theirs = words(other.question)
            common = sum(min(mine.count(word), theirs.count(word)) for word in set(mine))
            if common / (len(mine) + len(theirs) - common) >= 0.8:
                slow.add((other.id, case.id))
                break
    assert found == slow
    assert len(slow) > 50


def test_ten_thousand_times_one_question_are_compared_in_one_pass() -> None:
    cases = [a_case(str(number), "What is this?") for number in range(10_000)]
    assert sum(1 for _ in same_words(cases)) == 9_999
    assert not list(similar_words(cases))


def test_thousands_of_questions_of_one_form_are_told_once_each() -> None:
    form = "What is the official date on which the company that is called by the name of {} was founded and put on record?"
    cases = [a_case(str(number), form.format("".join(chr(97 + int(digit)) for digit in str(number)))) for number in range(3_000)]
    assert len(list(similar_words(cases))) == 2_999
    golden = a_set(*cases)
    same = np.ones((len(cases), 1), dtype=np.float32)
    assert len(split_leaks(golden, same)) == sum(golden.split_of(case) == "holdout" for case in cases)


def test_the_nearest_question_of_tune_is_told_that_is_not_known_to_ask_the_same() -> None:
    golden = plenty()
    held = next(case for case in golden.cases if golden.split_of(case) == "holdout")
    twin, other = a_case("twin", group=held.id, pinned="tune"), a_case("other", pinned="tune")
    golden = replace(golden, cases=(held.model_copy(update={"group": held.id}), twin, other))
    vectors = np.array([[1.0, 0.0], [1.0, 0.0], [0.96, 0.28]], dtype=np.float32)
    assert [pair.first.id for pair in split_leaks(golden, vectors)] == ["other"]


def test_a_holdout_question_that_tune_asks_too_is_a_warning_with_its_mend() -> None:
    golden = plenty()
    sides = [golden.split_of(case) for case in golden.cases]
    tune, held = sides.index("tune"), sides.index("holdout")
    vectors = np.eye(len(golden.cases), dtype=np.float32)
    vectors[held] = 0.0
    vectors[held, [tune, held]] = 0.96, 0.28
    found = split_leaks(golden, vectors)
    assert [(pair.first.id, pair.second.id, round(pair.similarity, 3)) for pair in found] == [
        (golden.cases[tune].id, golden.cases[held].id, 0.96)
    ]
    assert split_leaks(golden, vectors, 0.97) == []
    warning = check_set(golden, CORPUS, vectors).warnings[0]
    assert (
        f"case {golden.cases[held].id!r} is in the holdout and asks (cosine 0.960) what is asked in tune by {golden.cases[tune].id!r}"
        in warning
    )
    assert f"give both one 'group': {golden.cases[tune].id!r}" in warning


def test_answers_that_the_asker_may_not_read_are_a_problem() -> None:
    closed, other = a_case("a", relevant_ids=["pay"]), a_case("b", relevant_ids=["far"])
    problems = check_set(plenty(closed, other), CORPUS).problems
    assert "cases.jsonl:1: case 'a': the asker may not read 'pay'. Add one of its groups to 'principal_groups': board." in problems[0]
    assert "'far' belongs to tenant 'acme'" in problems[1]
    assert not check_set(plenty(a_case("a", relevant_ids=["pay"], principal_groups=["board"])), CORPUS).problems


def test_a_group_agrees_on_whether_there_is_an_answer_for_the_same_asker() -> None:
    pair = [a_case("a", group="g"), unanswered("b", group="g")]
    assert "only one of it and 'a' is answerable" in check_set(plenty(*pair), CORPUS).problems[0]
    pair[0] = a_case("a", group="g", principal_groups=["board"])
    assert not check_set(plenty(*pair), CORPUS).problems


def test_a_pinned_case_whose_group_is_held_out_is_a_problem() -> None:
    golden = plenty()
    held = next(case for case in golden.cases if golden.split_of(case) == "holdout" and case.answerable)
    pair = [a_case("a", group=held.id), a_case("b", group=held.id, pinned="tune")]
    assert f"'a' of its group {held.id!r} is in the other split" in check_set(plenty(*pair), CORPUS).problems[0]


def test_an_empty_split_is_a_problem() -> None:
    assert "the holdout split has no cases" in check_set(a_set(a_case("a"), holdout_share=0.0001), CORPUS).problems[0]


def test_a_card_of_another_version_is_a_problem() -> None:
    problem = check_set(replace(plenty(), folder=Path("golden/tiny/v2")), CORPUS).problems[0]
    assert "CARD.md: says tiny/v1, but stands in tiny/v2" in problem


def test_slices_too_thin_to_speak_of_are_warnings() -> None:
    found = check_set(plenty(a_case("a", domain="legal"), a_case("b", domain="it", kind="temporal")), CORPUS)
    assert found.warnings == (
        "tiny/v1: domain it (1), legal (1) has fewer than 5 cases: a figure of its own would say little.",
        "tiny/v1: kind temporal (1) has fewer than 5 cases: a figure of its own would say little.",
    )


def test_the_balance_counts_each_case_once_per_field() -> None:
    golden = plenty()
    rows = balance(golden)
    assert [(one.field, one.value, one.tune + one.holdout) for one in rows] == [
        ("domain", "general", 40),
        ("kind", "factoid", 20),
        ("kind", "unanswerable", 20),
    ]


def test_the_difference_a_split_shows_is_that_of_two_independent_rates_of_one_half_as_a_comparison_finds_it() -> None:
    golden = a_set(*(a_case(f"c{number}") for number in range(1000)))
    tune, holdout = detectable_differences(golden)
    assert tune.cases + holdout.cases == 1000
    n = tune.cases
    assert tune.detectable == pytest.approx(2.8016 * (0.5 / n + 1 / n**2) ** 0.5 + 1 / n, rel=0.01)  # (1.9600 + 0.8416)·√(½/n + 1/n²) + 1/n
    assert detectable_differences(a_set(a_case("a")))[0].detectable is None
    some = cases_for_five_points()
    assert 2.8016 * (0.5 / some + 1 / some**2) ** 0.5 + 1 / some == pytest.approx(0.05, rel=0.001)


def test_checking_says_sizes_sight_and_problems(world: World) -> None:
    said = world.touchstone("golden", "check", "tiny", "--embedder", "local:hashing")
    assert said.code == 0, said.err
    assert "to be seen" in said.out or "too few" in said.out
    assert "warning: tiny/v1: kind unanswerable (1) has fewer than 5 cases" in said.out
    told = world.touchstone("golden", "check", "tiny", "--embedder", "local:hashing", "--json").json
    assert isinstance(told, dict)
    assert told["problems"] == []
    assert {"splits", "balance", "warnings", "counts"} <= set(told)
    path = world.root / "datasets/golden/tiny/v1/cases.jsonl"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, lines[0].replace('"t0"', '"twin"')]) + "\n")
    sealed = world.touchstone("golden", "seal", "tiny", "--json").json
    assert isinstance(sealed, dict)
    assert sealed["cases"] == len(lines) + 1
    said = world.touchstone("golden", "check", "tiny", "--embedder", "none", "--json")
    assert said.code == 2
    assert isinstance(said.json, dict)
    assert "asks the same, word for word, as 't0'" in said.json["problems"][0]
    assert "asks the same, word for word, as 't0'" in said.err
