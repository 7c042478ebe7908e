"""A tiny company, its release, and an app over it."""

import asyncio
import io
import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from serving.app.core.telemetry import make_logger
from serving.app.main import create_app
from serving.app.release.loaded import LoadedRelease, load
from serving.app.release.manager import ReleaseManager
from serving.app.release.probe import StoreProbe
from serving.app.settings import AppSettings
from serving.pipeline.answer.answerer import Emit
from serving.pipeline.answer.resilient import WhenDown
from serving.pipeline.artefacts import FolderArtefacts, collect_artefacts
from serving.pipeline.config import RagConfig
from serving.pipeline.guard.placeholders import Placeholders
from serving.pipeline.index.build import build_index
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.observer import Observer
from serving.pipeline.pipeline import RagPipeline
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document, Query, Trace
from serving.release.bundle import write_release
from serving.storage.base import Storage
from tests.support.releasing import at, point
from tests.support.waiting import WITHIN_S

PROMPTS = Path(__file__).parents[2] / "prompts"
SAYS = "Everyone has 28 days of paid leave a year [1]."
QUESTION = "How many days of paid leave does everyone have?"

PATIENCE = ("header", "body", "idle", "send", "upload", "request", "otlp")
PATIENT: dict[str, Any] = {f"{name}_timeout_s": WITHIN_S for name in PATIENCE} | {"catch_up_s": WITHIN_S}

DOCUMENTS = [
    Document("leave.md", "# Leave\n\nEveryone has 28 days of paid leave a year, taken in whole or half days.", "Leave policy", "hr"),
    Document("expenses.md", "# Expenses\n\nReceipts above 25 euro are kept for seven years.", "Expenses", "finance"),
    Document("release.md", "# Releases\n\nThe service is released on Tuesdays after the smoke test.", "Release runbook", "engineering"),
    Document(
        "brand.md",
        "# Brand\n\nThe logo stands on white, never on gold.",
        "Brand guide",
        "marketing",
        version="4",
        metadata={"status": "current"},
    ),
    Document("salaries.md", "# Salaries\n\nPaid leave of directors: 40 days a year.", "Salaries", "hr", groups=("acme/board", "board")),
]


def config(says: str = SAYS, **changes: Any) -> RagConfig:
    """A configuration that needs little memory and always says the same."""
    echo = {"name": "local:echo", "text": says}
    base = RagConfig.parse(
        {
            "index": {"embedder": {"name": "local:hashing"}},
            "route": {"router": {"name": "always", "tier": "lite"}},
            "answer": {"models": {"lite": echo, "pro": echo}},
        }
    )
    return base.replace(changes) if changes else base


@dataclass(frozen=True)
class House:
    """A folder with an index and releases."""

    root: Path

    @property
    def releases(self) -> Path:
        return self.root / "releases"

    @property
    def storage(self) -> Storage:
        return at(self.releases)

    @property
    def places(self) -> PipelineSettings:
        return PipelineSettings(home=self.root / "home", _env_file=None)

    def settings(self, **changes: Any) -> AppSettings:
        """With more patience than a server has, except where a test says otherwise: this machine may be slow and busy."""
        return AppSettings(home=self.root / "home", releases=str(self.releases), _env_file=None, **PATIENT | changes)

    async def release(self, chosen: RagConfig, *, channel: str | None = "dev", documents: Sequence[Document] = DOCUMENTS) -> str:
        """Build what is missing, write the release and point the channel at it."""
        corpus = Corpus.of("tiny", documents)
        index = await build_index(corpus, chosen, settings=self.places)
        carried = collect_artefacts(chosen, FolderArtefacts(self.places.artefact_folder))
        made = write_release(self.storage, chosen, PromptLibrary(PROMPTS), index.manifest, artefacts=carried)
        if channel:
            point(self.storage, channel, made.digest)
        return made.digest

    def copy(self, to: Path) -> "House":
        shutil.copytree(self.root, to, ignore=shutil.ignore_patterns("audit.db*"))  # what was done in the other house was not done here
        return House(to)


@dataclass(frozen=True)
class Open:
    """An app that runs, its client, what it serves, and what it logs."""

    app: FastAPI
    client: httpx.AsyncClient
    release_manager: ReleaseManager
    _log: io.StringIO

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._log.getvalue().splitlines()]

    @property
    def log_text(self) -> str:
        return self._log.getvalue()

    async def ask(self, question: str = QUESTION, **more: Any) -> httpx.Response:
        return await self.client.post("/v1/query", json={"question": question, **more})

    async def metric(self, name: str) -> list[str]:
        text = (await self.client.get("/metrics")).text
        return [line for line in text.splitlines() if line.startswith(name)]


async def never(seconds: float) -> None:
    """A sleep that only cancelling ends, so a test looks at the channel when it wants to."""
    await asyncio.Event().wait()


Loading = Callable[..., Awaitable[LoadedRelease]]


@asynccontextmanager
async def opened(settings: AppSettings, *, load: Loading = load, sleep: Callable[[float], Awaitable[None]] = never) -> AsyncIterator[Open]:
    """The app with its lifespan, after its first look at the channel."""
    stream = io.StringIO()
    log = make_logger(settings, stream)
    manager = ReleaseManager(settings, log, load=load, sleep=sleep, probe=StoreProbe(timeout_s=WITHIN_S))
    app = create_app(settings, release_manager=manager, log=log)
    transport = httpx.ASGITransport(app=app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await manager.refresh()
        yield Open(app, client, manager, stream)


Answering = Callable[[Query, Emit | None], Awaitable[None]]


@dataclass(frozen=True)
class Interrupted:
    """A pipeline to which something happens before it answers."""

    inner: RagPipeline
    before: Answering
    mute: bool = False  # whether nothing is streamed, as for a remembered answer

    @property
    def config_digest(self) -> str:
        return self.inner.config_digest

    @property
    def cache(self) -> Any:
        return self.inner.cache

    async def aclose(self) -> None:
        await self.inner.aclose()

    @property
    def index(self) -> Any:
        return self.inner.index

    @property
    def most_usd(self) -> float:
        return self.inner.most_usd

    async def answer(
        self,
        query: Query,
        *,
        emit: Emit | None = None,
        observer: Observer | None = None,
        placeholders: Placeholders | None = None,
        when_down: WhenDown = WhenDown.FAIL,
    ) -> Trace:
        await self.before(query, emit)
        shown = None if self.mute else emit
        return await self.inner.answer(query, emit=shown, observer=observer, placeholders=placeholders, when_down=when_down)


def interrupted(before: Answering, *, mute: bool = False) -> Loading:
    """Loads the release and puts something in front of its pipeline."""

    async def loading(
        settings: AppSettings, digest: str, last: LoadedRelease | None = None, *, evidence: str | None = None
    ) -> LoadedRelease:
        real = await load(settings, digest, last, evidence=evidence)
        return replace(real, pipeline=Interrupted(real.pipeline, before, mute))  # type: ignore[arg-type]

    return loading


def manifest_of(house: House, digest: str) -> IndexManifest:
    """The index manifest inside a release."""
    return IndexManifest.model_validate_json((house.releases / digest / "index.json").read_text())


def events(text: str) -> list[tuple[str, Mapping[str, Any]]]:
    """The events of a stream, by name."""
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found
