"""Dollars: what was spent, what is on its way, and the line that is not crossed."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.evaluation.evaluator import refused
from harness.results.report import EvalReport
from serving.pipeline.errors import DataError
from serving.storage.files import write_text

FILE = "spent.json"


class OverBudget(Exception):
    """The next cases could cost more than is left."""


class Spending(BaseModel):
    """What a sweep has cost so far, over all processes that worked on it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    usd: float = 0.0  # of calls that a killed process had on their way: the most they may have cost
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

    def write(self, spent: Spending, *, sync: bool) -> None:
        """Write it down, whole or not at all; synced to the disk where a limit hangs on it."""
        write_text(self.folder / FILE, spent.model_dump_json(indent=1), sync=sync)


@dataclass(frozen=True, slots=True, eq=False)
class Reservation:
    """What was set aside for work that is on its way."""

    usd: float


@dataclass
class Budget:
    """Counts a block's dearest price before it is sent and its true price when it is back; the two together never pass the limit."""

    limit_usd: float | None
    case_usd: float  # the most that one case may cost
    reserve_usd: float = 0.0  # kept for the proof on the holdout
    index_usd: float = 0.0  # the most that the vectors of one index may cost
    ledger: SpendingFile | None = None
    spent_usd: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        before = self.ledger.read() if self.ledger else Spending()
        self.spent_usd = before.usd
        self._indexes = dict.fromkeys(before.indexes)
        self._building = set[str]()
        self._away: list[Reservation] = []
        self._changed = asyncio.Event()

    def take(self, usd: float) -> Reservation:
        """Set aside what something may cost; raises `OverBudget` when that is more than is left."""
        if self.limit_usd is not None and self.spent_usd + self.away_usd + usd > self.limit_usd - self.reserve_usd:
            raise OverBudget
        sent = Reservation(usd)
        self._away.append(sent)
        self._write()
        return sent

    async def send(self, cases: int) -> Reservation:
        """Set aside what some cases may cost; others on their way may come back cheaper, and are waited for."""
        return await self._send(cases * self.case_usd)

    async def _send(self, usd: float) -> Reservation:
        while True:
            try:
                return self.take(usd)
            except OverBudget:
                if not self._away:
                    raise
            await self._change()

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def send_index(self, index: str) -> Reservation | None:
        """Set aside what the vectors of an index may cost; `None` where they are paid for. Whoever comes second waits for the first."""
        while index in self._building:
            await self._change()
        if not self.owes(index):
            return None
        self._building.add(index)
        try:
            return await self._send(self.index_usd)
        except BaseException:  # not enough money, or cancelled
            self._building.remove(index)
            self._changed.set()
            raise

    def index_back(self, index: str, sent: Reservation, *, built: bool) -> None:
        """It is there; or its building was cut off, and is paid for again when it is begun again."""
        self._building.remove(index)
        if built:
            self._indexes[index] = None
        self.back(sent, None)

    def back(self, sent: Reservation, usd: float | None) -> None:
        """It is back and has cost so much; where that is not known, as much as was set aside."""
        self._away.remove(sent)
        self.spent_usd += sent.usd if usd is None else usd
        self._changed.set()
        self._write()

    def owes(self, index: str) -> bool:
        """Whether the vectors of an index are still to be paid for."""
        return self.index_usd > 0 and index not in self._indexes

    def cost(self, report: EvalReport, judge_usd: float) -> float:
        """What a block has cost; a case dearer than was thought possible makes all later ones count as much."""
        self.case_usd = max([self.case_usd, *(trace.usd for trace in report.traces)])
        usd = spent(report, self.case_usd) + judge_usd
        if len(self._away) <= 1:  # else judges may have been paid for other blocks' cases too
            self.case_usd = max(self.case_usd, usd / len(report.rows))
        return usd

    @property
    def away_usd(self) -> float:
        """What is set aside for work on its way."""
        return sum(sent.usd for sent in self._away)

    def _write(self) -> None:
        if self.ledger:
            self.ledger.write(Spending(usd=self.spent_usd + self.away_usd, indexes=tuple(self._indexes)), sync=self.limit_usd is not None)


def spent(report: EvalReport, case_usd: float = 0.0) -> float:
    """What a report's cases cost now: what was kept from before costs nothing again, a case without a trace may have cost the most."""
    total = 0.0
    for row in report.rows:
        if row.trace is None:
            total += 0.0 if refused(row) else case_usd
            continue
        kept = {stage.stage for stage in row.trace.stages if "kept_ms" in stage.detail}
        total += sum(use.usd for use in row.trace.usage if use.stage not in kept)
    return total
