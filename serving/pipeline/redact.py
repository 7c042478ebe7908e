"""Redacts the credentials in URLs, for logs and messages."""

import re

_SECRETS = "(?:api)?key|token|secret|password|passwd|pwd|sig|signature|credential|auth|code"
_SECRET_PARAMETER = re.compile(rf"([?&](?:[\w.-]*[_.-])?(?:{_SECRETS})=)[^&#\s]+", re.IGNORECASE)
_PASSWORD = re.compile(r"(://[^/@:\s]*):[^/?#\s]*@")


def without_password(text: str) -> str:
    """The text with passwords and keys in its URLs redacted."""
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))
