"""Caches of answers: their table."""

from serving.pipeline.cache.base import Cache
from serving.pipeline.registry import Registry

CACHES = Registry[Cache](
    "cache",
    {
        "none": "serving.pipeline.cache.none:NoCache",
        "exact": "serving.pipeline.cache.exact:ExactCache",
        "semantic": "serving.pipeline.cache.semantic:SemanticCache",
    },
    group="caches",
    protocol=Cache,
)
