"""Texts fit for anybody's eyes: without the secrets that addresses carry."""

import re

_SECRETS = "(?:api)?key|token|secret|password|passwd|pwd|sig|signature|credential|auth|code"
_SECRET_PARAMETER = re.compile(rf"([?&](?:[\w.-]*[_.-])?(?:{_SECRETS})=)[^&#\s]+", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:\s]*):[^/?#\s]*@")


def without_password(text: str) -> str:
    """A text in which no address shows its password, or a key among its parameters."""
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
