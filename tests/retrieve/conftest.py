"""A small company's chunks in every store."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from small_handbook import HANDBOOK, cut

from serving.pipeline.index import STORES
from serving.pipeline.index.base import Store
from serving.pipeline.models.hashing import HashingEmbeddings
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Chunk

DIMENSIONS = 64


@pytest.fixture(scope="session")
def embeddings() -> HashingEmbeddings:
    return HashingEmbeddings(DIMENSIONS)


MakeStore = Callable[[str, Sequence[Chunk]], Store]


@pytest.fixture(scope="session")
def make_store(tmp_path_factory: pytest.TempPathFactory, embeddings: HashingEmbeddings) -> MakeStore:
    def make(name: str, chunks: Sequence[Chunk]) -> Store:
        place: Path = tmp_path_factory.mktemp("store")
        store = STORES.build(Spec(name=name), uri=str(place), dimensions=DIMENSIONS, settings=PipelineSettings(home=place))

        async def fill() -> None:
            texts = [chunk.text for chunk in chunks]
            await store.add(chunks, texts, embeddings.vectors(texts))
            await store.finish()

        asyncio.run(fill())
        return store

    return make


@pytest.fixture(scope="session", params=STORES.names())
def handbook_store(request: pytest.FixtureRequest, make_store: MakeStore) -> Store:
    return make_store(request.param, cut(HANDBOOK, 120, 40))
