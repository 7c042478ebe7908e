"""What a model source promises: data until `connect()`, a LangChain object after."""

from typing import Protocol

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel


class ChatSource(Protocol):
    """Knows how to reach one chat model and what its tokens cost."""

    price_model: str  # the model whose prices apply, as genai-prices names it
    simulated: bool  # True: nothing is paid, `price_model` is the one this stands in for

    def connect(self) -> BaseChatModel: ...


class EmbeddingSource(Protocol):
    """Knows how to reach one embedding model."""

    price_model: str
    simulated: bool

    def connect(self) -> Embeddings: ...
