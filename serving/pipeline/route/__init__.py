"""The room that chooses which model answers: its tables."""

from serving.pipeline.registry import Registry
from serving.pipeline.route.base import Escalation, Router

ROUTERS = Registry[Router](
    "router",
    {
        "always": "serving.pipeline.route.always:AlwaysRouter",
        "rules": "serving.pipeline.route.rules:RulesRouter",
    },
    group="routers",
    protocol=Router,
)

ESCALATIONS = Registry[Escalation](
    "escalation",
    {
        "none": "serving.pipeline.route.no_escalation:NoEscalation",
    },
    group="escalations",
    protocol=Escalation,
)
