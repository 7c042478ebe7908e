"""Money a day, of each key and of the server: one counter for every door, where a question reserves the most it can cost, then settles."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol
from uuid import uuid4

from structlog.typing import FilteringBoundLogger

from serving.app.core.problems import Rejected, budget_reserved, budget_spent
from serving.keys import Caller
from serving.pipeline.errors import InfrastructureError
from serving.pipeline.observer import NullObserver
from serving.pipeline.types import Query, Trace, Usage

EVERYBODY = "server"  # the account of all callers together


@dataclass(frozen=True, slots=True)
class Account:
    """A day's budget of somebody."""

    name: str
    limit_usd: float


class BudgetLedger(Protocol):
    """Counts what was spent and what is reserved; atomic for all who share it. An outage is a `StoreError`."""

    async def reserve(self, account: Account, day: str, ident: str, usd: float, lasts_s: float) -> bool:
        """Set money aside for a while, if what is spent and set aside is below the limit."""
        ...

    async def settle(self, name: str, day: str, ident: str, usd: float) -> None:
        """Put what was spent in the place of what was set aside; also of nothing, for a cost that comes late."""
        ...

    async def spent(self, name: str, day: str) -> float:
        """What was spent on a day."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


@dataclass(slots=True)
class _Day:
    spent: float = 0.0
    reserved: dict[str, tuple[float, float]] = field(default_factory=dict)  # by reservation: dollars, and until when


class MemoryLedger:
    """The ledger of one process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._days: dict[tuple[str, str], _Day] = {}

    async def reserve(self, account: Account, day: str, ident: str, usd: float, lasts_s: float) -> bool:
        """See `BudgetLedger`."""
        of, now = self._of(account.name, day), self._clock()
        of.reserved = {one: (amount, until) for one, (amount, until) in of.reserved.items() if until > now}
        if of.spent + sum(amount for amount, _ in of.reserved.values()) >= account.limit_usd:
            return False
        of.reserved[ident] = (usd, now + lasts_s)
        return True

    async def settle(self, name: str, day: str, ident: str, usd: float) -> None:
        """See `BudgetLedger`."""
        of = self._of(name, day)
        of.reserved.pop(ident, None)
        of.spent += usd

    async def spent(self, name: str, day: str) -> float:
        """See `BudgetLedger`."""
        return self._of(name, day).spent

    async def close(self) -> None:
        """Nothing is held open."""

    def _of(self, name: str, day: str) -> _Day:
        if (name, day) not in self._days:
            self._days = {key: of for key, of in self._days.items() if key[1] >= day}  # of days that are over nothing is asked
        return self._days.setdefault((name, day), _Day())


class BudgetReservation(NullObserver):
    """One question's reservation; an observer of it, that adds up what it costs, also what comes after its end."""

    def __init__(self, late: Callable[[float], None]) -> None:
        self._late = late
        self._settled = False
        self.usd = 0.0

    def answered(self, trace: Trace) -> None:
        """Count the whole question."""
        self._add(trace.usd)

    def spent(self, query: Query, usage: Usage) -> None:
        """Count a call of a question that has no trace, or that had ended."""
        self._add(usage.usd)

    def settled(self) -> float:
        """What it cost so far; what comes now is late."""
        self._settled = True
        return self.usd

    def _add(self, usd: float) -> None:
        if self._settled:
            self._late(usd)
        else:
            self.usd += usd


class Budgets:
    """The accounts of a question's caller. A ledger that is out lets questions pass, counted in this process alone, and says so once."""

    def __init__(
        self,
        ledger: BudgetLedger,
        log: FilteringBoundLogger,
        *,
        server_usd: float | None,
        lasts_s: float,
        local: BudgetLedger,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._log = log
        self._server_usd = server_usd
        self._lasts_s = lasts_s
        self._local = local  # while the shared one is out
        self._now = now
        self._out = False
        self._tasks: set[asyncio.Task[None]] = set()

    def accounts(self, caller: Caller) -> tuple[Account, ...]:
        """Whose budgets a question of this caller is paid from."""
        own = [Account(f"{caller.tenant}/{caller.id}", caller.usd_per_day)] if caller.usd_per_day is not None else []
        return (*own, *([Account(EVERYBODY, self._server_usd)] if self._server_usd is not None else []))

    @asynccontextmanager
    async def question(self, caller: Caller, most_usd: float) -> AsyncIterator[BudgetReservation]:
        """Reserve for a question, and settle when it has ended; a 429 where a budget is spent.

        Of questions at the same time each is counted with the most that it can cost, so that at most one goes beyond the limit.
        """
        accounts, day = self.accounts(caller), self._now().date().isoformat()
        ident = uuid4().hex if accounts else ""
        reserved: list[Account] = []
        reservation = BudgetReservation(lambda usd: self._settle_later(accounts, day, usd))
        try:
            for account in accounts:
                if not await self._reserve(account, day, ident, most_usd):
                    raise await self._refusal(account, day)
                reserved.append(account)
            yield reservation
        finally:
            if reserved:
                await asyncio.shield(self._settle(reserved, day, ident, reservation.settled()))

    async def spent(self, name: str) -> float:
        """What was spent today."""
        return await self._ledger.spent(name, self._now().date().isoformat())

    async def spent_or_own(self, name: str) -> float:
        """What was spent today; as this process alone counts it, while the shared ledger is out."""
        try:
            return await self.spent(name)
        except InfrastructureError:
            return await self._local.spent(name, self._now().date().isoformat())

    async def close(self) -> None:
        """Settle what came late, and close the ledger."""
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._ledger.close()

    async def _reserve(self, account: Account, day: str, ident: str, usd: float) -> bool:
        try:
            allowed = await self._ledger.reserve(account, day, ident, usd, self._lasts_s)
        except InfrastructureError as error:
            self._log_outage(error)
            return await self._local.reserve(account, day, ident, usd, self._lasts_s)
        self._log_outage(None)
        return allowed

    async def _refusal(self, account: Account, day: str) -> Rejected:
        """Why nothing could be reserved: all is spent, or the rest may come back within moments."""
        try:
            spent = await (self._local if self._out else self._ledger).spent(account.name, day)
        except InfrastructureError:
            spent = account.limit_usd
        return (
            budget_reserved(account.limit_usd)
            if spent < account.limit_usd
            else budget_spent(account.limit_usd, self._seconds_to_midnight())
        )

    async def _settle(self, accounts: Sequence[Account], day: str, ident: str, usd: float) -> None:
        for account in accounts:
            try:
                await self._ledger.settle(account.name, day, ident, usd)
            except InfrastructureError as error:
                self._log_outage(error)
                await self._local.settle(account.name, day, ident, usd)

    def _settle_later(self, accounts: Sequence[Account], day: str, usd: float) -> None:
        task = asyncio.ensure_future(self._settle(accounts, day, "", usd))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _log_outage(self, error: Exception | None) -> None:
        if (error is not None) != self._out:
            self._out = error is not None
            if error:
                self._log.error("budgets not shared", reason=str(error), effect="each process counts for itself")
            else:
                self._log.info("budgets shared again")

    def _seconds_to_midnight(self) -> int:
        now = self._now()
        midnight = (now + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return math.ceil((midnight - now).total_seconds())
