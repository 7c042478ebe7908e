"""What Terraform made on the stand-in: buckets are private, names are those of infra/names.yaml, and what is found by a tag has it."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
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
    "aws_elasticache_user": "user_id",
    "aws_elasticache_user_group": "user_group_id",
    "aws_db_instance": "identifier",
}
FOUND_BY = {  # the tags by which the cluster layer, or a load balancer, finds a resource of the persistent one
    "aws_vpc": ("Name",),
    "aws_subnet": ("Network", "Tier"),
    "aws_route_table": ("Network", "Tier"),
}
BALANCED = {"public": "kubernetes.io/role/elb", "private": "kubernetes.io/role/internal-elb"}
BLOCKS = ("block_public_acls", "block_public_policy", "ignore_public_acls", "restrict_public_buckets")


def names_that_drift(resources: Iterable[Mapping[str, Any]], names: Mapping[str, Any]) -> list[str]:
    """Resources whose name is not an entry of infra/names.yaml."""
    known = set(_texts(names))
    named = [(one["address"], one["values"][NAMED[one["type"]]]) for one in resources if one["type"] in NAMED]
    return [f"{address}: the name {name!r} is not of infra/names.yaml" for address, name in named if name not in known]


def tags_that_are_missing(resources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Resources that nobody would find, since the tag that they are looked for by is not there."""
    found = []
    for one in resources:
        tags = one["values"].get("tags") or {}
        wanted = [*FOUND_BY.get(one["type"], ())]
        if one["type"] == "aws_subnet" and tags.get("Tier") in BALANCED:
            wanted.append(BALANCED[tags["Tier"]])
        found += [f"{one['address']}: has no tag {tag}, by which it is found" for tag in wanted if not tags.get(tag)]
    return found


def layers_without_tags(terraform: Path, layers: Iterable[str]) -> list[str]:
    """Layers whose provider does not give every resource the tags that a pause, a role and the bill tell layers apart by."""
    wanted = {layer: rf'default_tags {{\s+tags = {{ Project = var\.names\.prefix, Layer = "{layer}" }}\s+}}' for layer in layers}
    texts = {layer: (terraform / layer / "versions.tf").read_text(encoding="utf-8") for layer in layers}
    mend = "its provider needs default_tags { tags = { Project = var.names.prefix, Layer = "
    return [f'{layer}: {mend}"{layer}" }} }}' for layer in layers if not re.search(wanted[layer], texts[layer])]


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
