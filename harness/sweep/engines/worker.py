"""A worker: one pipeline factory, kept as long as the process lives, that builds indexes and scores cases as ordered."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from typing import Any

from harness.evaluation.context import open_context
from harness.evaluation.evaluator import Evaluator
from harness.evaluation.factory import PipelineFactory
from harness.golden.case import Case
from harness.golden.sets import Split
from harness.results.report_file import parse_report, report_text
from harness.settings import read_settings
from harness.sweep.cost.judge_costs import JudgeCosts, counting_costs
from harness.sweep.engines.base import PipelineNotBuilt, ScoredBlock, StoreCounts, WorkerPlan
from serving.pipeline import errors
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import RequestError, TouchstoneError, UserError
from serving.pipeline.packages import add_current_folder
from serving.pipeline.progress import Progress


def index_order(config: RagConfig) -> str:
    """An index to build, as JSON."""
    return json.dumps({"config": config.model_dump(mode="json")}, ensure_ascii=False)


def score_order(config: RagConfig, cases: Split) -> str:
    """Cases of a configuration to score, as JSON."""
    rows = [case.model_dump(mode="json") for case in cases.cases]
    about = {"golden": cases.golden, "name": cases.name, "golden_digest": cases.golden_digest}
    return json.dumps({"config": config.model_dump(mode="json"), "split": about, "cases": rows}, ensure_ascii=False)


def read_scored(text: str) -> ScoredBlock:
    """A worker's reply to cases; a failure that Touchstone foresees is raised here as it was there."""
    head, _, body = text.partition("\n")
    reply = _read_reply(head)
    return ScoredBlock(parse_report(body, "a worker's answer"), reply["counts"], reply["judge_usd"])


def read_indexed(text: str) -> StoreCounts:
    """A worker's reply to an index order, likewise."""
    counts: StoreCounts = _read_reply(text)["counts"]
    return counts


def _read_reply(head: str) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(head)
    if "error" in reply:
        reason: TouchstoneError = getattr(errors, reply["error"], errors.InfrastructureError)(reply["message"])
        raise reason if reply["started"] else PipelineNotBuilt(reason)
    return reply


class Worker:
    """Builds indexes and scores cases; counts what the stage store is asked for it."""

    def __init__(self, factory: PipelineFactory, evaluator: Evaluator, judge_costs: JudgeCosts) -> None:
        self.factory = factory
        self.evaluator = evaluator
        self._judge_costs = judge_costs

    async def index(self, config: RagConfig) -> StoreCounts:
        """Build an index, if it is not there yet."""
        await self.factory.index(config)
        return self.take_counts()

    async def score(self, config: RagConfig, cases: Split) -> ScoredBlock:
        """Score a configuration on some cases; what the store is asked for blocks at the same time is counted with one of them."""
        try:
            report = await self.factory.evaluate(config, cases, self.evaluator)
        except UserError as error:
            if not await self._builds(config):
                raise PipelineNotBuilt(error) from None
            raise
        return ScoredBlock(report, self.take_counts(), self._judge_costs.take())

    async def _builds(self, config: RagConfig) -> bool:
        try:
            await self.factory.pipeline(config)
        except UserError as error:
            return isinstance(error, RequestError)  # of an index: somebody was asked
        return True

    def take_counts(self) -> StoreCounts:
        """Hits and misses of the stage store since this was last called."""
        return self.factory.stage_store.counts.take() if self.factory.stage_store else {}


def make_worker(plan: WorkerPlan, index_progress: Progress | None = None) -> Worker:
    """A worker by the plan and the settings of this process."""
    add_current_folder()
    settings = read_settings(**plan.settings)
    settings = settings.model_copy(update={"limit_shares": settings.limit_shares * plan.limit_shares})
    context = open_context(
        plan.corpus,
        settings,
        judge=plan.judge,
        store=plan.store,
        replay_only=plan.replay_only,
        began_s=plan.began_s or None,
        index_progress=index_progress,
    )
    judge_costs = JudgeCosts()
    context = replace(context, tools=counting_costs(context.tools, judge_costs))
    return Worker(
        replace(context.factory, computed=plan.computed), context.evaluator(plan.metrics, plan.concurrency, part=True), judge_costs
    )


def failure_text(error: TouchstoneError, *, started: bool = True) -> str:
    """A failure in words: not every exception survives the way between processes."""
    return json.dumps({"error": type(error).__name__, "message": str(error), "started": started})


class WorkerLoop:
    """A worker in a process of its own: plain text in, plain text out."""

    def __init__(self, plan: str) -> None:
        raw: dict[str, Any] = json.loads(plan)
        self._worker = make_worker(WorkerPlan(**{**raw, "metrics": tuple(raw["metrics"])}))
        self._loop = asyncio.new_event_loop()  # one for all orders: open indexes belong to it

    def run(self, text: str) -> str:
        """Carry out an order."""
        try:
            return self._loop.run_until_complete(self._carry_out(json.loads(text)))
        except TouchstoneError as error:
            return failure_text(error)
        except PipelineNotBuilt as error:
            return failure_text(error.reason, started=False)

    async def _carry_out(self, raw: Mapping[str, Any]) -> str:
        config = RagConfig.parse(raw["config"])
        if "cases" not in raw:
            return json.dumps({"counts": await self._worker.index(config)})
        about, cases = raw["split"], tuple(Case.model_validate(row) for row in raw["cases"])
        scored = await self._worker.score(config, Split(about["golden"], about["name"], cases, about["golden_digest"]))
        return json.dumps({"counts": scored.counts, "judge_usd": scored.judge_usd}) + "\n" + report_text(scored.report)


def plan_text(plan: WorkerPlan) -> str:
    """A plan as JSON."""
    return json.dumps(asdict(plan))


def end_with(driver: Connection) -> None:
    """End this process as soon as the driver closes its end of a pipe or is gone."""

    def watch() -> None:
        with contextlib.suppress(EOFError, OSError):
            driver.recv_bytes()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
