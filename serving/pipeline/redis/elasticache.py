"""Signing in to ElastiCache by IAM: a token for every connection, and connections that are made anew before AWS ends them.

Imported only where `TOUCHSTONE_REDIS_IAM_USER` is set: it needs botocore and redis.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlencode

from botocore.auth import SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from botocore.session import Session
from redis.asyncio.connection import SSLConnection
from redis.credentials import CredentialProvider
from redis.exceptions import AuthenticationError

LASTS_S: Final = 900  # a token, which is read once: when a connection signs in
OLDEST_S: Final = 10 * 3600  # ElastiCache ends a connection 12 hours after it signed in


class IamCredentials(CredentialProvider):
    """A user of ElastiCache, and a token that proves that this process' role may be it: a request that AWS would sign, never sent."""

    def __init__(self, user: str, cache: str, region: str, session: Session | None = None) -> None:
        self._user = user
        self._cache = cache
        self._region = region
        self._session = session or Session()
        self._lock = threading.Lock()  # of several connections that begin at once, one looks for AWS' credentials

    def get_credentials(self) -> tuple[str, str]:
        """The user, and a new token."""
        try:
            with self._lock:
                found = self._session.get_credentials()
                credentials = found.get_frozen_credentials() if found else None
        except BotoCoreError as error:
            raise AuthenticationError(f"AWS gives no credentials to sign in as {self._user!r}: {error}") from error
        if credentials is None:
            raise AuthenticationError(f"No credentials of AWS to sign in as {self._user!r}: the pod's role, or `aws configure`.")
        query = urlencode({"Action": "connect", "User": self._user})
        request = AWSRequest("GET", f"https://{self._cache}/?{query}")
        SigV4QueryAuth(credentials, "elasticache", self._region, expires=LASTS_S).add_auth(request)
        return self._user, str(request.url).removeprefix("https://")

    async def get_credentials_async(self) -> tuple[str, str]:
        """Likewise, in a thread: AWS' credentials may have to be fetched."""
        return await asyncio.to_thread(self.get_credentials)


class RenewedConnection(SSLConnection):
    """A connection over TLS that is too old when it is taken is closed and made anew, and so signs in anew."""

    def __init__(self, *, oldest_s: float = OLDEST_S, seconds: Callable[[], float] = time.monotonic, **options: Any) -> None:
        super().__init__(**options)
        self.driver_info = None  # the client does not name itself: a right less
        self._oldest_s = oldest_s
        self._seconds = seconds
        self._began_s = seconds()

    async def connect(self) -> None:
        """As ever, and anew where it is old; the pool calls this whenever it hands a connection out."""
        if self.is_connected and self._seconds() - self._began_s >= self._oldest_s:
            await self.disconnect()
        if not self.is_connected:
            self._began_s = self._seconds()
        await super().connect()  # type: ignore[no-untyped-call]
