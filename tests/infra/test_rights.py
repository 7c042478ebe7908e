"""The rights of roles are enough, and none is idle: commands and servers run behind a gateway that judges every call."""

import json
import time
from pathlib import Path

import httpx
import pytest

from tests.doubles.bedrock import BedrockDouble
from tests.infra.land import Land, build_land, told
from tests.infra.test_checks import needs_terraform
from tests.infra.test_deploy_page import ANSWER, run, until, used
from tests.infra.test_stateless_servers import awaited, serving
from tests.support import s3
from tests.support.rights import Role, gateway

s3_server = s3.s3_server
pytestmark = pytest.mark.slow
CONFIG = """
index: {chunker: {name: recursive, size: 900, overlap: 120}, context: heading}
retrieve: {reranker: {name: bedrock}}
route: {router: {name: always, tier: lite}}
answer:
  models: {lite: {name: "bedrock_converse:amazon.nova-lite-v1:0"}}
  prompt: {name: general, version: 3, by_domain: false}
guard:
  input: {remote: {name: bedrock, guardrail: abcdefgh1234, guardrail_version: "1", call_timeout_s: 60}}
"""
BY_AWS = "the volume of the Secrets Store CSI driver asks, in the pod's name"
BY_PROFILE = "langchain-aws asks of which models an inference profile is"
NOT_TRIED = {  # allowed, and asked for by nothing that runs here
    "harness": {
        "bedrock:GetInferenceProfile": BY_PROFILE,
        "bedrock:InvokeModelWithResponseStream": "`touchstone ask`, at a terminal",
        "s3:AbortMultipartUpload": "an index too large for one request, whose upload broke off",
        "s3:ListMultipartUploadParts": "likewise",
    },
    "api": {
        "bedrock:GetInferenceProfile": BY_PROFILE,
        "secretsmanager:GetSecretValue": BY_AWS,
        "secretsmanager:DescribeSecret": BY_AWS,
        "elasticache:Connect": "judged by ElastiCache itself, when a connection signs in",
    },
}


@pytest.fixture(scope="module")
def land(s3_server: str) -> Land:
    """What Terraform has made."""
    return build_land(s3_server)


def allowed(role: Role) -> set[str]:
    """Every action that a role's policies name."""
    statements = [one for policy in role.policies for one in json.loads(policy)["Statement"] if one["Effect"] == "Allow"]
    return {action for one in statements for action in ([one["Action"]] if isinstance(one["Action"], str) else one["Action"])}


@needs_terraform
def test_what_is_done_is_allowed_and_no_right_of_a_pod_is_idle(land: Land, tmp_path: Path) -> None:
    project, home = tmp_path / "project", {"TOUCHSTONE_HOME": str(tmp_path / "home")}
    run(tmp_path, {}, "init", str(project))
    (project / "nova.yaml").write_text(CONFIG)
    roles = {name: land.role(name) for name in ("harness", "api", "deploy_dev", "evaluate")}
    with BedrockDouble(lambda _: ANSWER) as bedrock:

        def done(name: str, *commands: str) -> None:
            with gateway(roles[name], land.account, aws=land.address, bedrock=bedrock.url) as address:
                for words in commands:
                    run(project, told(address) | home, *words.split())

        done("harness", "doctor", "index --config nova.yaml", "gate --config nova.yaml", "promote nova.yaml", "release verify")
        done("harness", "ingest datasets/corpora/sample", "channel evaluate dev", "audit", "channel show dev")
        done("harness", "index --set index.chunker.size=400", "store gc --indexes --unused-days 0")  # an index that no release stands on
        done("deploy_dev", "gate --config nova.yaml", "promote nova.yaml", "channel evaluate dev", "release list")
        done("evaluate", "channel evaluate dev")
        with gateway(roles["api"], land.account, aws=land.address, bedrock=bedrock.url) as address:
            pod = {name: value for name, value in told(address).items() if name != "TOUCHSTONE_MLFLOW_URI"}
            with serving(pod, tmp_path / "pod") as (_, server):
                awaited(server, run(project, told(land.address) | home, "channel", "show", "dev")["stable"], tmp_path / "pod/log")
                used(server)
                traced(server, roles["api"])
    assert {name: role.refused for name, role in roles.items()} == {name: [] for name in roles}
    assert {name: allowed(roles[name]) - roles[name].actions for name in NOT_TRIED} == {name: set(told) for name, told in NOT_TRIED.items()}


def traced(server: httpx.Client, role: Role) -> None:
    """Feedback on an answer, its trace out of the store, and a document whose words a trace has, deleted."""
    ident = server.post("/v1/query", json={"question": "Who may borrow?"}).json()["trace_id"]
    server.post("/v1/feedback", json={"trace_id": ident, "kind": "thumbs", "value": 1}).raise_for_status()
    file = ("cycling.md", "# Cycling\n\nBicycles stand behind the house.\n", "text/markdown")
    added = server.post("/v1/documents", files={"file": file}).json()["id"]
    until(server, added, "ready")
    asked = server.post("/v1/query", json={"question": "Where do bicycles stand?"}).json()["trace_id"]
    assert "Bicycles" in kept(server, asked)
    assert server.delete(f"/v1/documents/{added}").status_code == 204
    ends = time.monotonic() + 300
    while "dynamodb:DeleteItem" not in role.actions:  # its words go out of the store
        assert time.monotonic() < ends
        time.sleep(0.05)  # another thread does it


def kept(server: httpx.Client, ident: str) -> str:
    """A trace, once the store has it."""
    ends = time.monotonic() + 300
    while (answer := server.get(f"/v1/traces/{ident}")).status_code != 200:
        assert time.monotonic() < ends, answer.text
        time.sleep(0.05)  # another thread writes it
    return answer.text
