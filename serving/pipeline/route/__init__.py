"""The room that chooses which model answers: its table."""

from serving.pipeline.registry import Registry
from serving.pipeline.route.base import Router

ROUTERS = Registry[Router](
    "router",
    {
        "always": "serving.pipeline.route.always:AlwaysRouter",
        "rules": "serving.pipeline.route.rules:RulesRouter",
    },
    group="routers",
    protocol=Router,
)
