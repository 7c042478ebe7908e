"""Corpora to index, workers in this process, and what an index holds and finds."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from pathlib import Path
from typing import Any

from harness.index_build.build import ShardedIndex, build_sharded
from harness.index_build.plan import PartLimits
from harness.index_build.worker import carry_out
from harness.progress import TaskProgress
from harness.settings import HarnessSettings
from serving.pipeline.config import RagConfig
from serving.pipeline.index.base import Filter
from serving.pipeline.index.build import OpenIndex, build_index, open_index_at
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.index.embed import embed
from serving.storage.place import below

CONFIG = RagConfig().replace({"index.embedder.name": "local:hashing", "index.chunker.size": 300})
SMALL = PartLimits(bytes=4000, files=3)
QUESTIONS = ["How many weeks has rule 7?", "Widget 3 costs", "page of html"]


def write_corpus(folder: Path, documents: int = 12) -> Path:
    """Files of several kinds with rules beside them; some are skipped, and one rule matches no document."""
    files = {f"hr/rule{n}.md": f"# Rule {n}\n\n" + f"Leave rule {n} gives {n} weeks. " * 40 for n in range(documents)}
    files |= {
        "hr/secret.md": "---\ngroups: [legal]\ntitle: Secret\n---\nThe secret clause gives 99 weeks.\n",
        "it/widget.txt": "\n".join(f"Widget {n} costs {n} EUR." for n in range(50)),
        "it/page.html": "<html><head><title>Page</title></head><body><h1>Page</h1><p>A page of html.</p></body></html>",
        "it/empty.md": " \n",
        "it/logo.png": "no text",
        "README.md": "About it.",
        "corpus.yaml": "name: acme\ndomains: {hr: people, nowhere: x}\n",
        "corpus.d/more.yaml": "it/widget.txt: {title: Widgets, version: '2'}\n",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def write_lines(path: Path, documents: int = 20) -> Path:
    rows = [{"id": f"d{n}", "title": f"Doc {n}", "text": f"Leave rule {n} gives {n} weeks. " * 30} for n in range(documents)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\ufeff" + "".join(json.dumps(row) + "\n" for row in rows))
    return path


class Here:
    """Workers in this process: each order is carried out as a worker of Ray would, and counted."""

    def __init__(self) -> None:
        self.workers = 2
        self.orders: list[dict[str, Any]] = []

    async def __aenter__(self) -> "Here":
        return self

    async def __aexit__(self, *reason: object) -> None:
        pass

    async def run(self, orders: Iterable[str]) -> AsyncGenerator[tuple[int, str], None]:
        for place, order in enumerate(orders):
            self.orders.append(json.loads(order))
            yield place, await asyncio.to_thread(self.carried_out, order)

    def carried_out(self, order: str) -> str:
        return carry_out(order)

    def count(self, do: str) -> int:
        return sum(1 for order in self.orders if order["do"] == do)


def silent(what: str, done: int, total: int) -> None:
    """Progress that nobody sees."""


async def build_here(
    corpus: Path | str,
    settings: HarnessSettings,
    workers: Any = None,
    config: RagConfig = CONFIG,
    limits: PartLimits = SMALL,
    progress: TaskProgress = silent,
) -> ShardedIndex:
    """Build with parts so small that there are several."""
    return await build_sharded(config, str(corpus), settings, workers or Here(), progress=progress, limits=limits)


async def build_alone(corpus: Path, settings: HarnessSettings, config: RagConfig = CONFIG) -> OpenIndex:
    """The same as one process builds it."""
    return await build_index(load_corpus(corpus), config, settings=settings)


async def opened(built: ShardedIndex, settings: HarnessSettings) -> OpenIndex:
    """A built index, every row of it checked."""
    return await open_index_at(below(settings.index_root, built.manifest.recipe), settings, whole=True)


async def findings(index: OpenIndex) -> list[Any]:
    """What vectors and words find, with scores."""
    found = []
    for question in QUESTIONS:
        [vector] = await embed(index.embeddings, [question])
        found += [await index.store.search_vector(vector, 10, Filter()), await index.store.search_text(question, 10, Filter())]
    return found


async def assert_same(built: ShardedIndex, settings: HarnessSettings, alone: OpenIndex) -> None:
    """The two are the same index."""
    manifest, expected = built.manifest, alone.manifest
    varies = {"store_version", "data", "created_at", "sums_sha256", "checksum"}
    assert manifest.model_dump(exclude=varies) == expected.model_dump(exclude=varies)
    assert await findings(await opened(built, settings)) == await findings(alone)
