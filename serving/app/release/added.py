"""Follows the store of added documents: shows every change to the releases in memory, and indexes what is missing."""

import asyncio
import json
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from structlog.typing import FilteringBoundLogger

from serving.app.release.loaded import LoadedRelease
from serving.app.release.manager import ReleaseManager
from serving.app.settings import AppSettings
from serving.app.traces.writer import TraceWriter
from serving.documents.indexing import IndexedDocuments
from serving.documents.order import Version
from serving.documents.record import STATES, DocumentRecord, State
from serving.documents.store import DocumentStore
from serving.pipeline.cache.answers import ForgetsDocuments
from serving.pipeline.errors import TouchstoneError
from serving.pipeline.index.layered.unused import retire_unused
from serving.pipeline.index.layered.view import PLAIN, LayeredView
from serving.pipeline.index.parse import Parser
from serving.storage.files import write_text

IDLE_POLLS: Final = 5  # polls after which an indexer looks for work that nobody told it of
RETRY_S: Final = 5.0  # after a failure to index
SWEEP_S: Final = 3600.0  # how often what killed writers left, and nobody serves any more, is removed
FORGOTTEN: Final = "forgotten-documents.json"  # of each home, since traces may be: up to which revision deleted documents left them

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class CorpusState:
    """What is served beside the proven corpus."""

    version: str  # a digest of every change to the proven corpus; empty: there is none
    added: int  # documents
    removed: int  # of the proven corpus
    behind_s: float  # since the oldest change that is not served yet, or since the store was last read; 0: nothing waits
    states: dict[State, int]  # documents in each state


@dataclass(frozen=True, slots=True)
class _Deletion:
    """A deletion that was acted on; `settled`: at a time when no answer could still be written from the document."""

    ident: str
    revision: int
    settled: bool


