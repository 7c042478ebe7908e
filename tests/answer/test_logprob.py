from typing import Any

import pytest
from langchain_core.messages import AIMessage

from serving.pipeline.answer.logprob import mean_logprob


@pytest.mark.parametrize(
    ("told", "mean"),
    [
        ({"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}, -1.0),
        ({"content": [{"token": "a", "logprob": float("-inf")}, {"token": "b", "logprob": -1}]}, -1.0),
        ({"content": []}, None),
        ({"content": None}, None),
        ({"content": ["a", {"logprob": "b"}]}, None),
        ("odd", None),
        (None, None),
    ],
)
def test_the_mean_is_of_what_the_provider_tells(told: Any, mean: float | None) -> None:
    assert mean_logprob(AIMessage("x", response_metadata={"logprobs": told})) == mean
    assert mean_logprob(AIMessage("x")) is None
