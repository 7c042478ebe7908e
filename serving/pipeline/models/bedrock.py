"""Amazon Bedrock: chat models through Converse, embedding models through InvokeModel."""

import logging
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from langchain_core.embeddings import Embeddings
from langchain_core.language_models import BaseChatModel
from pydantic import Field

from serving.pipeline.errors import ConfigError
from serving.pipeline.models.billed_embeddings import counting_tokens, note_tokens
from serving.pipeline.models.diagnose import diagnose
from serving.pipeline.packages import install_command
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.settings import PipelineSettings

if TYPE_CHECKING:
    from botocore.client import BaseClient

CONNECT_S = 5.0  # a host that does not take a call in this time is down


class BedrockChat:
    """A chat model of Bedrock by name: `bedrock_converse:amazon.nova-lite-v1:0`, an inference profile or an ARN."""

    class Params(PlugInParams):
        """What changes its answers."""

        temperature: float | None = Field(default=0.0, ge=0.0, le=1.0)  # None: not sent, as some models demand
        top_p: float | None = Field(default=None, gt=0.0, le=1.0)
        max_tokens: int | None = Field(default=None, ge=1)  # None: what the answer section allows
        provider: str | None = None  # of an ARN, which does not name it: amazon, anthropic, …

    version: ClassVar[str] = "1"
    simulated = False

    def __init__(self, params: Params, *, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self.price_model = model_id(name)
        self._params = params
        self._settings = settings

    def connect(self) -> BaseChatModel:
        """LangChain's model on a client that tries once: retries are ours alone."""
        client = bedrock_client("bedrock-runtime", self.name, self._settings)
        from langchain_aws import ChatBedrockConverse

        chosen = self._params.model_dump(exclude_none=True)
        if self.price_model.startswith("arn:") and "provider" not in chosen:
            raise ConfigError(f"The model {self.name!r} is an ARN: add its `provider`, such as amazon or anthropic.")
        try:
            model: BaseChatModel = ChatBedrockConverse(
                model_id=self.price_model,
                client=client,
                # the control plane resolves application profiles only; the second client would cost time for nothing
                bedrock_client=bedrock_client("bedrock", self.name, self._settings) if "profile/" in self.price_model else client,
                region_name=self._settings.aws_region,
                **chosen,
            )
        except Exception as error:
            raise diagnose(error, self.name).error from error
        return model


class BedrockEmbeddings:
    """An embedding model of Bedrock by name: `bedrock:amazon.titan-embed-text-v2:0`."""

    class Params(PlugInParams):
        """What changes its vectors."""

        dimensions: Literal[256, 512, 1024] | None = 1024  # None: not sent, for models that know one size only
        normalize: bool = True

    version: ClassVar[str] = "1"
    simulated = False
    batch = 1  # Titan takes one text per call

    def __init__(self, params: Params, *, name: str, settings: PipelineSettings) -> None:
        self.name = name
        self.price_model = model_id(name)
        self._params = params
        self._settings = settings

    def connect(self) -> Embeddings:
        """LangChain's model on a client that tries once: retries are ours alone."""
        client = bedrock_client("bedrock-runtime", self.name, self._settings)
        client.meta.events.register("after-call.bedrock-runtime.InvokeModel", _note_tokens)
        from langchain_aws import BedrockEmbeddings as LangChainBedrockEmbeddings

        class TellingEmbeddings(LangChainBedrockEmbeddings):
            """Notes the tokens of a text, which LangChain leaves out: those of the answer's head, else of its body."""

            def _invoke_model(self, input_body: dict[str, Any] = {}) -> dict[str, Any]:  # noqa: B006  # LangChain's own
                with counting_tokens() as counted:
                    answer: dict[str, Any] = super()._invoke_model(input_body)
                tokens = counted[-1] if counted else answer.get("inputTextTokenCount")
                if isinstance(tokens, int):
                    note_tokens(tokens)
                return answer

        # it logs a traceback for every failed call; we raise the failure, or try again
        logging.getLogger("langchain_aws.embeddings.bedrock").setLevel(logging.CRITICAL)
        titan = "amazon.titan-embed-text-v2" in self.price_model  # the one that takes the wish with the call
        try:
            model: Embeddings = TellingEmbeddings(
                model_id=self.price_model,
                client=client,
                region_name=self._settings.aws_region,
                dimensions=self._params.dimensions,
                model_kwargs={"normalize": self._params.normalize} if titan else None,
                normalize=self._params.normalize and not titan,
            )
        except Exception as error:
            raise diagnose(error, self.name).error from error
        return model


def _note_tokens(parsed: dict[str, Any], **_: Any) -> None:
    """The tokens of a text, of the head of an answer."""
    header = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amzn-bedrock-input-token-count", "")
    if header.isdecimal():
        note_tokens(int(header))


def model_id(name: str) -> str:
    """Bedrock's own id in one of our names: what stands after the provider."""
    return name.partition(":")[2]


def bedrock_client(service: str, name: str, settings: PipelineSettings) -> "BaseClient":
    """A boto3 client of a Bedrock service, safe under many threads, that never tries twice."""
    try:
        import boto3
        import langchain_aws  # noqa: F401  # asked for here, so that one message covers both
        from botocore.config import Config
    except ImportError as error:
        raise ConfigError(
            f"{name!r} needs a package that is not installed ({error.name}). Install it: {install_command('bedrock')}"
        ) from error
    timeout_s = settings.model_timeout_s
    config = Config(
        connect_timeout=min(CONNECT_S, timeout_s),
        read_timeout=timeout_s,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=settings.model_concurrency,
    )
    options: dict[str, Any] = {"region_name": settings.aws_region, "endpoint_url": settings.bedrock_endpoint or None, "config": config}
    try:
        session: Any = boto3.Session()  # its stubs list hundreds of services, one overload each
        client: BaseClient = session.client(service, **options)
    except Exception as error:
        if isinstance(error, ValueError):  # botocore's word for an endpoint that is no URL
            raise ConfigError(f"TOUCHSTONE_BEDROCK_ENDPOINT is {settings.bedrock_endpoint!r}: {error}") from error
        raise diagnose(error, name).error from error
    return client
