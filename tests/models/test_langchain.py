"""Any other provider by its string; what is missing is named."""

import sys
import types

import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from serving.pipeline.errors import ConfigError, ModelError, RequestError, ThrottledError
from serving.pipeline.models import CHAT_MODELS
from serving.pipeline.models.connect import connect_chat, connect_embeddings
from serving.pipeline.models.retry import RetryPolicy
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings

SETTINGS = PipelineSettings(_env_file=None, model_attempts=2)


class HttpError(Exception):
    """As the clients of many providers raise it: a status, and words."""

    def __init__(self, status_code: int) -> None:
        super().__init__(f"status {status_code}")
        self.status_code = status_code


class GroqStandIn(BaseChatModel):
    """A native asynchronous model in the place of a provider's package."""

    model: str
    temperature: float = 1.0
    status: int = 0

    @property
    def _llm_type(self) -> str:
        return "stand-in"

    def _generate(self, *_: object, **__: object) -> ChatResult:
        raise AssertionError("a model with an asynchronous way is asked that way")

    async def _agenerate(self, *_: object, **__: object) -> ChatResult:
        if self.status:
            raise HttpError(self.status)
        return ChatResult(generations=[ChatGeneration(message=AIMessage(f"{self.model} at {self.temperature}"))])


class OllamaStandIn(DeterministicFakeEmbedding):
    """Vectors with no service, in the place of a provider's package."""

    size: int = 8
    model: str


@pytest.fixture
def providers(monkeypatch: pytest.MonkeyPatch):
    """Two provider packages as modules, so that LangChain's own lookup by string is what runs."""
    groq, ollama = types.ModuleType("langchain_groq"), types.ModuleType("langchain_ollama")
    groq.ChatGroq = GroqStandIn  # type: ignore[attr-defined]
    ollama.OllamaEmbeddings = OllamaStandIn  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "langchain_groq", groq)
    monkeypatch.setitem(sys.modules, "langchain_ollama", ollama)
    yield
    from langchain.chat_models.base import _get_chat_model_creator
    from langchain.embeddings.base import _get_embeddings_class_creator

    _get_chat_model_creator.cache_clear()  # it would hand the stand-ins to later tests
    _get_embeddings_class_creator.cache_clear()


@pytest.mark.usefixtures("providers")
async def test_parameters_are_handed_to_the_provider():
    connected = connect_chat(Spec(name="groq:llama-9", temperature=0.5), SETTINGS)
    assert (await connected.model.ainvoke("Hi.")).text == "llama-9 at 0.5"
    assert connected.source.price_model == "groq:llama-9"


@pytest.mark.usefixtures("providers")
@pytest.mark.parametrize(
    ("status", "error"), [(429, ThrottledError), (503, ModelError), (401, ConfigError), (404, ConfigError), (400, RequestError)]
)
async def test_http_statuses_become_our_errors(status: int, error: type[Exception]):
    async def at_once(_: float) -> None: ...

    connected = connect_chat(Spec(name="groq:llama-9", status=status), SETTINGS, RetryPolicy("groq:llama-9", SETTINGS, sleep=at_once))
    with pytest.raises(error, match=f"HTTP {status}") as caught:
        await connected.model.ainvoke("Hi.")
    assert type(caught.value) is error


@pytest.mark.usefixtures("providers")
async def test_embeddings_go_out_in_batches_and_keep_their_order():
    embeddings = connect_embeddings(Spec(name="ollama:nomic"), SETTINGS)
    texts = [f"text {number}" for number in range(150)]
    assert await embeddings.aembed_documents(texts) == OllamaStandIn(model="x").embed_documents(texts)
    assert embeddings.embed_query("text 3") == OllamaStandIn(model="x").embed_query("text 3")


@pytest.mark.parametrize("name", ["upstage:solar", "nonsense:model", "groq:"])
def test_a_model_that_cannot_be_made_is_a_config_error_with_langchains_advice(name: str):
    with pytest.raises(ConfigError, match=rf"chat model '{name}' cannot be used"):
        connect_chat(Spec(name=name), SETTINGS)


def test_a_missing_provider_package_is_named():
    with pytest.raises(ConfigError, match="pip install langchain-upstage"):
        connect_chat(Spec(name="upstage:solar"), SETTINGS)
    with pytest.raises(ConfigError, match="pip install langchain-cohere"):
        connect_embeddings(Spec(name="cohere:embed"), SETTINGS)


@pytest.mark.parametrize("key", ["api_key", "openai_api_key", "aws_secret_access_key", "password"])
def test_a_secret_in_the_configuration_is_refused_without_being_shown(key: str):
    with pytest.raises(ConfigError, match=key) as caught:
        CHAT_MODELS.params(Spec(name="openai:gpt-4o", **{key: "hush-123"}))
    assert "hush-123" not in str(caught.value)
