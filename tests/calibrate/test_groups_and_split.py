import pytest

from harness.calibrate.groups import joined, near_duplicate_pairs, near_duplicates
from harness.calibrate.split import fit_split
from serving.pipeline.errors import ConfigError, DataError


def same(groups: list[str], *indexes: int) -> bool:
    return len({groups[index] for index in indexes}) == 1


def test_examples_that_share_a_key_through_others_are_one_group() -> None:
    groups = joined([["a", "b"], ["c"], ["b", "d"], ["d"], ["e"]])
    assert same(groups, 0, 2, 3)
    assert len(set(groups)) == 3


def test_texts_of_nearly_the_same_words_are_one_group_and_another_number_is_not() -> None:
    long = "how many days of paid annual leave does a full time employee of the company have in a calendar year"
    groups = near_duplicates(
        [long, f"{long} please", long.upper(), "what is the price of the TG-4410B", "what is the price of the TG-4400"]
    )
    assert same(groups, 0, 1, 2)
    assert len(set(groups)) == 3
    assert same(near_duplicates(["one", "two", "three"], ["g", "", "g"]), 0, 2)


def test_pairs_that_share_a_text_are_one_group() -> None:
    groups = near_duplicate_pairs([("a question", "another one"), ("something else", "a question"), ("x y", "z w")])
    assert same(groups, 0, 1)
    assert not same(groups, 0, 2)


def test_a_group_is_never_on_both_sides() -> None:
    groups = [f"g{number % 40}" for number in range(400)]
    split = fit_split(groups, fit_share=0.5)
    assert sorted([*split.fit, *split.calibration]) == list(range(400))
    assert {groups[index] for index in split.fit} & {groups[index] for index in split.calibration} == set()
    assert 0.25 < len(split.fit) / 400 < 0.75
    assert split == fit_split(groups, fit_share=0.5)
    assert split != fit_split(groups, fit_share=0.5, salt="other")
    assert not split.by_time


def test_in_time_the_older_are_fitted_on_and_a_group_begun_before_the_cut_is_whole() -> None:
    times = [f"2026-01-{1 + number:02}" for number in range(20)]
    groups = [""] * 20
    groups[0] = groups[19] = "long"
    split = fit_split(groups, times, fit_share=0.5)
    assert split.by_time
    assert {0, 19} <= set(split.fit)
    assert set(split.calibration) == set(range(9, 19)) - set(split.fit)
    assert max(times[index] for index in split.fit if index != 19) < min(times[index] for index in split.calibration)
    assert not fit_split(groups, [*times[:-1], ""]).by_time


def test_a_time_that_is_none_and_a_share_that_is_none_are_refused() -> None:
    with pytest.raises(DataError, match="The time of 'example 2' is 'noon'"):
        fit_split(["", ""], ["2026-01-01", "noon"])
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        fit_split([""], fit_share=1.0)
