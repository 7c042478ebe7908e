"""From a question to passages: the tables of searchers, fusions, rerankers and rewriters."""

from serving.pipeline.registry import Registry
from serving.pipeline.retrieve.base import Fusion, Narrowing, Reranker, Rewriter, Searcher

REWRITERS = Registry[Rewriter](
    "rewriter",
    {
        "none": "serving.pipeline.retrieve.rewrite.none:NoRewriter",
        "carry_over": "serving.pipeline.retrieve.rewrite.carry_over:CarryOverRewriter",
        "model": "serving.pipeline.retrieve.rewrite.model:ModelRewriter",
    },
    group="rewriters",
    protocol=Rewriter,
)

NARROWINGS = Registry[Narrowing](
    "narrowing",
    {
        "none": "serving.pipeline.retrieve.narrow:NoNarrowing",
        "domain": "serving.pipeline.retrieve.narrow:DomainNarrowing",
    },
    group="narrowings",
    protocol=Narrowing,
)

SEARCHERS = Registry[Searcher](
    "searcher",
    {
        "vector": "serving.pipeline.retrieve.vector:VectorSearcher",
        "keyword": "serving.pipeline.retrieve.keyword:KeywordSearcher",
        "hybrid": "serving.pipeline.retrieve.hybrid:HybridSearcher",
    },
    group="searchers",
    protocol=Searcher,
    adapters={"langchain_core.retrievers:BaseRetriever": "serving.pipeline.retrieve.langchain:RetrieverSearcher"},
)

FUSIONS = Registry[Fusion](
    "fusion",
    {
        "rrf": "serving.pipeline.retrieve.rrf:ReciprocalRankFusion",
        "weighted": "serving.pipeline.retrieve.weighted:WeightedFusion",
    },
    group="fusions",
    protocol=Fusion,
)

RERANKERS = Registry[Reranker](
    "reranker",
    {
        "none": "serving.pipeline.retrieve.none:NoReranker",
        "mmr": "serving.pipeline.retrieve.mmr:MmrReranker",
        "maxsim": "serving.pipeline.retrieve.maxsim:MaxSimReranker",
        "bedrock": "serving.pipeline.retrieve.bedrock:BedrockReranker",
    },
    group="rerankers",
    protocol=Reranker,
    adapters={"langchain_core.documents.compressor:BaseDocumentCompressor": "serving.pipeline.retrieve.langchain:CompressorReranker"},
)
