"""What Terraform made on the stand-in, resource by resource: buckets are private, and names are those of infra/names.yaml."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

NAMED = {  # the argument that names a resource of a type; all others may carry a name made of these
    "aws_s3_bucket": "bucket",
    "aws_dynamodb_table": "name",
    "aws_ecr_repository": "name",
    "aws_secretsmanager_secret": "name",
    "aws_cloudwatch_log_group": "name",
    "aws_iam_role": "name",
    "aws_kms_alias": "name",
    "aws_sns_topic": "name",
    "aws_budgets_budget": "name",
    "aws_eks_cluster": "name",
    "aws_elasticache_replication_group": "replication_group_id",
    "aws_db_instance": "identifier",
}
BLOCKS = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")


def names_that_drift(resources: Iterable[Mapping[str, Any]], names: Mapping[str, Any]) -> list[str]:
    """Resources whose name is not an entry of infra/names.yaml."""
    known = set(_texts(names))
    named = [(one["address"], one["values"][NAMED[one["type"]]]) for one in resources if one["type"] in NAMED]
    return [f"{address}: the name {name!r} is not of infra/names.yaml" for address, name in named if name not in known]


def open_buckets(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Buckets that are not private, versioned, encrypted, reached by TLS only and given a lifecycle."""
    by_type: dict[str, dict[str, Mapping[str, Any]]] = {}
    for one in resources:
        by_type.setdefault(one["type"], {})[one["address"].rpartition(".aws_s3")[0]] = one["values"]
    found = []
    for module, bucket in by_type.get("aws_s3_bucket", {}).items():
        name = bucket["bucket"]
        block = by_type.get("aws_s3_bucket_public_access_block", {}).get(module, {})
        found += [f"{name}: {setting} is not on" for setting in BLOCKS if block.get(setting) is not True]
        policy = json.loads(by_type.get("aws_s3_bucket_policy", {}).get(module, {}).get("policy") or '{"Statement": []}')
        if not any(one["Effect"] == "Deny" and "aws:SecureTransport" in json.dumps(one.get("Condition")) for one in policy["Statement"]):
            found.append(f"{name}: it is reached without TLS")
        found += [
            f"{name}: everyone is allowed"
            for one in policy["Statement"]
            if one["Effect"] == "Allow" and one["Principal"] in ("*", {"AWS": "*"})
        ]
        for kind, what in (
            ("versioning", "versions"),
            ("server_side_encryption_configuration", "encryption"),
            ("lifecycle_configuration", "lifecycle"),
        ):
            if module not in by_type.get(f"aws_s3_bucket_{kind}", {}):
                found.append(f"{name}: it has no {what}")
    return found


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    else:
        yield str(value)
