"""Recipes of images and the compose file keep our rules, and what breaks one of them is found; `make stack` begins, or says why not."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from infra.checks import containers
from infra.checks.compose_rules import compose_breaches
from infra.checks.dockerfile_rules import dockerfile_breaches
from infra.checks.image_contents import holds, packages, sizes
from infra.checks.images import Image
from serving.app.settings import AppSettings
from serving.pipeline.settings import variables
from serving.traces.open import open_traces
from serving.traces.record import TraceQuery, TraceRecord
from tests.support.ports import free_port
from tests.support.s3 import KEYS, s3_server
from tests.traces.test_stores import a_trace

__all__ = ["s3_server"]

ROOT = Path(__file__).parents[2]
RECIPE = (ROOT / "infra/docker/serving.Dockerfile").read_text()
COMPOSE = (ROOT / "infra/compose.yaml").read_text()


def test_recipes_and_the_compose_file_keep_the_rules() -> None:
    for file in (ROOT / "infra/docker").glob("*.Dockerfile"):
        assert dockerfile_breaches(file.read_text()) == []
    assert compose_breaches(COMPOSE) == []


@pytest.mark.parametrize(
    ("was", "becomes", "found"),
    [
        ("python:3.12-slim-bookworm", "python", "is built on 'docker.io/library/python'"),
        ("python:3.12-slim-bookworm", "python:latest", "may be another one tomorrow"),
        ("USER 10001:10001\n", "", "runs as root"),
        ("USER 10001:10001", "USER 0:0", "runs as 0:0"),
        ("USER 10001:10001", "USER touchstone", "runs as touchstone"),
        ("    PYTHONUNBUFFERED=1 \\\n", "    PYTHONUNBUFFERED=1 \\\n    DB_PASSWORD=hunter2 \\\n", "ENV DB_PASSWORD"),
        ("ARG COMMIT=unknown", "ARG API_TOKEN", "ARG API_TOKEN"),
        ("COPY serving /opt/touchstone/app/serving", "COPY . /opt/touchstone/app", "takes everything"),
        ("COPY serving /opt", "ADD https://example.com/serving.tar /opt", "ADD fetches"),
        ("HEALTHCHECK", "# HEALTHCHECK", "health"),
        ("FROM ${BASE}\n", "FROM docker.io/library/python:3.12-slim-bookworm\n", "no argument of the build can change"),
        (
            'org.opencontainers.image.version="${VERSION}"',
            'org.opencontainers.image.vendor="us"',
            "no label org.opencontainers.image.version",
        ),
        ('revision="${COMMIT}"', 'revision="1"', "no label org.opencontainers.image.revision, which ${COMMIT} says"),
        ("RUN mkdir -p /var", "RUN apt-get update && apt-get install -y gcc && mkdir -p /var", "installs in the image that is started"),
    ],
)
def test_a_recipe_that_breaks_a_rule_is_found(was: str, becomes: str, found: str) -> None:
    assert was in RECIPE
    broken = RECIPE.replace(was, becomes)
    if found == "health":
        broken = re.sub(r"# HEALTHCHECK(.*)\\\n.*\n", "", broken)
    assert any(found in what for what in dockerfile_breaches(broken)), dockerfile_breaches(broken)


@pytest.mark.parametrize(
    ("was", "becomes", "found"),
    [
        ("docker.io/prom/prometheus:v3.5.0", "docker.io/prom/prometheus", "prometheus: runs docker.io/prom/prometheus, which"),
        ("docker.io/prom/prometheus:v3.5.0", "docker.io/prom/prometheus:latest", "may be another one tomorrow"),
        ('["127.0.0.1:${API_PORT:-8080}:8080"]', '["8080:8080"]', "api: 8080:8080 is open to other machines"),
        ('"${POSTGRES_PASSWORD:?make stack writes it}"\n    volumes', "hunter2\n    volumes", "postgres: POSTGRES_PASSWORD stands there"),
        ("redis://redis:6379/0", "redis://:hunter2@redis:6379/0", "api: TOUCHSTONE_REDIS stands there in plain text"),
        (
            "    image: docker.io/library/postgres:17-alpine\n    restart",
            "    image: a:1\n    privileged: true\n    restart",
            "more rights",
        ),
        ('user: "999:1000"', 'user: "0"', "redis: runs as root"),
        ("prometheus:/prometheus", "/var/run/docker.sock:/x", "reaches into its host"),
        ("redis: {condition: service_healthy}", "rediss: {condition: service_healthy}", "waits for rediss, which is no service"),
        ("redis: {condition: service_healthy}", "prometheus: {condition: service_healthy}", "says nothing of it"),
        ("  read_only: true\n", "", "api: is ours, and not locked: read_only"),
        ("  minio:\n    profiles: [langfuse]\n", "  minio:\n", "minio: always starts, and only langfuse waits for it"),
        ("redis: {condition: service_healthy}", "moto: {condition: service_started}", "which another profile starts"),
    ],
)
def test_a_service_that_breaks_a_rule_is_found(was: str, becomes: str, found: str) -> None:
    assert was in COMPOSE
    assert any(found in what for what in compose_breaches(COMPOSE.replace(was, becomes, 1))), compose_breaches(
        COMPOSE.replace(was, becomes, 1)
    )


def test_whoever_builds_by_hand_is_told_the_version_that_this_is() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    for file in (ROOT / "docs/deploy.md", *(ROOT / "infra/docker").glob("*.Dockerfile")):
        assert re.findall(r"VERSION=(\d\S+)", file.read_text()) == [version], file


def test_an_unknown_key_of_compose_is_found(tmp_path: Path) -> None:
    file = tmp_path / "compose.yaml"
    file.write_text(COMPOSE.replace("    tmpfs: [/tmp]", "    tmpfss: [/tmp]", 1))
    words: list[str | Path] = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", file]
    assert any("tmpfss" in line for line in containers.found_by_tool("schema", words))


def test_what_the_api_is_told_by_compose_are_settings_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    told = yaml.safe_load(COMPOSE)["services"]["api"]["environment"]
    assert {name for name in told if name.startswith("TOUCHSTONE_")} <= set(variables(AppSettings))
    by_profile = {name for name, value in told.items() if "STACK_AWS_ENDPOINT" in value}
    assert by_profile == {"TOUCHSTONE_S3_ENDPOINT", "TOUCHSTONE_DYNAMODB_ENDPOINT"}
    for name, value in told.items():
        monkeypatch.setenv(name, re.sub(r"\$\{\w+(?::[-?]([^}]*))?\}", lambda found: found[1] or "", value))
    settings = AppSettings(_env_file=None)
    assert settings.releases == "/data/releases"
    assert settings.traces == ""


@pytest.fixture
def stack(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A checkout's stack.sh and compose.yaml, with a docker that writes down what it is asked."""
    (tmp_path / "infra").mkdir()
    for name in ("stack.sh", "compose.yaml"):
        shutil.copy(ROOT / "infra" / name, tmp_path / "infra" / name)
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in {
        "docker": 'case "$*" in *"ps --quiet"*) cat "$RUNS" 2> /dev/null;; *) echo "docker $*" >> "$ASKED";; esac',
        "touchstone": 'echo "key: $*"; touch .touchstone/stack/keys/keys.yaml',
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{script}\n")
        (tools / name).chmod(0o755)
    own = {
        "PATH": f"{tools}:/usr/bin:/bin",
        "TOUCHSTONE": str(tools / "touchstone"),
        "ASKED": str(tmp_path / "asked"),
        "RUNS": str(tmp_path / "runs"),
    }
    ports = {}
    for name in ("API_PORT", "MLFLOW_PORT", "PROMETHEUS_PORT", "GRAFANA_PORT", "AWS_PORT"):
        ports[name] = str(free_port())
    return tmp_path, own | ports


def started(stack: tuple[Path, dict[str, str]], *words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    folder, own = stack
    return subprocess.run(["bash", str(folder / "infra/stack.sh"), *words], env=own | more, capture_output=True, text=True)


def test_the_stack_makes_its_secrets_once_and_starts_compose(stack: tuple[Path, dict[str, str]]) -> None:
    folder, own = stack
    first = started(stack)
    assert first.returncode == 0, first.stderr
    assert "shown this once" in first.stdout
    assert "has no release yet" in first.stdout
    env = (folder / ".touchstone/stack/stack.env").read_text()
    assert (folder / ".touchstone/stack").stat().st_mode & 0o777 == 0o700
    assert (folder / ".touchstone/stack/stack.env").stat().st_mode & 0o077 == 0
    needed = set(re.findall(r"\$\{(\w+):\?", COMPOSE))
    assert needed == {line.partition("=")[0] for line in env.splitlines()}
    assert "docker compose -f infra/compose.yaml --env-file .touchstone/stack/stack.env up" in Path(own["ASKED"]).read_text()
    again = started(stack)
    assert "shown this once" not in again.stdout
    assert (folder / ".touchstone/stack/stack.env").read_text() == env


def test_profiles_reach_compose_and_an_unknown_one_is_refused(stack: tuple[Path, dict[str, str]]) -> None:
    done = started(stack, PROFILES="aws")
    assert "S3 begins empty" in done.stdout
    assert "--profile aws up" in Path(stack[1]["ASKED"]).read_text()
    wrong = started(stack, PROFILES="gcp")
    assert (wrong.returncode, wrong.stderr) == (2, "make stack: no profile 'gcp'. Known: aws, langfuse.\n")


def test_without_docker_or_with_a_taken_port_one_line_says_so(stack: tuple[Path, dict[str, str]]) -> None:
    folder, own = stack
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused = started(stack, API_PORT=port)
        assert (refused.returncode, refused.stderr) == (2, f"make stack: port {port} is taken. Take another: API_PORT=… make stack\n")
        Path(own["RUNS"]).write_text("a container of ours\n")
        assert started(stack, API_PORT=port).returncode == 0  # it is ours: compose takes up what runs
    (folder / "tools/docker").unlink()
    shutil.rmtree(folder / ".touchstone")
    lacking = started(stack)
    assert lacking.returncode == 2
    assert lacking.stderr.startswith("make stack: docker is not installed.")
    assert lacking.stderr.count("\n") == 1
    assert not (folder / ".touchstone").exists()  # nothing was made for nothing


def test_what_an_image_holds_is_told_by_its_parts(tmp_path: Path) -> None:
    site = tmp_path / "opt/touchstone/venv/lib/python3.11/site-packages"
    for name, size in {
        "usr/lib/base.so": 3, "opt/touchstone/app/a.py": 1, "project/datasets/a.txt": 1,
        f"{site.relative_to(tmp_path)}/big/core.so": 4, f"{site.relative_to(tmp_path)}/big/core.pyc": 2,
        f"{site.relative_to(tmp_path)}/big/tests/test_a.py": 1, f"{site.relative_to(tmp_path)}/big/core.pyi": 1,
    }.items():  # fmt: skip
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x" * size * 2**20)
    os.link(site / "big/core.so", site / "big/again.so")  # the same file
    assert sizes(tmp_path) == {"all": 13, "base": 3, "packages": 8, "ours": 2, "bytecode": 2, "tests": 1, "stubs": 1}
    assert packages(tmp_path) == {"big": 8}
    assert holds(tmp_path, ["big", "torch"], ["gcc"]) == ["big"]


def test_an_image_is_started_as_it_says_and_with_no_more_rights() -> None:
    config = {"Env": ["HOME=/work", "A=b=c"], "WorkingDir": "/project"}
    words = Image("x", Path("/root-of-it"), config, "c0", 1.0).words(
        ["run"], writable={"/work": Path("/w")}, environment={"HOME": "/other"}
    )
    line = " ".join(words)
    assert "--ro-bind /root-of-it /" in line
    assert "--bind /w /work" in line
    assert "--setenv A b=c" in line
    assert "--setenv HOME /other" in line
    assert line.endswith(
        "--chdir /project setpriv --reuid=10001 --regid=10001 --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs run"
    )


def test_the_bucket_and_the_table_of_the_profile_aws_are_made_once_and_keep_traces(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in KEYS.items():
        monkeypatch.setenv(key, value)
    name = f"traces-{uuid4().hex[:8]}"
    own = os.environ | {"AWS_ENDPOINT_URL": s3_server, "AWS_DEFAULT_REGION": "us-east-1", "BUCKET": f"bucket-{name}", "TABLE": name}
    for _ in range(2):  # compose starts it again with every `up`
        done = subprocess.run([sys.executable, str(ROOT / "infra/stack_stores.py")], env=own, capture_output=True, text=True)
        assert done.stdout == f"the bucket bucket-{name} and the table {name} are there\n", done.stderr
    store = open_traces(f"dynamodb:{name}", AppSettings(_env_file=None), retention_days=1, endpoint=s3_server)
    record = TraceRecord.of(a_trace("t1"), 1000.0)
    store.put([record])
    assert store.get("t1") == record
    assert [one.id for one in store.find(TraceQuery(tenant="acme"))] == ["t1"]


def test_both_images_hold_what_a_release_may_ask_for() -> None:
    texts = [file.read_text() for file in (ROOT / "serving/pipeline").rglob("*.py")]
    asked = {name for text in texts for name in re.findall(r"install_command\(['\"](\w+)", text)}
    asked -= {"llamacpp"}  # a GGUF file would have to be in the image too: one's own image, built on these
    assert "pii" in asked
    serving = set(re.findall(r"[a-z]+", re.findall(r'ARG EXTRAS="(.*)"', RECIPE)[0]))
    harness = set(re.findall(r"--extra (\w+)", (ROOT / "infra/docker/harness.Dockerfile").read_text()))
    assert asked <= serving
    assert asked <= harness
