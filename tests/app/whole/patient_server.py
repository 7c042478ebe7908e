"""The server as `python -m serving.app` starts it, with more patience with Redis, since a busy machine is no Redis that is away."""

import sys

import pytest

from serving.app.__main__ import main
from tests.support.days import endless_day
from tests.support.redis import patient_with_redis

if __name__ == "__main__":
    patch = pytest.MonkeyPatch()
    patient_with_redis(patch)
    endless_day(patch)
    sys.exit(main(sys.argv[1:]))
