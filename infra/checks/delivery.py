"""What Terraform made on the stand-in delivers: alarms to somebody, archives at once, stores to pods without the NAT gateway."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

INSTANT_ARCHIVE = "GLACIER_IR"  # from the other classes of Glacier an object comes after minutes or hours
GATEWAY_ENDPOINTS = ("s3", "dynamodb")  # endpoints that cost nothing, where the NAT gateway is paid by the GB
PUBLISHERS = {"aws_cloudwatch_metric_alarm": "cloudwatch.amazonaws.com", "aws_budgets_budget": "budgets.amazonaws.com"}
TOPIC_KEY_ACTIONS = {"kms:Decrypt", "kms:GenerateDataKey*"}
LOG_KEY_ACTIONS = {"kms:Encrypt", "kms:Decrypt", "kms:GenerateDataKey*"}

Resources = Iterable[Mapping[str, Any]]


def undelivered_alarms(resources: Resources, region: str) -> list[str]:
    """Alarms and budgets that nobody hears: no topic, a topic that lets them not publish, or whose key they may not use."""
    resources = list(resources)
    found, topics, keys = [], _policies(resources, "aws_sns_topic_policy"), _policies(resources, "aws_kms_key")
    for one in resources:
        values = one["values"]
        if one["type"] == "aws_cloudwatch_metric_alarm" and not values["alarm_actions"]:
            found.append(f"{one['address']}: tells nobody")
        if one["type"] == "aws_budgets_budget" and not all(told["subscriber_sns_topic_arns"] for told in values["notification"]):
            found.append(f"{one['address']}: tells nobody")
    for kind in sorted({one["type"] for one in resources} & set(PUBLISHERS)):
        if not _allowed(topics, PUBLISHERS[kind], {"sns:Publish"}):
            found.append(f"{PUBLISHERS[kind]} may not publish to the topic")
        if not _allowed(keys, PUBLISHERS[kind], TOPIC_KEY_ACTIONS):
            found.append(f"{PUBLISHERS[kind]} may not use the key that the topic is encrypted with: what it says is dropped")
    logs = f"logs.{region}.amazonaws.com"
    if any(one["type"] == "aws_cloudwatch_log_group" for one in resources) and not _allowed(keys, logs, LOG_KEY_ACTIONS):
        found.append(f"{logs} may not use the key that logs are encrypted with: no group of logs can be made")
    return found


def unreadable_archives(resources: Resources) -> list[str]:
    """Lifecycles that move objects to where they cannot be read as before."""
    moves = [
        (one["address"], step["storage_class"])
        for one in resources
        if one["type"] == "aws_s3_bucket_lifecycle_configuration"
        for rule in one["values"]["rule"]
        for step in (*rule["transition"], *rule["noncurrent_version_transition"])
    ]
    return [f"{address}: moves objects to {kind}, and not to {INSTANT_ARCHIVE}" for address, kind in moves if kind != INSTANT_ARCHIVE]


def missing_endpoints(resources: Resources, region: str) -> list[str]:
    """Stores that pods reach by the NAT gateway alone."""
    there = {one["values"]["service_name"] for one in resources if one["type"] == "aws_vpc_endpoint"}
    return [f"the network has no endpoint of {store}" for store in GATEWAY_ENDPOINTS if f"com.amazonaws.{region}.{store}" not in there]


def _policies(resources: Resources, kind: str) -> list[Mapping[str, Any]]:
    return [statement for one in resources if one["type"] == kind for statement in json.loads(one["values"]["policy"])["Statement"]]


def _allowed(statements: Iterable[Mapping[str, Any]], service: str, actions: set[str]) -> bool:
    allowed = set[str]()
    for one in statements:
        services = one["Principal"].get("Service", []) if isinstance(one["Principal"], Mapping) else []
        if one["Effect"] == "Allow" and service in ([services] if isinstance(services, str) else services):
            allowed |= {one["Action"]} if isinstance(one["Action"], str) else set(one["Action"])
    return actions <= allowed
