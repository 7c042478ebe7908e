"""What Terraform makes in the persistent layer, on a server that speaks AWS; and what pods of a channel are told of it."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.infra.scripts import ROOT, script
from tests.infra.test_checks import stand_in
from tests.support.rights import Account, Role, aws
from tests.support.s3 import KEYS

iam = script("checks/iam.py")


@dataclass(frozen=True)
class Land:
    """Roles as Terraform renders them, and where their buckets and tables are."""

    roles: Mapping[str, Any]
    names: Mapping[str, Any]
    key: str
    address: str

    def role(self, key: str, channel: str = "dev") -> Role:
        """A role; a pod's comes with the namespace of its channel."""
        session = {"aws:PrincipalTag/kubernetes-namespace": self.names["namespaces"][channel], "aws:SecureTransport": "true"}
        return Role(self.roles[self.names["roles"][key]].policies, session)

    @property
    def account(self) -> Account:
        """Where it is."""
        return Account(self.names["region"], self.names["account"], self.key)


def build_land(address: str) -> Land:
    """Roles, buckets and tables as an apply on the stand-in leaves them, on a server."""
    with stand_in.working_copy() as place:
        roles, arns = iam.rendered_roles(place)
        names = json.loads((place.terraform / "persistent/names.auto.tfvars.json").read_text())["names"]
        resources = place.resources("persistent")
    build(resources, address, names["region"])
    return Land(roles, names, arns["key"], address)


def build(resources: Iterable[Mapping[str, Any]], address: str, region: str) -> None:
    """Make buckets and tables that are not there yet."""
    elsewhere: Any = {} if region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": region}}
    storage, tables = (aws(service, address, region) for service in ("s3", "dynamodb"))
    there = {bucket["Name"] for bucket in storage.list_buckets()["Buckets"]} | set(tables.list_tables()["TableNames"])
    for one in resources:
        values = one["values"]
        if one["type"] == "aws_s3_bucket" and values["bucket"] not in there:
            storage.create_bucket(Bucket=values["bucket"], **elsewhere)
        if one["type"] == "aws_dynamodb_table" and values["name"] not in there:
            tables.create_table(**_table(values))
            ttl = {"AttributeName": values["ttl"][0]["attribute_name"], "Enabled": values["ttl"][0]["enabled"]}
            tables.update_time_to_live(TableName=values["name"], TimeToLiveSpecification=ttl)


def told(address: str) -> dict[str, str]:
    """The settings of the channel dev, with one address in the place of AWS."""
    files = (ROOT / "infra/kubernetes" / file for file in ("base/settings.env", "overlays/dev/channel.env"))
    lines = (line for file in files for line in file.read_text().splitlines() if not line.startswith("#"))
    there = dict.fromkeys(("TOUCHSTONE_S3_ENDPOINT", "TOUCHSTONE_DYNAMODB_ENDPOINT", "TOUCHSTONE_BEDROCK_ENDPOINT"), address)
    return dict(line.split("=", 1) for line in lines) | KEYS | there | {"TOUCHSTONE_MLFLOW_URI": "", "TOUCHSTONE_POLL_S": "0.2"}


def _table(values: Mapping[str, Any]) -> Any:
    def keys(of: Mapping[str, Any]) -> list[dict[str, str]]:
        return [{"AttributeName": of["hash_key"], "KeyType": "HASH"}, {"AttributeName": of["range_key"], "KeyType": "RANGE"}]

    made = {
        "TableName": values["name"],
        "BillingMode": values["billing_mode"],
        "KeySchema": keys(values),
        "AttributeDefinitions": [{"AttributeName": one["name"], "AttributeType": one["type"]} for one in values["attribute"]],
    }
    if indexes := values["global_secondary_index"]:
        made["GlobalSecondaryIndexes"] = [
            {"IndexName": one["name"], "KeySchema": keys(one), "Projection": {"ProjectionType": one["projection_type"]}} for one in indexes
        ]
    return made
