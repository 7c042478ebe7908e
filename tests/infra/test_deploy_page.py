"""docs/deploy.md, the smallest deployment: its configuration, settings and role are enough, and the role allows no more than is used."""

import io
import json
import os
import re
import time
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import httpx
import pytest

from harness.cli import run as harness_run
from tests.doubles.bedrock import CREDENTIALS, BedrockDouble
from tests.infra.scripts import ROOT
from tests.infra.test_stateless_servers import awaited, serving
from tests.support import s3
from tests.support.rights import Account, Role, aws, gateway

s3_server = s3.s3_server
pytestmark = pytest.mark.slow
PAGE = (ROOT / "docs/deploy.md").read_text(encoding="utf-8")
BUCKET = "acme-touchstone"
ANSWER = "A lost card costs 5 euros [1]."


def block(kind: str) -> str:
    """The page's one block of a kind."""
    [found] = re.findall(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def settings() -> dict[str, str]:
    """What the container is told."""
    return dict(line.split("=", 1) for line in block("sh").splitlines())


def run(folder: Path, told: Mapping[str, str], *words: str) -> Any:
    """What a command says as JSON that is run in this folder with these settings and no others; in this process, which has all imported."""
    with pytest.MonkeyPatch.context() as here, redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        for name in [name for name in os.environ if name.startswith("TOUCHSTONE_")]:
            here.delenv(name)
        for name, value in ({"TOUCHSTONE_ASSUME_YES": "true", "TOUCHSTONE_MLFLOW_MODEL": ""} | dict(told)).items():
            here.setenv(name, value)
        here.chdir(folder)
        code = harness_run([*words, "--json"])
    assert code == 0, out.getvalue() + err.getvalue()
    return json.loads(out.getvalue())


def test_one_container_one_bucket_and_bedrock_answer_with_the_rights_that_the_page_shows(s3_server: str, tmp_path: Path) -> None:
    aws("s3", s3_server, "us-east-1").create_bucket(Bucket=BUCKET)
    project = tmp_path / "project"
    told = settings()
    with BedrockDouble(lambda _: ANSWER) as bedrock:
        here = CREDENTIALS | {name: value for name, value in told.items() if name != "TOUCHSTONE_API_KEYS"}
        owner = here | {"TOUCHSTONE_S3_ENDPOINT": s3_server, "TOUCHSTONE_BEDROCK_ENDPOINT": bedrock.url}
        run(tmp_path, owner, "init", str(project))
        (project / "nova.yaml").write_text(block("yaml"))
        run(project, owner, "gate", "--config", "nova.yaml")
        release = run(project, owner, "promote", "nova.yaml")["release"]
        key = run(project, owner, "key", "create", "me", "--keys", "keys/keys.yaml", "--scope", "admin")["key"]
        role = Role([block("json")], {})
        with gateway(role, Account("us-east-1", "111122223333"), aws=s3_server, bedrock=bedrock.url) as address:
            own = {"TOUCHSTONE_API_KEYS": str(project / "keys/keys.yaml")}
            container = here | own | {"TOUCHSTONE_S3_ENDPOINT": address, "TOUCHSTONE_BEDROCK_ENDPOINT": address}
            with serving(container, tmp_path / "container") as (_, client):
                awaited(client, release, tmp_path / "container/log")
                client.headers["Authorization"] = f"Bearer {key}"
                used(client)
    assert role.refused == []
    allowed = {one for statement in json.loads(block("json"))["Statement"] for one in _list(statement["Action"])}
    assert role.actions == allowed


def used(client: httpx.Client) -> None:
    """Ask, stream, add a document, find it, delete it."""
    answer = client.post("/v1/query", json={"question": "What does a lost card cost?"}).json()
    assert answer["answer"] == ANSWER
    assert answer["citations"]
    streamed = client.post("/v1/query/stream", json={"question": "How long may a book be kept?"})
    assert "event: answer" in streamed.text
    added = client.post(
        "/v1/documents", files={"file": ("parking.md", "# Parking\n\nBicycles stand behind the house.\n", "text/markdown")}
    ).json()
    until(client, added["id"], "ready")
    assert client.delete(f"/v1/documents/{added['id']}").status_code == 204


def until(client: httpx.Client, ident: str, state: str) -> None:
    """Wait for a document's state."""
    ends = time.monotonic() + 300
    while (now := client.get(f"/v1/documents/{ident}").json())["state"] != state:
        assert time.monotonic() < ends, now
        time.sleep(0.05)  # another process reads it


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
