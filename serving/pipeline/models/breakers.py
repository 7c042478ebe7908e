"""One circuit breaker for each hosted model at its endpoint, shared by all that call it in this process."""

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from serving.pipeline.breaker import BreakerLimits, CircuitBreaker
from serving.pipeline.errors import ModelError

log = logging.getLogger(__name__)
LIMITS: Final = BreakerLimits(failures=5, window=20, share=0.6, first_rest_s=1.0, longest_rest_s=30.0)

_BREAKERS: Final[dict[tuple[str, str, int], "ModelBreaker"]] = {}
_LOCK: Final = threading.Lock()


class ModelBreaker:
    """Rejects calls to a model that does not answer, while a client waits; logs when that begins and ends.

    Thread-safe. Only failures of the model count: it is down, throttles, hangs or answers what cannot be parsed; a refused request does
    not.
    """

    def __init__(self, model: str, limits: BreakerLimits = LIMITS, seconds: Callable[[], float] = time.monotonic) -> None:
        self.model = model
        self._breaker = CircuitBreaker(seconds, limits)
        self._seconds = seconds
        self._lock = threading.Lock()

    @property
    def state(self) -> str:
        """closed, open or half-open."""
        with self._lock:
            return self._breaker.state

    def begin(self) -> float:
        """When a call begins."""
        return self._seconds()

    def admit(self) -> None:
        """Raise `ModelError` while the breaker is open; one call after each rest is allowed."""
        with self._lock:
            if self._breaker.attempt():
                return
            rest_s = self._breaker.rest_s
        raise ModelError(f"{self.model} did not answer several times and is left alone for {rest_s:.1f} s more.")

    def ended(self, began_s: float, error: Exception | None) -> None:
        """Count the end of a call."""
        with self._lock:
            if isinstance(error, ModelError):
                opened, closed = self._breaker.failed(began_s), False
            else:
                opened, closed = False, self._breaker.succeeded()
            rest_s = self._breaker.rest_s
        if opened:
            log.warning("%s does not answer (%s); it is left alone for %.1f s at a time.", self.model, type(error).__name__, rest_s)
        elif closed:
            log.warning("%s answers again.", self.model)


def breaker_of(model: str, place: str, failures: int) -> ModelBreaker:
    """The breaker of a model at its endpoint in this process; it opens after so many failures in a row."""
    key = (model, place, failures)
    with _LOCK:
        if key not in _BREAKERS:
            _BREAKERS[key] = ModelBreaker(model, replace(LIMITS, failures=failures))
        return _BREAKERS[key]


def breaker_states() -> Mapping[str, str]:
    """The state of every hosted model that was connected in this process; of one at several endpoints the worst."""
    with _LOCK:
        breakers = list(_BREAKERS.values())
    states: dict[str, str] = {}
    for state in ("closed", "half-open", "open"):
        states |= {breaker.model: state for breaker in breakers if breaker.state == state}
    return states
