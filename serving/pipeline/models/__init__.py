"""Chat and embedding models behind LangChain's own interfaces: their tables.

A name is what `init_chat_model` and `init_embeddings` take ("provider:model"); a table line ending in `:*` serves every
model of that provider, and `*` every provider LangChain knows.
"""

from serving.pipeline.models.base import ChatSource, EmbeddingSource
from serving.pipeline.registry import Registry

CHAT_MODELS = Registry[ChatSource](
    "chat model",
    {
        "local:reader-lite": "serving.pipeline.models.reader:ReaderLite",
        "local:reader-pro": "serving.pipeline.models.reader:ReaderPro",
        "local:echo": "serving.pipeline.models.fakes:Echo",
        "local:scripted": "serving.pipeline.models.fakes:Scripted",
        "bedrock_converse:*": "serving.pipeline.models.bedrock:BedrockChat",
        "*": "serving.pipeline.models.langchain:AnyChat",
    },
)

EMBEDDINGS = Registry[EmbeddingSource](
    "embedding model",
    {
        "local:minilm": "serving.pipeline.models.minilm:MiniLm",
        "local:hashing": "serving.pipeline.models.hashing:Hashing",
        "bedrock:*": "serving.pipeline.models.bedrock:BedrockEmbeddings",
        "*": "serving.pipeline.models.langchain:AnyEmbeddings",
    },
)
