import pytest

from harness.metrics import METRICS
from serving.pipeline.cache import CACHES
from serving.pipeline.errors import ConfigError
from serving.pipeline.guard import CHECKS
from serving.pipeline.index import CHUNKERS, STORES
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.models import CHAT_MODELS, EMBEDDINGS
from serving.pipeline.registry import Params, Registry, Spec
from serving.pipeline.retrieve import FUSIONS, RERANKERS, SEARCHERS
from serving.pipeline.route import ROUTERS

TABLES: list[Registry[object]] = [
    CHUNKERS, STORES, CHAT_MODELS, EMBEDDINGS, SEARCHERS, FUSIONS, RERANKERS, ROUTERS, CHECKS, CACHES, METRICS, LOADERS
]  # fmt: skip
NAMES = [pytest.param(table, name, id=f"{table.kind}-{name}") for table in TABLES for name in table.names()]


@pytest.mark.parametrize(("table", "name"), NAMES)
def test_every_name_in_every_table_has_parameters_and_a_version(table: Registry[object], name: str) -> None:
    plugin = table.load(name)
    assert issubclass(plugin.Params, Params)
    assert plugin.version


@pytest.mark.parametrize(("table", "name"), NAMES)
def test_every_plug_in_has_defaults_for_all_its_parameters(table: Registry[object], name: str) -> None:
    complete = table.complete(Spec(name=name))
    assert table.complete(complete) == complete


def test_a_provider_is_served_by_its_pattern_and_local_names_are_not_guessed() -> None:
    assert CHAT_MODELS.load("bedrock_converse:amazon.nova-lite-v1:0").__name__ == "BedrockChat"
    assert CHAT_MODELS.load("openai:gpt-any").__name__ == "LangChainChat"
    for wrong in ("local:reader", "reader-lite"):
        with pytest.raises(ConfigError, match="No chat model"):
            CHAT_MODELS.load(wrong)
