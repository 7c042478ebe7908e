"""The state that every route uses."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from fastapi import Request
from structlog.typing import FilteringBoundLogger

from serving.app.core.audit import ApiAudit
from serving.app.core.auth import KeyFile
from serving.app.core.budget import EVERYBODY, Budgets
from serving.app.core.limits import ConcurrencyLimit, UploadLimit
from serving.app.core.metrics import Metrics
from serving.app.core.problems import not_ready
from serving.app.core.rate import RateWindows
from serving.app.core.result_cache import ResultCache
from serving.app.core.scores import ScoreWriter
from serving.app.core.stores import Stores
from serving.app.documents.service import DocumentService
from serving.app.release.added import DocumentFollower
from serving.app.release.loaded import LoadedRelease
from serving.app.release.manager import ReleaseManager
from serving.app.release.shadow import ShadowRuns
from serving.app.release.trial import Assignment
from serving.app.server.repeats import RepeatedEvents
from serving.app.settings import AppSettings
from serving.app.traces.writer import TraceWriter
from serving.keys import Caller
from serving.pipeline.observer import Observers
from serving.verdict.read import TrialVerdict

if TYPE_CHECKING:
    from serving.app.core.spans import SpanWriter


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of one running API."""

    settings: AppSettings
    release_manager: ReleaseManager
    concurrency: ConcurrencyLimit
    keys: KeyFile | None
    metrics: Metrics
    log: FilteringBoundLogger
    observers: Observers  # of every query: the metrics, and whoever else was given
    repeats: RepeatedEvents
    shadows: ShadowRuns
    budgets: Budgets
    documents: DocumentFollower  # added documents, and what is served of them
    audit: ApiAudit  # who did what
    library: DocumentService  # who may add, read and remove which
    uploads: UploadLimit
    rates: RateWindows
    stores: Stores  # how routes ask them
    traces: TraceWriter | None = None  # None: nothing is kept
    spans: "SpanWriter | None" = None  # None: no receiver of spans is named
    scores: ScoreWriter | None = None  # None: no receiver of scores is named
    wall: Callable[[], float] = time.time
    verdicts: ResultCache[TrialVerdict] = field(default_factory=ResultCache)

    @property
    def authenticated(self) -> bool:
        """Whether callers are identified, by keys or tokens."""
        return self.keys is not None or bool(self.settings.oidc_issuer)

    async def refresh_gauges(self) -> None:
        """Bring up to date what a scrape shows and is not counted as it happens."""
        self.metrics.state(await self.release_manager.probed_readiness())
        if self.settings.usd_per_day is not None:
            self.metrics.budget_spent(await self.budgets.spent_or_own(EVERYBODY))

    def assigned(self, key: str) -> Assignment:
        """The release that answers the holder of this key, or a 503."""
        assignment = self.release_manager.assigned(key)
        if assignment is None:
            raise not_ready()
        return assignment

    def loaded(self) -> LoadedRelease:
        """The release being served, or a 503."""
        if self.release_manager.serving is None:
            raise not_ready()
        return self.release_manager.serving


def service_of(request: Request) -> Service:
    """The service that a request has come to."""
    return cast(Service, request.app.state.service)


def request_caller(request: Request) -> Caller:
    """Who sent a request, as `Authentication` identified it."""
    return cast(Caller, request.state.caller)
