"""Dollars: what was spent, what is reserved for work on its way, and the limit that both together never pass."""

import asyncio
import math
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.evaluation.evaluator import was_refused
from harness.results.report import EvalReport
from serving.pipeline.answer.answerer import KEPT_MS
from serving.pipeline.errors import DataError
from serving.pipeline.types import Trace
from serving.storage.files import write_text

FILE = "spent.json"


class BudgetExceeded(Exception):
    """The next cases could cost more than is left."""


class Spending(BaseModel):
    """What a sweep has cost so far, over all processes that worked on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float = 0.0  # settled, and reserved for work whose answers are not stored
    on_its_way: dict[str, float] = Field(default_factory=dict)  # reserved for blocks, by their keys: settled when they are scored again
    lost_usd: float = 0.0  # at most so much went to calls that were cut off, of which nobody knows: counted against the limit
    indexes: tuple[str, ...] = ()  # whose vectors are paid for


@dataclass(frozen=True, slots=True)
class SpendingFile:
    """The file beside a sweep in which its spending is written down."""

    folder: Path

    def read(self) -> Spending:
        """What was spent; nothing where nothing is written."""
        path = self.folder / FILE
        try:
            return Spending.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return Spending()
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
        except ValidationError:
            raise DataError(f"{path}: does not say what the sweep has cost. Remove it, and it counts from 0.") from None

    def write(self, spending: Spending, *, sync: bool) -> None:
        """Write it down, whole or not at all; synced to the disk where a limit hangs on it."""
        write_text(self.folder / FILE, spending.model_dump_json(indent=1), sync=sync)


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """Dollars set aside for work on its way."""

    usd: float
    key: str = ""  # of a block whose answers are stored, should this process be killed
    earlier_usd: float = 0.0  # reserved by a killed process for the same block


@dataclass
class Budget:
    """Reserves the most that work may cost before it is sent, and settles at its price when it is back.

    What was reserved for a block when its process was killed is settled when the block is scored again: its stored answers say what
    was paid for them.
    """

    limit_usd: float | None = None
    proof_usd: float = 0.0  # set aside for the proof on the holdout
    ledger: SpendingFile | None = None
    answers_stored: bool = False  # whether all that is paid for is stored, so that the costs of a killed process can be found out
    spent_usd: float = field(default=0.0, init=False)
    dearest_usd: float = field(default=0.0, init=False)  # of a case that passed its bound

    def __post_init__(self) -> None:
        before = self.ledger.read() if self.ledger else Spending()
        self.spent_usd = before.usd + (0.0 if self.answers_stored else sum(before.on_its_way.values()))
        self._earlier = dict(before.on_its_way) if self.answers_stored else {}
        self._lost_usd = before.lost_usd
        self._indexes = dict.fromkeys(before.indexes)
        self._building: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._reservations: list[Reservation] = []
        self._settled = asyncio.Event()

    @property
    def reserved_usd(self) -> float:
        """What is set aside for all work on its way."""
        return sum(one.usd for one in self._reservations)

    @property
    def uncertain_usd(self) -> float:
        """What killed processes may have spent beside that, at most."""
        return self._lost_usd + sum(self._earlier.values()) + sum(one.earlier_usd for one in self._reservations)

    def reserve(self, usd: float, key: str = "") -> Reservation:
        """Set aside what some work may cost; raises `BudgetExceeded` when that is more than is left."""
        taken_usd = self.spent_usd + self.reserved_usd + self.uncertain_usd
        if self.limit_usd is not None and taken_usd + usd > self.limit_usd - self.proof_usd:
            raise BudgetExceeded
        reservation = Reservation(usd, key if self.answers_stored else "", self._earlier.pop(key, 0.0))
        self._reservations.append(reservation)
        self._write()
        return reservation

    async def reserve_cases(self, count: int, case_usd: float, key: str = "") -> Reservation:
        """Set aside what so many cases may cost."""
        return await self._wait_to_reserve(count * max(case_usd, self.dearest_usd), key)

    async def _wait_to_reserve(self, usd: float, key: str = "") -> Reservation:
        """Where it does not fit, other work is waited for, which may come back cheaper than was reserved for it."""
        while True:
            try:
                return self.reserve(usd, key)
            except BudgetExceeded:
                if not self._reservations:
                    raise
            self._settled.clear()
            await self._settled.wait()

    def settle(self, reservation: Reservation, usd: float | None, *, stored_usd: float = 0.0, unstored_usd: float = math.inf) -> None:
        """The work is back and has cost so much; where nobody knows, as much as was reserved.

        Of a block that a killed process was at, the stored answers had cost `stored_usd`, and the cases without one may have cost up to
        `unstored_usd` when their calls were cut off.
        """
        self._reservations.remove(reservation)
        self.spent_usd += reservation.usd if usd is None else usd
        if reservation.earlier_usd:
            self.spent_usd += min(stored_usd, reservation.earlier_usd)
            self._lost_usd += max(0.0, min(reservation.earlier_usd - stored_usd, unstored_usd))
        self._settled.set()
        self._write()

    def holds(self, reservation: Reservation) -> bool:
        """Whether it is neither settled nor abandoned."""
        return any(one is reservation for one in self._reservations)

    def abandon(self, reservation: Reservation) -> None:
        """The work was cut off with this process: what it has cost is found out when it is done again."""
        if not reservation.key:
            self.settle(reservation, None)
            return
        self._reservations.remove(reservation)
        self._earlier[reservation.key] = reservation.usd + reservation.earlier_usd
        self._settled.set()
        self._write()

    @asynccontextmanager
    async def index(self, key: str, usd: float) -> AsyncIterator[None]:
        """While an index is built: its vectors are paid for once, and again where the building was cut off; a second builder waits."""
        if not usd:
            yield
            return
        async with self._building[key]:
            reservation = None if key in self._indexes else await self._wait_to_reserve(usd)
            try:
                yield
                self._indexes[key] = None
            finally:
                if reservation:
                    self.settle(reservation, None)

    def block_usd(self, report: EvalReport, judge_usd: float, case_usd: float) -> float:
        """What a block has cost; a case dearer than its bound `case_usd` makes all later ones count as much."""
        usd = report_usd(report, max(case_usd, self.dearest_usd)) + judge_usd
        seen = [trace.usd for trace in report.traces]
        if len(self._reservations) <= 1:  # else judges may have been paid for other blocks' cases too
            seen.append(usd / len(report.rows))
        if (most := max(seen, default=0.0)) > case_usd * (1 + 1e-9):  # a sum may be rounded up
            self.dearest_usd = max(self.dearest_usd, most)
        return usd

    def _write(self) -> None:
        if self.ledger:
            on_its_way = dict(self._earlier)
            for one in self._reservations:
                if one.key:
                    on_its_way[one.key] = one.usd + one.earlier_usd
            unknown_usd = sum(one.usd for one in self._reservations if not one.key)  # a killed process may have spent that much
            spending = Spending(
                usd=self.spent_usd + unknown_usd, on_its_way=on_its_way, lost_usd=self._lost_usd, indexes=tuple(self._indexes)
            )
            self.ledger.write(spending, sync=self.limit_usd is not None)


def report_usd(report: EvalReport, case_usd: float = 0.0) -> float:
    """What a report's cases cost now: a stored output costs nothing again, a case without a trace may have cost the most."""
    total = 0.0
    for row in report.rows:
        if row.trace is None:
            total += 0.0 if was_refused(row) else case_usd
            continue
        stored = _stored_stages(row.trace)
        total += sum(use.usd for use in row.trace.usage if use.stage not in stored)
    return total


def stored_usd(report: EvalReport) -> float:
    """What the stored answers of a report had cost when they were asked for."""
    total = 0.0
    for row in report.rows:
        if row.trace is not None:
            stored = _stored_stages(row.trace)
            total += sum(use.usd for use in row.trace.usage if use.stage in stored)
    return total


def unstored_cases(report: EvalReport) -> int:
    """How many cases have no stored answer."""
    return len(report.rows) - sum("answer" in _stored_stages(trace) for trace in report.traces)


def _stored_stages(trace: Trace) -> set[str]:
    """The stages of a trace whose outputs came from the stage store."""
    return {stage.stage for stage in trace.stages if KEPT_MS in stage.detail}
