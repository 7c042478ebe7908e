import asyncio
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings

from harness.evaluation.factory import PipelineFactory
from harness.settings import HarnessSettings
from harness.stage_store.chat import CachedChat
from harness.stage_store.embed import CachedTokenEmbeddings
from harness.stage_store.sqlite import SqliteStageStore
from serving.pipeline.config import load_config
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.corpus import load_corpus
from serving.pipeline.prompts import PromptLibrary
from tests.support.world import World


class Telling(Embeddings):
    """Tells a token of one number for each letter, and what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return [1.0]

    def token_vectors(self, text: str) -> Vectors:
        self.asked.append(text)
        return np.array([[ord(letter)] for letter in text], dtype=np.float32)


def test_tokens_are_told_once_while_there_is_room_for_them(tmp_path: Path) -> None:
    model = Telling()
    kept = CachedTokenEmbeddings("m", lambda: model, SqliteStageStore(tmp_path), memory_bytes=8)
    assert [kept.token_vectors(text).ravel().tolist() for text in ("a", "a", "b")] == [[97.0], [97.0], [98.0]]
    assert model.asked == ["a", "b"]
    kept.token_vectors("c")  # a third number is one too many: the one used longest ago goes
    kept.token_vectors("b")
    assert model.asked == ["a", "b", "c"]
    kept.token_vectors("a")
    assert model.asked == ["a", "b", "c", "a"]


def test_configurations_that_name_one_model_share_it_and_what_it_remembers(world: World) -> None:
    places, config = HarnessSettings(), load_config(world.root / "tiny.yaml")
    factory = PipelineFactory(places, load_corpus(places.datasets / "corpora" / "tiny"), PromptLibrary(places.prompts))
    factory.stage_store = SqliteStageStore(world.root / "kept")

    def inner(changes: dict[str, object]) -> object:
        pipeline = asyncio.run(factory.pipeline(config.replace(changes)))
        model = pipeline.answerer._chats["lite"].model
        assert isinstance(model, CachedChat)
        return model.connect()

    assert inner({}) is inner({"answer.max_tokens": 50, "retrieve.top_k": 1})
    assert inner({}) is not inner({"answer.models.lite.max_tokens": 5})


def test_a_model_that_follows_a_script_begins_it_anew_for_each_configuration(world: World) -> None:
    places, config = HarnessSettings(), load_config(world.root / "tiny.yaml")
    factory = PipelineFactory(places, load_corpus(places.datasets / "corpora" / "tiny"), PromptLibrary(places.prompts))
    factory.stage_store = SqliteStageStore(world.root / "kept")
    scripted = config.replace({"answer.models.lite.name": "local:scripted"})
    first, second = (asyncio.run(factory.pipeline(scripted)).answerer._chats["lite"].model for _ in range(2))
    assert first is not second
