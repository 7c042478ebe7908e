"""The room that finds passages: its tables."""

from serving.pipeline.registry import Registry
from serving.pipeline.retrieve.base import Fusion, Reranker, Searcher

SEARCHERS = Registry[Searcher](
    "searcher",
    {
        "vector": "serving.pipeline.retrieve.vector:VectorSearcher",
        "keyword": "serving.pipeline.retrieve.keyword:KeywordSearcher",
        "hybrid": "serving.pipeline.retrieve.hybrid:HybridSearcher",
    },
)

FUSIONS = Registry[Fusion](
    "fusion",
    {
        "rrf": "serving.pipeline.retrieve.rrf:ReciprocalRankFusion",
        "weighted": "serving.pipeline.retrieve.weighted:WeightedFusion",
    },
)

RERANKERS = Registry[Reranker](
    "reranker",
    {
        "none": "serving.pipeline.retrieve.none:NoReranker",
        "mmr": "serving.pipeline.retrieve.mmr:MmrReranker",
        "maxsim": "serving.pipeline.retrieve.maxsim:MaxSimReranker",
        "bedrock": "serving.pipeline.retrieve.bedrock:BedrockReranker",
    },
)
