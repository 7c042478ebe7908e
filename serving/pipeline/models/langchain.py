"""Any other model of LangChain: by a "provider:model" string, or by the import path of its class."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from pydantic import ConfigDict, model_validator

from serving.pipeline.errors import ConfigError
from serving.pipeline.packages import install_command
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings

T = TypeVar("T")
SECRETS = (
    *("api_key", "apikey", "access_key", "secret", "secret_key", "password", "credential", "credentials", "authorization", "cookie"),
    *("auth_token", "access_token", "api_token", "ad_token", "bearer_token", "session_token"),
)
_PASSWORD = re.compile(r"://[^/@:\s]*:[^/?#\s]+@")  # in an address


class PassThroughParams(PlugInParams):
    """Parameters passed to a class of another package unchanged; its documentation lists them."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())

    @model_validator(mode="after")
    def _no_secrets(self) -> "PassThroughParams":
        """A configuration is stored, hashed and logged: no place for a key."""
        for key in _keys(self.arguments):
            if key.lower().replace("-", "_").endswith(SECRETS):
                raise ConfigError(  # not a ValueError: pydantic would show the value
                    f"{key!r} looks like a secret, and a config is stored and logged. Set the provider's environment variable instead."
                )
        for key, value in self.arguments.items():
            if _PASSWORD.search(str(value)):
                raise ConfigError(f"{key!r} holds an address with a password, and a config is stored and logged. Leave the password out.")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The keyword arguments of the class: every parameter that is not declared here."""
        return dict(self.__pydantic_extra__ or {})


def _keys(values: object) -> Iterator[str]:
    """Every key of plain data, however deep."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield str(key)
            yield from _keys(value)
    elif isinstance(values, list | tuple):
        for value in values:
            yield from _keys(value)


class LangChainChat:
    """A chat model by the string that `init_chat_model` takes."""

    class Params(PassThroughParams):
        """Handed to the provider's class as they are."""

    version: ClassVar[str] = "1"
    simulated = False

    def __init__(self, params: Params, *, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self.price_model = name
        self._params = params

    def connect(self) -> BaseChatModel:
        """LangChain's model; the provider's own retries, if any, come on top unless its `max_retries` is set to 0."""
        try:
            from langchain.chat_models import init_chat_model
        except ImportError as error:
            raise ConfigError(f"The model {self.name!r} needs the package langchain. Install it: {install_command('providers')}") from error
        try:
            model: BaseChatModel = init_chat_model(self.name, **self._params.model_dump())
        except Exception as error:
            raise unusable("chat model", self.name, error) from error
        return model


class LangChainEmbeddings:
    """An embedding model by the string that `init_embeddings` takes."""

    class Params(PassThroughParams):
        """Handed to the provider's class as they are."""

    version: ClassVar[str] = "1"
    simulated = False
    batch = 64  # texts per call: every provider of LangChain takes as many

    def __init__(self, params: Params, *, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self.price_model = name
        self._params = params

    def connect(self) -> Embeddings:
        """LangChain's model."""
        try:
            from langchain.embeddings import init_embeddings
        except ImportError as error:
            raise ConfigError(f"The model {self.name!r} needs the package langchain. Install it: {install_command('providers')}") from error
        try:
            model = init_embeddings(self.name, **self._params.model_dump())
        except Exception as error:
            raise unusable("embedding model", self.name, error) from error
        assert isinstance(model, Embeddings)
        return model


class ImportedChat:
    """A LangChain chat model by the import path of its class, made of the parameters."""

    class Params(PassThroughParams):
        """Handed to the class as they are."""

    version: ClassVar[str] = "1"
    simulated = False
    wrapped: ClassVar[type[BaseChatModel]]

    def __init__(self, params: Params, *, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self.price_model = name
        self._params = params

    def connect(self) -> BaseChatModel:
        """The model; its own retries, if any, come on top."""
        return constructed(self.wrapped, self._params.arguments, "chat model")


class ImportedEmbeddings:
    """A LangChain embedding model by the import path of its class, made of the parameters."""

    class Params(PassThroughParams):
        """Handed to the class as they are."""

    version: ClassVar[str] = "1"
    simulated = False
    batch = 64
    wrapped: ClassVar[type[Embeddings]]

    def __init__(self, params: Params, *, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self.price_model = name
        self._params = params

    def connect(self) -> Embeddings:
        """The model."""
        return constructed(self.wrapped, self._params.arguments, "embedding model")


def constructed(wrapped: type[T], params: Mapping[str, Any], kind: str) -> T:
    """An instance of a LangChain class; a failure keeps the words of its own message."""
    try:
        return wrapped(**params)
    except Exception as error:
        raise unusable(kind, f"{wrapped.__module__}:{wrapped.__qualname__}", error) from error


def unusable(kind: str, name: str, error: Exception) -> ConfigError:
    """The error for a model that cannot be constructed, with LangChain's own message: a package, a key, a parameter, a name."""
    message = " ".join(str(error).split())
    return ConfigError(f"The {kind} {name!r} cannot be used: {message[:500] or type(error).__name__}")
