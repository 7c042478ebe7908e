"""A sweep over chunk sizes holds the last few indexes open, and the vectors of their model once."""

from pathlib import Path

import pytest

from harness.evaluation.factory import INDEXES_OPEN, PipelineFactory
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.index.corpus import Corpus
from serving.pipeline.index.resident.store import ResidentStore
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Document, Query
from tests.support.pipelines import CONFIG, PROMPTS

TEXT = "Everyone has 28 days of paid leave a year. " * 20
SIZES = range(100, 100 + 50 * (INDEXES_OPEN + 2), 50)


@pytest.fixture
def factory(tmp_path: Path) -> PipelineFactory:
    settings = PipelineSettings(home=tmp_path, _env_file=None)
    return PipelineFactory(settings, Corpus.of("small", [Document("leave", TEXT)]), PROMPTS, None, SqliteStageStore(tmp_path / "stages"))


async def test_only_the_last_few_indexes_stay_open_and_a_closed_one_still_answers(factory: PipelineFactory) -> None:
    configs = [CONFIG.replace({"index.store.name": "lancedb", "index.chunker.size": size, "index.chunker.overlap": 0}) for size in SIZES]
    indexes = [await factory.index(config) for config in configs]
    stores = [index.store for index in indexes]
    assert all(isinstance(store, ResidentStore) for store in stores)
    assert [store._opened is not None for store in stores] == [False] * 2 + [True] * INDEXES_OPEN  # type: ignore[attr-defined]
    assert await factory.index(configs[-1]) is indexes[-1], "opened twice"
    assert (await factory.index(configs[0])).manifest == indexes[0].manifest
    assert stores[2]._opened is None, "the one that was used longest ago goes"  # type: ignore[attr-defined]
    used = await factory.pipeline(configs[3])
    for config in (configs[0], configs[1], configs[2]):
        await factory.index(config)
    assert (await used.answer(Query("How many days of leave are there?"))).hits


async def test_indexes_of_one_model_share_what_it_keeps(factory: PipelineFactory) -> None:
    first, second = [await factory.index(CONFIG.replace({"index.chunker.size": size})) for size in (300, 400)]
    other = await factory.index(CONFIG.replace({"index.embedder.dimensions": 64}))
    assert first.embeddings is second.embeddings
    assert other.embeddings is not first.embeddings
