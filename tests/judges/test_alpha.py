"""Alpha equals the numbers that Krippendorff published and worked out by hand."""

import pytest

from harness.judges.alpha import Level, krippendorff_alpha

N = None
# "Computing Krippendorff's Alpha-Reliability" (2011), its examples A, B and C
BINARY = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
NOMINAL = [["abcde".index(value) for value in row] for row in ("aabbdcccedda", "babbbcccedd" + "d")]
FOUR_OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
    [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
]


@pytest.mark.parametrize(
    ("ratings", "level", "published"),
    [
        (BINARY, "nominal", 0.095),
        (NOMINAL, "nominal", 0.692),
        (FOUR_OBSERVERS, "nominal", 0.743),
        (FOUR_OBSERVERS, "ordinal", 0.815),
        (FOUR_OBSERVERS, "interval", 0.849),
    ],
)
def test_alpha_equals_the_published_examples(ratings: list[list[int | None]], level: Level, published: float) -> None:
    assert krippendorff_alpha(ratings, level) == pytest.approx(published, abs=0.0005)


def test_alpha_with_a_missing_rating_equals_the_number_worked_by_hand() -> None:
    # units (0,0) (0,2) (2,2) and (1,·), which pairs with nothing. Coincidences: 00→2, 02→1, 20→1, 22→2; n₀ = n₂ = 3, n = 6
    ratings = [[0, 0, 2, 1], [0, 2, 2, N]]
    assert krippendorff_alpha(ratings, "nominal") == pytest.approx(1 - 5 * 2 / (3 * 3 * 2))
    assert krippendorff_alpha(ratings, "interval") == pytest.approx(1 - 5 * 2 * 4 / (3 * 3 * 2 * 4))
    # three raters of a unit weigh each of its pairs by half: (0,0,1) and (1,1): 00→1, 01→1, 10→1, 11→2; n₀ = 2, n₁ = 3, n = 5
    assert krippendorff_alpha([[0, 1], [0, 1], [1, N]], "nominal") == pytest.approx(1 - 4 * 2 / (2 * 2 * 3))


@pytest.mark.parametrize("ratings", [[], [[]], [[0, 0], [0, 0]], [[1, N], [N, 2]], [[N], [N]]])
def test_alpha_is_undefined_without_two_values_to_tell_apart(ratings: list[list[int | None]]) -> None:
    assert krippendorff_alpha(ratings, "ordinal") is None
