"""`touchstone doctor` says in one line whether the Redis that a deployment shares lets it in."""

import pytest

from harness.doctor import _redis
from harness.settings import HarnessSettings
from tests.support.elasticache import USERS, SharedCache, cache, pod

__all__ = ["cache", "pod"]

pytestmark = pytest.mark.usefixtures("pod")


def test_doctor_says_who_we_are_on_redis_or_what_to_mend(cache: SharedCache) -> None:
    def seen(**changes: str) -> tuple[str, str]:
        status = _redis(HarnessSettings(_env_file=None, **(cache.settings("dev") | changes)))
        assert not status.needed and "\n" not in status.detail and "Signature" not in status.detail
        return status.state, status.detail

    assert seen() == ("ok", f"{cache.url}, keys {USERS['dev']}:*, as {USERS['dev']}")
    state, said = seen(redis_iam_user="nobody")
    assert state == "failed" and "does not let us in" in said and "elasticache:Connect" in said
    state, said = seen(redis_prefix=USERS["prod"])
    assert state == "failed" and "refuses what we do there" in said and f"~{USERS['prod']}:*" in said
    state, said = seen(redis="rediss://127.0.0.1:1/0")
    assert state == "failed" and "Redis at rediss://127.0.0.1:1/0 does not answer" in said
    state, said = seen(redis_iam_cache="")
    assert state == "failed" and "needs TOUCHSTONE_REDIS_IAM_CACHE" in said
    assert seen(redis="")[0] == "missing"
