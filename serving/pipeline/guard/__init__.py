"""Checks of questions, passages and answers: their table."""

from serving.pipeline.guard.base import Check
from serving.pipeline.registry import Registry

CHECKS = Registry[Check](
    "check",
    {
        "none": "serving.pipeline.guard.none:NoCheck",
        "pii": "serving.pipeline.guard.pii:PiiCheck",
        "size": "serving.pipeline.guard.size:SizeCheck",
        "encoding": "serving.pipeline.guard.encoding:EncodingCheck",
        "topics": "serving.pipeline.guard.topics:TopicsCheck",
        "content": "serving.pipeline.guard.content:ContentCheck",
        "bedrock": "serving.pipeline.guard.bedrock:BedrockCheck",
        "injection": "serving.pipeline.guard.injection:InjectionCheck",
        "toxicity": "serving.pipeline.guard.toxicity:ToxicityCheck",
        "groundedness": "serving.pipeline.guard.groundedness:GroundednessCheck",
        "confidence": "serving.pipeline.guard.confidence:ConfidenceCheck",
        "leak": "serving.pipeline.guard.leak:LeakCheck",
    },
    group="checks",
    protocol=Check,
)
