from harness.calibrate.walk import WalkStart, starts_for, walk


def places(chances: list[float], starts: tuple[WalkStart, ...]) -> list[tuple[int, float]]:
    acting = [float(number) for number in range(1, len(chances) + 1)]
    return [(one.place, round(one.tested_at, 4)) for one in walk(acting, starts, lambda place: chances[place])]


def test_a_walk_goes_on_until_a_threshold_fails() -> None:
    assert places([0.01, 0.04, 0.05, 0.06, 0.001], (WalkStart(1, 0.05),)) == [(0, 0.05), (1, 0.05), (2, 0.05)]


def test_nothing_is_tested_before_the_first_start() -> None:
    assert places([0.9, 0.9, 0.01, 0.01], (WalkStart(3, 0.05),)) == [(2, 0.05), (3, 0.05)]
    assert places([0.0, 0.0], (WalkStart(3, 0.05),)) == []


def test_a_walk_begins_anew_at_the_next_start_with_that_starts_part() -> None:
    assert places([0.9, 0.0, 0.02, 0.03], (WalkStart(1, 0.025), WalkStart(3, 0.025))) == [(2, 0.025)]


def test_a_walk_that_passes_a_start_takes_its_part_along() -> None:
    assert places([0.02, 0.02, 0.04, 0.04, 0.06, 0.01], (WalkStart(1, 0.025), WalkStart(3, 0.025))) == [
        (0, 0.025),
        (1, 0.025),
        (2, 0.05),
        (3, 0.05),
    ]


def test_what_failed_gives_nothing_to_the_next() -> None:
    assert places([0.02, 0.03, 0.02, 0.03], (WalkStart(1, 0.025), WalkStart(3, 0.025))) == [(0, 0.025), (2, 0.025)]


def test_starts_are_as_many_as_the_labels_allow_and_299_have_one() -> None:
    assert starts_for(299, 0.01, 0.05) == (WalkStart(299, 0.05),)
    many = starts_for(100_000, 0.01, 0.05)
    assert abs(sum(start.error for start in many) - 0.05) < 1e-12
    assert [start.acting for start in many] == sorted(start.acting for start in many)
