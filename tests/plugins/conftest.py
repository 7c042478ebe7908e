"""What LangChain's standard tests ask of pytest plug-ins that this suite does without."""

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def benchmark() -> Callable[..., Any]:
    """Runs what is to be timed, once, untimed."""
    return lambda work, *args, **kwargs: work(*args, **kwargs)


@pytest.fixture
def vcr() -> None:
    """Records nothing: no test here reaches a network."""


@pytest.fixture
def snapshot() -> None:
    """Compares nothing: our models are built from a configuration, never from LangChain's serialised form."""
