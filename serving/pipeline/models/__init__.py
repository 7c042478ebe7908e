"""Chat and embedding models behind LangChain's own interfaces: their tables.

A name is what `init_chat_model` and `init_embeddings` take ("provider:model"); a table line ending in `:*` serves every
model of that provider, and `*` every provider LangChain knows. `module:Class` is a class from outside where the module has a dot
in its name, or is one that can be imported and no provider, and the class has a capital letter.
"""

from serving.pipeline.models.base import ChatSource, EmbeddingSource
from serving.pipeline.models.providers import PROVIDERS
from serving.pipeline.registry import Registry

CHAT_MODELS = Registry[ChatSource](
    "chat model",
    {
        "local:reader-lite": "serving.pipeline.models.reader:ReaderLite",
        "local:reader-pro": "serving.pipeline.models.reader:ReaderPro",
        "local:smollm2": "serving.pipeline.models.smollm2:SmolLm2",
        "local:echo": "serving.pipeline.models.fakes:Echo",
        "local:scripted": "serving.pipeline.models.fakes:Scripted",
        "llamacpp:*": "serving.pipeline.models.llamacpp:LlamaCpp",
        "bedrock_converse:*": "serving.pipeline.models.bedrock:BedrockChat",
        "*": "serving.pipeline.models.langchain:LangChainChat",
    },
    group="chat_models",
    protocol=ChatSource,
    adapters={"langchain_core.language_models.chat_models:BaseChatModel": "serving.pipeline.models.langchain:ImportedChat"},
    providers=PROVIDERS,
)

EMBEDDINGS = Registry[EmbeddingSource](
    "embedding model",
    {
        "local:minilm": "serving.pipeline.models.minilm:MiniLm",
        "local:hashing": "serving.pipeline.models.hashing:Hashing",
        "bedrock:*": "serving.pipeline.models.bedrock:BedrockEmbeddings",
        "*": "serving.pipeline.models.langchain:LangChainEmbeddings",
    },
    group="embeddings",
    protocol=EmbeddingSource,
    adapters={"langchain_core.embeddings.embeddings:Embeddings": "serving.pipeline.models.langchain:ImportedEmbeddings"},
    providers=PROVIDERS,
)
