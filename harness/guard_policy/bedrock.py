"""A policy as Bedrock's `create_guardrail` request."""

from collections.abc import Mapping
from typing import Any, Final

from harness.guard_policy.policy import GuardPolicy
from serving.pipeline.checks.pii import PiiKind
from serving.pipeline.errors import ConfigError
from serving.pipeline.guard.pii import PiiAction

ENTITIES: Final[Mapping[PiiKind, str]] = {
    "EMAIL_ADDRESS": "EMAIL", "PHONE_NUMBER": "PHONE", "IBAN_CODE": "INTERNATIONAL_BANK_ACCOUNT_NUMBER",
    "CREDIT_CARD": "CREDIT_DEBIT_CARD_NUMBER", "IP_ADDRESS": "IP_ADDRESS", "US_SSN": "US_SOCIAL_SECURITY_NUMBER",
    "MAC_ADDRESS": "MAC_ADDRESS",
}  # fmt: skip
PATTERNS: Final[Mapping[PiiKind, str]] = {  # of kinds that Bedrock has no entity for; it knows no look-around
    "CRYPTO": r"\b(bc1|[13])[a-zA-HJ-NP-Z0-9]{25,59}\b",
    "URL_PASSWORD": r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s/@:]{1,64}:[^\s/@]{1,128}@[^\s/:]{1,128}",
    "SECRET_KEY": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\bgh[pousr]_[A-Za-z0-9]{36}\b|\bxox[abprs]-[A-Za-z0-9-]{10,72}\b|\bsk-[A-Za-z0-9_-]{20,200}",
}
ACTIONS: Final[Mapping[PiiAction, str]] = {"mask": "ANONYMIZE", "block": "BLOCK", "flag": "NONE"}
MOST_EXAMPLES: Final = 5
LONGEST_EXAMPLE: Final = 100


def create_guardrail_request(policy: GuardPolicy) -> dict[str, Any]:
    """The arguments of boto3's `create_guardrail`."""
    request: dict[str, Any] = {
        "name": policy.name,
        "description": policy.description,
        "blockedInputMessaging": policy.blocked_message,
        "blockedOutputsMessaging": policy.blocked_message,
    }
    if policy.content:
        request["contentPolicyConfig"] = {
            "filtersConfig": [
                {"type": name, "inputStrength": one.input, "outputStrength": one.output} for name, one in policy.content.items()
            ]
        }
    if personal := _personal_data(policy):
        request["sensitiveInformationPolicyConfig"] = personal
    if policy.topics:
        request["topicPolicyConfig"] = {"topicsConfig": [_topic(policy, name) for name in policy.topics]}
    if not {"contentPolicyConfig", "sensitiveInformationPolicyConfig", "topicPolicyConfig"} & set(request):
        raise ConfigError(f"The policy {policy.name} asks Bedrock for nothing. Give it content, personal_data or topics.")
    return request


def _personal_data(policy: GuardPolicy) -> dict[str, Any]:
    chosen = {kind: ACTIONS[action] for kind, action in policy.personal_data.items() if action != "allow"}
    entities = [{"type": ENTITIES[kind], "action": action} for kind, action in chosen.items() if kind in ENTITIES]
    patterns = [{"name": kind, "pattern": PATTERNS[kind], "action": action} for kind, action in chosen.items() if kind in PATTERNS]
    return {**({"piiEntitiesConfig": entities} if entities else {}), **({"regexesConfig": patterns} if patterns else {})}


def _topic(policy: GuardPolicy, name: str) -> dict[str, Any]:
    topic = policy.topics[name]
    examples = [example for example in topic.examples if len(example) <= LONGEST_EXAMPLE][:MOST_EXAMPLES]
    flagged = {"inputAction": "NONE", "outputAction": "NONE"} if topic.action == "flag" else {}
    return {"name": name, "definition": topic.definition, "examples": examples, "type": "DENY", **flagged}
