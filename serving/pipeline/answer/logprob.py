"""How sure a model was of its own words, where its provider tells it."""

import math
from collections.abc import Mapping, Sequence

from langchain_core.messages import AIMessage


def mean_logprob(message: AIMessage) -> float | None:
    """The mean log-probability of the tokens that were written, as OpenAI's protocol has them; None where it is not told."""
    told = message.response_metadata.get("logprobs")
    tokens = told.get("content") if isinstance(told, Mapping) else None
    if not isinstance(tokens, Sequence):
        return None
    values = [token.get("logprob") for token in tokens if isinstance(token, Mapping)]
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(numbers) / len(numbers) if numbers else None
