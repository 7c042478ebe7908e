"""The mean log-probability of an answer's tokens, where the provider reports it."""

import math
from collections.abc import Mapping, Sequence

from langchain_core.messages import AIMessage


def mean_logprob(message: AIMessage) -> float | None:
    """The mean log-probability of the written tokens, in OpenAI's format; `None` where it is not reported."""
    logprobs = message.response_metadata.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(tokens, Sequence):
        return None
    values = [token.get("logprob") for token in tokens if isinstance(token, Mapping)]
    numbers = [float(value) for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return sum(numbers) / len(numbers) if numbers else None
