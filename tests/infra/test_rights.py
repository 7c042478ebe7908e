"""The rights of the pods' roles are enough, and none is idle: commands and servers run behind a gateway that judges every call."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.doubles.bedrock import BedrockDouble
from tests.infra.scripts import ROOT, script
from tests.infra.test_checks import needs_terraform, stand_in
from tests.infra.test_deploy_page import ANSWER, run, until, used
from tests.infra.test_stateless_servers import _table, awaited, serving
from tests.support import s3
from tests.support.rights import Account, Role, aws, gateway
from tests.support.s3 import KEYS

s3_server = s3.s3_server
iam = script("checks/iam.py")
pytestmark = pytest.mark.slow
CONFIG = """
index: {chunker: {name: recursive, size: 900, overlap: 120}, context: heading}
route: {router: {name: always, tier: lite}}
answer:
  models: {lite: {name: "bedrock_converse:amazon.nova-lite-v1:0"}}
  prompt: {name: general, version: 3, by_domain: false}
guard:
  input: {remote: {name: bedrock, guardrail: abcdefgh1234, guardrail_version: "1", call_timeout_s: 60}}
"""
BY_AWS = "the volume of the Secrets Store CSI driver asks, in the pod's name"
NOT_TRIED = {  # allowed, and asked for by nothing that runs here
    "harness": {
        "bedrock:InvokeModelWithResponseStream": "a chat model that only streams",
        "s3:AbortMultipartUpload": "an index too large for one request, whose upload broke off",
    },
    "api": {"secretsmanager:GetSecretValue": BY_AWS, "secretsmanager:DescribeSecret": BY_AWS},
}


@dataclass(frozen=True)
class Land:
    """What Terraform has made, on a server that speaks AWS."""

    roles: Mapping[str, Any]
    names: Mapping[str, Any]
    key: str
    aws: str

    def role(self, key: str, namespace: str) -> Role:
        """A pod's role in a namespace."""
        session = {"aws:PrincipalTag/kubernetes-namespace": self.names["namespaces"].get(namespace, namespace)}
        return Role(self.roles[self.names["roles"][key]].policies, session | {"aws:SecureTransport": "true"})

    @property
    def account(self) -> Account:
        """Where it is."""
        return Account(self.names["region"], self.names["account"], self.key)

    def told(self, address: str) -> dict[str, str]:
        """The settings of the channel dev, with a gateway's address in the place of AWS."""
        files = (ROOT / "infra/kubernetes" / file for file in ("base/settings.env", "overlays/dev/channel.env"))
        lines = (line for file in files for line in file.read_text().splitlines() if not line.startswith("#"))
        there = dict.fromkeys(("TOUCHSTONE_S3_ENDPOINT", "TOUCHSTONE_DYNAMODB_ENDPOINT", "TOUCHSTONE_BEDROCK_ENDPOINT"), address)
        return dict(line.split("=", 1) for line in lines) | KEYS | there | {"TOUCHSTONE_MLFLOW_URI": "", "TOUCHSTONE_POLL_S": "0.2"}


@pytest.fixture(scope="module")
def land(s3_server: str) -> Land:
    """Roles, buckets and tables as an apply on the stand-in leaves them."""
    with stand_in.working_copy() as place:
        roles, arns = iam.rendered_roles(place)
        names = json.loads((place.terraform / "persistent/names.auto.tfvars.json").read_text())["names"]
        resources = place.resources("persistent")
    elsewhere: Any = {} if names["region"] == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": names["region"]}}
    storage, tables = (aws(service, s3_server, names["region"]) for service in ("s3", "dynamodb"))
    there = {bucket["Name"] for bucket in storage.list_buckets()["Buckets"]} | set(tables.list_tables()["TableNames"])
    for one in resources:
        values = one["values"]
        if one["type"] == "aws_s3_bucket" and values["bucket"] not in there:
            storage.create_bucket(Bucket=values["bucket"], **elsewhere)
        if one["type"] == "aws_dynamodb_table" and values["name"] not in there:
            tables.create_table(**_table(values))
    return Land(roles, names, arns["key"], s3_server)


def allowed(role: Role) -> set[str]:
    """Every action that a role's policies name."""
    statements = [one for policy in role.policies for one in json.loads(policy)["Statement"] if one["Effect"] == "Allow"]
    return {action for one in statements for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])}


@needs_terraform
def test_what_the_harness_and_the_api_do_is_allowed_and_no_right_of_theirs_is_idle(land: Land, tmp_path: Path) -> None:
    project, home = tmp_path / "project", {"TOUCHSTONE_HOME": str(tmp_path / "home")}
    run(tmp_path, {}, "init", str(project))
    (project / "nova.yaml").write_text(CONFIG)
    harness, api = land.role("harness", "dev"), land.role("api", "dev")
    with BedrockDouble(lambda _: ANSWER) as bedrock:
        with gateway(harness, land.account, aws=land.aws, bedrock=bedrock.url) as address:
            told = land.told(address) | home
            for words in ("doctor", "index --config nova.yaml", "gate --config nova.yaml"):
                run(project, told, *words.split())
            release = run(project, told, "promote", "nova.yaml")["release"]
            for words in ("release list", "release verify", "channel show dev", "ingest datasets/corpora/sample", "channel evaluate dev"):
                run(project, told, *words.split())
            run(project, told, "index", "--set", "index.chunker.size=400")  # which no release stands on
            assert run(project, told, "store", "gc", "--indexes", "--unused-days", "0")["removed"]
        with gateway(api, land.account, aws=land.aws, bedrock=bedrock.url) as address:
            told = {name: value for name, value in land.told(address).items() if name != "TOUCHSTONE_MLFLOW_URI"}
            with serving(told, tmp_path / "pod") as (_, server):
                awaited(server, release, tmp_path / "pod/log")
                used(server)
                traced(server)
    assert harness.refused == []
    assert api.refused == []
    idle = {name: allowed(role) - role.actions for name, role in (("harness", harness), ("api", api))}
    assert idle == {name: set(reasons) for name, reasons in NOT_TRIED.items()}


def traced(server: httpx.Client) -> None:
    """Feedback on an answer, its trace out of the store, and a document whose words a trace has, deleted."""
    ident = server.post("/v1/query", json={"question": "Who may borrow?"}).json()["trace_id"]
    server.post("/v1/feedback", json={"trace_id": ident, "kind": "thumbs", "value": 1}).raise_for_status()
    file = ("parking.md", "# Parking\n\nBicycles stand behind the house.\n", "text/markdown")
    added = server.post("/v1/documents", files={"file": file}).json()["id"]
    until(server, added, "ready")
    asked = server.post("/v1/query", json={"question": "Where do bicycles stand?"}).json()["trace_id"]
    kept(server, ident)
    kept(server, asked)
    assert server.delete(f"/v1/documents/{added}").status_code == 204


def kept(server: httpx.Client, ident: str) -> None:
    """Wait until the store has a trace."""
    ends = time.monotonic() + 300
    while (answer := server.get(f"/v1/traces/{ident}")).status_code != 200:
        assert time.monotonic() < ends, answer.text
        time.sleep(0.05)  # another thread writes it
