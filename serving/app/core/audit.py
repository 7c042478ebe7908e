"""What the API writes down of acts, and of those that it refuses."""

import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from structlog.typing import FilteringBoundLogger

from serving.app.core.metrics import Metrics
from serving.app.core.problems import Rejected, problem_of
from serving.app.core.stores import StoreCalls
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings
from serving.audit.base import AuditStore
from serving.audit.record import Act, Action, AuditEntry, Detail, Details, Ending, ending_of
from serving.audit.trail import AuditTrail
from serving.keys import Caller
from serving.pipeline.errors import NotRecorded, TouchstoneError
from serving.release.channel import CHANNELS

MOVES: Final[dict[str, Action]] = {
    "promote": "channel.promote",
    "approve": "channel.approve",
    "rollback": "channel.rollback",
    "candidate": "channel.candidate",
    "switch": "channel.switch",
    "withdraw": "channel.withdraw",
}
REFUSALS: Final = 20  # of one caller that are written down in a minute: each costs the store more than the caller
MINUTE_S: Final = 60.0
_MOVE = re.compile(rf"/v1/admin/channels/({'|'.join(CHANNELS)})/({'|'.join(MOVES)})")
_DOCUMENT = re.compile(r"/v1/documents/(.+)")


class ApiAudit:
    """The audit trail of one running API."""

    def __init__(
        self,
        store: AuditStore,
        settings: AppSettings,
        *,
        metrics: Metrics,
        repeats: RepeatedEvents,
        log: FilteringBoundLogger,
        keyless: bool,
        calls: StoreCalls,
    ) -> None:
        self.store = store
        self._calls = calls
        self._trail = AuditTrail(store, "api", lost=self._lost, ending_of=_ending_of)
        self._settings = settings
        self._metrics = metrics
        self._repeats = repeats
        self._log = log
        self._keyless = keyless
        self._refusals: Counter[str] = Counter()  # of this minute, by caller
        self._counted_since = time.monotonic()

    def who(self, caller: Caller) -> str:
        """Who is named in a channel's history and in the audit trail."""
        if self._keyless:
            return "somebody on this machine"
        return caller.id if caller.tenant == self._settings.operator_tenant == "public" else f"{caller.tenant}/{caller.id}"

    def act(self, caller: Caller, action: Action, subject: str, details: Details | None = None, *, tenant: str = "") -> Act:
        """What a caller is about to do; channels are the operator's."""
        return Act(tenant or self._settings.operator_tenant, self.who(caller), action, subject, details or {})

    @contextmanager
    def doing(self, act: Act) -> Iterator[dict[str, Detail]]:
        """Within the block an act is done, after it was written down; else a `NotRecorded`. It blocks, and belongs in a thread."""
        try:
            with self._trail.act(act) as result:
                yield result
        except NotRecorded:
            self._metrics.audit_failed("entry")
            raise

    async def refused(self, act: Act, error: Rejected) -> None:
        """Write down what is refused, at most the first `REFUSALS` of a caller in a minute; a trail that is out changes no refusal."""
        if not self._within_limit(act.who):
            return
        try:
            await self._calls.run(self._trail.refused, act, title(error))
        except (TouchstoneError, Rejected) as failure:
            self._metrics.audit_failed("entry")
            self._log.error("refusal not in the audit trail", action=act.action, by=act.who, reason=str(failure))

    async def refused_request(self, caller: Caller, method: str, path: str, error: Rejected) -> None:
        """The same for a request that no route has seen; once a minute for each caller and action, since such a request costs nothing."""
        act = self._act_of(caller, method, path)
        if act and self._repeats.first(f"refused {act.action} by {act.who}"):
            await self.refused(act, error)

    def _within_limit(self, who: str) -> bool:
        if time.monotonic() - self._counted_since >= MINUTE_S:
            self._counted_since = time.monotonic()
            self._refusals.clear()
        self._refusals[who] += 1
        if self._refusals[who] == REFUSALS + 1:
            self._log.warning("refusals not in the audit trail", by=who, effect=f"the first {REFUSALS} of a minute are")
        return self._refusals[who] <= REFUSALS

    def _act_of(self, caller: Caller, method: str, path: str) -> Act | None:
        """The act that a request asks for, where it is one that administrators do."""
        if method == "POST" and (move := _MOVE.fullmatch(path)):
            return self.act(caller, MOVES[move[2]], move[1])
        if method == "DELETE" and (document := _DOCUMENT.fullmatch(path)):
            return self.act(caller, "document.delete", document[1], tenant=caller.tenant)
        return None

    def _lost(self, entry: AuditEntry, error: TouchstoneError) -> None:
        self._metrics.audit_failed("outcome")
        self._log.error("outcome not in the audit trail", id=entry.id, action=entry.action, by=entry.who, reason=str(error))


def title(error: Rejected) -> str:
    """What a problem is called."""
    return str(error.problem.body["title"])


def _ending_of(error: BaseException) -> tuple[Ending, str]:
    if not isinstance(error, Rejected):
        return ending_of(error)
    return ("refused" if problem_of(error).status < 500 else "failed"), title(error)
