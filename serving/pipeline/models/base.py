"""The contracts of model sources: plain data until `connect()` returns a LangChain object."""

from typing import Protocol

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel


class ChatSource(Protocol):
    """Connects one chat model and knows its price."""

    price_model: str  # the model whose prices apply, as genai-prices names it
    simulated: bool  # True: nothing is paid, `price_model` is the one this stands in for

    def connect(self) -> BaseChatModel: ...


class EmbeddingSource(Protocol):
    """Connects one embedding model and knows its price."""

    price_model: str
    simulated: bool

    def connect(self) -> Embeddings: ...
