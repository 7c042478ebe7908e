"""The room that makes documents searchable: its tables."""

from serving.pipeline.index.base import Chunker, Store
from serving.pipeline.registry import Registry

CHUNKERS = Registry[Chunker](
    "chunker",
    {
        "recursive": "serving.pipeline.index.recursive:RecursiveChunker",
        "token": "serving.pipeline.index.token:TokenChunker",
        "sentence": "serving.pipeline.index.sentence:SentenceChunker",
        "markdown": "serving.pipeline.index.markdown:MarkdownChunker",
    },
    group="chunkers",
    protocol=Chunker,
    adapters={"langchain_text_splitters.base:TextSplitter": "serving.pipeline.index.langchain:SplitterChunker"},
)

STORES = Registry[Store](
    "store",
    {
        "lancedb": "serving.pipeline.index.lance:LanceStore",
        "memory": "serving.pipeline.index.memory:MemoryStore",
    },
    group="stores",
    protocol=Store,
)