class DocumentFollower:
    """Polls the store of documents. Indexing, and taking deleted words out of traces, are tasks of their own: showing waits for neither."""

    def __init__(
        self,
        documents: DocumentStore,
        manager: ReleaseManager,
        settings: AppSettings,
        log: FilteringBoundLogger,
        *,
        traces: TraceWriter | None = None,
        sleep: Sleep = asyncio.sleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.documents = documents
        self._manager = manager
        self._settings = settings
        self._log = log
        self._traces = traces
        self._sleep = sleep
        self._wall = wall
        self._parser = Parser(workers=2)  # a small file waits for no large one
        self._indexing_due = asyncio.Event()
        self._seen_at = wall()
        self._forgetting_due = asyncio.Event()
        self._answers_s = 2 * settings.request_timeout_s  # after which no answer is being written that began before
        self._forgotten_in_answers: set[_Deletion] = set()
        self._forgotten_in_traces: set[_Deletion] = set()
        self._forgotten_up_to = -1  # up to which revision all were taken out for good; -1: not read yet
        self._failures: dict[str, str] = {}
        self._swept = 0.0
        self._missing_since: dict[Version, float] = {}  # a record's own time changes with its state

    @property
    def view(self) -> LayeredView:
        """What the served release adds to its proven corpus."""
        serving = self._manager.serving
        return serving.documents.view if serving is not None and serving.documents is not None else PLAIN

    @property
    def state(self) -> CorpusState:
        """What is served, and how far it is behind what is wanted."""
        view = self.view
        return CorpusState(view.version, view.added, view.removed, self._behind_s(), self.states())

    def state_of(self, record: DocumentRecord) -> State:
        """The state of a document as far as the served release goes: ready is what is found."""
        serving = self._manager.serving
        indexed = serving.documents if serving is not None else None
        return "indexing" if record.state == "ready" and (indexed is None or not indexed.holds(record)) else record.state

    def states(self) -> dict[State, int]:
        """How many documents are in each state."""
        counts: dict[State, int] = dict.fromkeys(STATES, 0)
        for record in self.documents.current.records.values():
            counts[self.state_of(record)] += 1
        return counts

    def wake(self) -> None:
        """Something was added or deleted: look now."""
        self._indexing_due.set()

    async def run(self) -> None:
        """Follow and index until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(self._forget())
            if self._settings.index_documents:
                tasks.create_task(self._index())

    async def refresh(self) -> None:
        """Show what was changed; an outage leaves what is served as it is."""
        with self._logged("documents not followed"):
            await asyncio.to_thread(self.documents.refresh)
            for release in self._manager.in_memory:  # the last one too: a rollback must not bring back what was deleted
                added = release.documents
                if added is not None and await added.refresh(documents=added.documents is not self.documents):
                    view = added.view
                    facts = {"corpus_version": view.version, "added": view.added, "removed": view.removed}
                    self._log.info("corpus served", release=release.digest, **facts)
            if self._forgotten_up_to < 0:
                self._forgotten_up_to = await asyncio.to_thread(self._read_marker)
                if self._traces is not None:
                    self._traces.replay(self._deleted_until)
            await self._forget_answers()
            if self._deletions_due(self._forgotten_in_traces):
                self._forgetting_due.set()
            self._seen_at = self._wall()
            self._behind_s()
            if any(release.documents is not None and release.documents.unfinished for release in self._loaded()):
                self._indexing_due.set()

    async def index_once(self) -> bool:
        """Index a batch for each release that answers; whether there may be more to do."""
        more = False
        for release in self._loaded():
            if release.documents is not None:
                done = await release.documents.step(self._parser)
                more = more or done.anything
                if done.documents or done.failed:
                    self._log.info("documents indexed", release=release.digest, documents=done.documents, failed=done.failed)
        if self._wall() - self._swept > SWEEP_S:
            self._swept = self._wall()
            await self._sweep()
        return more

    async def aclose(self) -> None:
        """End what parses files."""
        await asyncio.to_thread(self._parser.close)

    async def mark_used(self) -> None:
        """Mark the index configurations in memory as used, once a day: others are emptied, since nobody drops deleted documents there."""
        with self._logged("index configurations not marked as used"):
            for added in self._in_memory():
                await asyncio.to_thread(added.additions.mark_used)

    async def _sweep(self) -> None:
        """Remove what killed writers left, and words that are wanted no more, in what is in memory and in what nobody serves."""
        await asyncio.to_thread(self.documents.remove_orphans)
        for added in self._in_memory():
            await asyncio.to_thread(added.remove_orphans)
            await asyncio.to_thread(added.tidy)
        kept = {added.additions.recipe.index for added in self._in_memory()}
        for recipe in await asyncio.to_thread(retire_unused, self.documents.storage, kept):
            self._log.info("index configuration retired", recipe=recipe, reason="nobody serves it: its rows of added documents are removed")

    def _in_memory(self) -> list[IndexedDocuments]:
        """The added documents of every release in memory, also of the one that a rollback would bring back."""
        return [release.documents for release in self._manager.in_memory if release.documents is not None]

    async def _follow(self) -> None:
        while True:
            await self.refresh()
            await self.mark_used()
            await self._sleep(self._settings.documents_poll_s)

    async def _index(self) -> None:
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(IDLE_POLLS * self._settings.documents_poll_s):
                    await self._indexing_due.wait()
            self._indexing_due.clear()
            failed = True
            with self._logged("documents not indexed"):
                while await self.index_once():
                    pass
                failed = False
            if failed:
                await self._sleep(RETRY_S)

    async def _forget(self) -> None:
        while True:
            await self._forgetting_due.wait()
            self._forgetting_due.clear()
            with self._logged("deleted documents not forgotten"):
                await self.forget_words()

    async def _forget_answers(self) -> None:
        """Take deleted documents out of cached answers: at once, and again when no query can still have them."""
        for record, key in self._deletions_due(self._forgotten_in_answers):
            for release in self._manager.in_memory:
                if isinstance(release.pipeline.cache, ForgetsDocuments):
                    await release.pipeline.cache.forget_document(record.id)
            self._forgotten_in_answers.add(key)

    async def forget_words(self) -> None:
        """Take the words of deleted documents out of traces, at once and again as above; what is done for good is marked."""
        for record, key in self._deletions_due(self._forgotten_in_traces):
            if key.settled and key not in self._forgotten_in_answers:
                continue  # it settled just now: at the next look
            if self._traces is not None:
                await asyncio.to_thread(self._traces.forget_document, record.id, _seconds(record.updated_at) + self._answers_s)
            self._forgotten_in_traces.add(key)
        marked = self._done_up_to()
        if marked > self._forgotten_up_to:
            await asyncio.to_thread(write_text, self._settings.home / FORGOTTEN, json.dumps({"revision": marked}))
            self._forgotten_up_to = marked
            for done in (self._forgotten_in_answers, self._forgotten_in_traces):
                done.difference_update([key for key in done if key.revision <= marked])

    def _deletions_due(self, done: set["_Deletion"]) -> list[tuple[DocumentRecord, "_Deletion"]]:
        """Deletions that are not among those done, in their order."""
        return [(record, key) for record, key in self._unmarked() if key not in done]

    def _unmarked(self) -> list[tuple[DocumentRecord, "_Deletion"]]:
        """Deletions that are not marked as done for good, in their order."""
        settled = self._wall() - self._answers_s
        deleted = [
            one for one in self.documents.current.records.values() if one.state == "deleted" and one.revision > self._forgotten_up_to
        ]
        found = [(record, _Deletion(record.id, record.revision, _seconds(record.updated_at) <= settled)) for record in deleted]
        return sorted(found, key=lambda one: one[1].revision)

    def _done_up_to(self) -> int:
        """The revision up to which every deletion is done for good: where clocks differ, a later one may settle first."""
        done = self._forgotten_in_answers & self._forgotten_in_traces
        keys = [key for _, key in self._unmarked()]
        first_open = min((key.revision for key in keys if not key.settled or key not in done), default=math.inf)
        return max((key.revision for key in keys if key.revision < first_open), default=self._forgotten_up_to)

    def _deleted_until(self) -> dict[str, float]:
        """Every document that was deleted, and until when answers may have words of it."""
        deleted = [record for record in self.documents.current.records.values() if record.state == "deleted"]
        return {record.id: _seconds(record.updated_at) + self._answers_s for record in deleted}

    def _read_marker(self) -> int:
        try:
            return int(json.loads((self._settings.home / FORGOTTEN).read_text(encoding="utf-8"))["revision"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def _loaded(self) -> list[LoadedRelease]:
        """The releases that may answer."""
        candidate = self._manager.candidate
        found = [self._manager.serving, candidate.loaded if candidate else None]
        return [release for release in found if release is not None]

    def _behind_s(self) -> float:
        serving = self._manager.serving
        now = self._wall()
        unread = now - self._seen_at
        waiting = serving.documents.missing() if serving is not None and serving.documents is not None else []
        since = {(record.id, record.content): _seconds(record.updated_at) for record in waiting}
        self._missing_since = {version: self._missing_since.get(version, at) for version, at in since.items()}
        oldest = min(self._missing_since.values(), default=now)
        late = unread if unread > 3 * self._settings.documents_poll_s else 0.0
        return round(max(now - oldest, late, 0.0), 3)

    def _logged(self, event: str) -> "_Logged":
        return _Logged(self._log, self._failures, event)


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


class _Logged:
    """Logs a failure once, and that it is over; nothing but a cancellation leaves the block."""

    def __init__(self, log: FilteringBoundLogger, failures: dict[str, str], event: str) -> None:
        self._log = log
        self._failures = failures
        self._event = event

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> bool:
        if error is None:
            if self._failures.pop(self._event, None):
                self._log.info(f"{self._event.replace(' not', '')} again")
            return False
        if not isinstance(error, Exception):
            return False
        reason = str(error) if isinstance(error, TouchstoneError) else f"{type(error).__name__}: {error}"
        if self._failures.get(self._event) != reason:
            report = self._log.warning if isinstance(error, TouchstoneError) else self._log.exception
            report(self._event, reason=reason, effect="what is served stays as it is")
        self._failures[self._event] = reason
        return True
