"""The server as `python -m serving.app` starts it, with more patience with Redis: a busy machine is no Redis that is away."""

import sys

import pytest

from serving.app.__main__ import main
from tests.support.redis import patient_with_redis

if __name__ == "__main__":
    patient_with_redis(pytest.MonkeyPatch())
    sys.exit(main(sys.argv[1:]))
