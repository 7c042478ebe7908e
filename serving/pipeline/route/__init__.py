"""Chooses which model answers: its tables."""

from serving.pipeline.registry import Registry
from serving.pipeline.route.base import DomainChoice, Escalation, Router

ROUTERS = Registry[Router](
    "router",
    {
        "always": "serving.pipeline.route.always:AlwaysRouter",
        "rules": "serving.pipeline.route.rules:RulesRouter",
        "random": "serving.pipeline.route.by_chance:RandomRouter",
        "length": "serving.pipeline.route.by_length:LengthRouter",
        "tfidf": "serving.pipeline.route.fitted:TfIdfRouter",
        "knn": "serving.pipeline.route.fitted:NeighboursRouter",
        "logistic": "serving.pipeline.route.fitted:LogisticRouter",
        "stacked": "serving.pipeline.route.fitted:StackedRouter",
    },
    group="routers",
    protocol=Router,
)

ESCALATIONS = Registry[Escalation](
    "escalation",
    {
        "none": "serving.pipeline.route.no_escalation:NoEscalation",
        "doubtful": "serving.pipeline.route.doubtful:DoubtfulEscalation",
    },
    group="escalations",
    protocol=Escalation,
)

DOMAINS = Registry[DomainChoice](
    "domain",
    {
        "hits": "serving.pipeline.route.domain:HitsDomain",
        "classifier": "serving.pipeline.route.domain:ClassifierDomain",
    },
    group="domains",
    protocol=DomainChoice,
)
