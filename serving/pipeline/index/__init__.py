"""From documents to a searchable index: the tables of chunkers and stores."""

from serving.pipeline.index.base import Chunker, Store
from serving.pipeline.registry import Registry

CHUNKERS = Registry[Chunker](
    "chunker",
    {
        "recursive": "serving.pipeline.index.chunkers.recursive:RecursiveChunker",
        "token": "serving.pipeline.index.chunkers.token:TokenChunker",
        "sentence": "serving.pipeline.index.chunkers.sentence:SentenceChunker",
        "markdown": "serving.pipeline.index.chunkers.markdown:MarkdownChunker",
    },
    group="chunkers",
    protocol=Chunker,
    adapters={"langchain_text_splitters.base:TextSplitter": "serving.pipeline.index.chunkers.langchain:SplitterChunker"},
)

STORES = Registry[Store](
    "store",
    {
        "lancedb": "serving.pipeline.index.stores.lance:LanceStore",
        "memory": "serving.pipeline.index.stores.memory:MemoryStore",
    },
    group="stores",
    protocol=Store,
)
