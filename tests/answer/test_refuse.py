import pytest

from serving.pipeline.answer.refuse import is_refusal

SENTENCE = "The documents I can see do not answer this question."


@pytest.mark.parametrize(
    "text",
    [
        SENTENCE,
        '"The documents I can see do not answer this question"',
        f"**{SENTENCE}** Please ask the travel desk.",
        "I cannot answer this from the passages.",
        "I'm sorry, but I don't have enough information.",
        "The provided context does not contain information about parking.",
    ],
)
def test_a_refusal_is_known_in_its_own_and_in_other_words(text):
    assert is_refusal(text, SENTENCE)


@pytest.mark.parametrize(
    "text",
    [
        "Ten days [1].",
        "Information that is not available in Corvus is requested from HR; the desk answers within two days [2].",
        "You cannot carry days over [1].",
        "The fee is 40 EUR [1]. The passages do not say when it is due.",
        "Documents do not leave the building.",
    ],
)
def test_an_answer_that_speaks_of_gaps_or_bans_is_no_refusal(text):
    assert not is_refusal(text, SENTENCE)
