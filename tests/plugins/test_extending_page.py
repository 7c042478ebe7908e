"""docs/extending.md, tried: its package is written from the page, its commands are run as they stand there."""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from harness.judges import JUDGES
from harness.metrics import METRICS
from harness.results.report_file import read_report
from serving.pipeline.cache import CACHES
from serving.pipeline.guard import CHECKS
from serving.pipeline.index import CHUNKERS, STORES
from serving.pipeline.index.loaders import LOADERS
from serving.pipeline.models import CHAT_MODELS, EMBEDDINGS
from serving.pipeline.registry import Registry, _signatures
from serving.pipeline.retrieve import FUSIONS, RERANKERS, SEARCHERS
from serving.pipeline.route import ROUTERS
from tests.plugins.writing import write_package
from tests.support.world import World

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`acme-rag/([^`]+)`:\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
[COMMANDS] = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
TABLES: list[Registry[object]] = [
    CHUNKERS, STORES, LOADERS, EMBEDDINGS, CHAT_MODELS, SEARCHERS, FUSIONS, RERANKERS, ROUTERS, CHECKS, CACHES, METRICS, JUDGES
]  # fmt: skip


def install(folder: Path, version: str = "") -> None:
    """The page's package as an installation leaves it, in another version where a test says so."""
    about = tomllib.loads(FILES["pyproject.toml"])["project"]
    points = "".join(
        f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in offered.items())
        for group, offered in about["entry-points"].items()
    )
    modules = {path: text for path, text in FILES.items() if path.endswith(".py")}
    write_package(folder, about["name"], version or about["version"], modules, points)


def run(world: World, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    program, *arguments = shlex.split(command)
    assert program == "touchstone"
    path = os.pathsep.join([str(folder), str(REPOSITORY)])
    environment = {**os.environ, "PYTHONPATH": path, "MLFLOW_TRACKING_URI": ""}
    return subprocess.run(
        [sys.executable, "-m", "harness", *arguments], cwd=world.root, env=environment, capture_output=True, text=True, check=False
    )


def test_the_page_has_the_files_and_the_commands() -> None:
    assert set(FILES) == {"pyproject.toml", "acme_rag/__init__.py", "acme_rag/current.py", "acme_rag/words.py"}
    assert [line.split()[1] for line in COMMANDS.splitlines()] == ["config", "config", "eval"]


def test_the_pages_package_is_found_used_and_counted_in_the_digest(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = tmp_path_factory.mktemp("site")
    install(site)
    listing, showing, evaluating = COMMANDS.splitlines()

    listed = run(world, site, listing)
    assert listed.returncode == 0, listed.stderr
    shown = re.findall(r"`(current_first[^`]*)`", PAGE)[0]
    assert f"  {shown}\n" in listed.stdout
    assert re.search(r"^metrics\n  plain_words  \(banned=.*\)  from acme-rag 1\.0\.0$", listed.stdout, re.MULTILINE)
    assert "status: current" in run(world, site, showing).stdout

    digests = []
    for version in ("1.0.0", "1.0.1"):
        install(site, version)
        done = run(world, site, f"{evaluating} --config tiny.yaml --golden tiny/v1 --no-tracking --name acme-{version} --json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["numbers"]["plain_words"] == 1.0
        header = read_report(world.root / f"reports/runs/acme-{version}/cases.jsonl").header
        assert header.metric_versions["plain_words"] == f"1 acme-rag {version}"
        assert header.config["retrieve"]["reranker"] == {"name": "current_first", "status": "current"}
        digests.append(header.config_digest)
    assert digests[0] != digests[1]


def test_a_package_that_breaks_spoils_the_list_of_nobody_else(world: World, tmp_path_factory: pytest.TempPathFactory) -> None:
    site = tmp_path_factory.mktemp("site")
    write_package(site, "acme-rag", "1", {"acme_rag.py": "import nonesuch\n"}, "[touchstone.rerankers]\nmine = acme_rag:Mine\n")
    listed = run(world, site, "touchstone config plugins")
    assert listed.returncode == 0, listed.stderr
    assert "  mine  cannot be used: reranker 'mine': the module 'acme_rag' needs 'nonesuch'" in listed.stdout
    assert "maxsim" in listed.stdout
    used = run(world, site, "touchstone config show --set retrieve.reranker.name=mine")
    assert used.returncode == 2
    assert used.stderr.count("\n") == 1


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.kind)
def test_the_page_names_every_kind_with_its_group_its_methods_and_suites_that_exist(table: Registry[object]) -> None:
    [line] = [line for line in PAGE.splitlines() if f"`{table.group}`" in line and line.startswith("|")]
    assert line.startswith(f"| {table.kind}")
    methods = re.findall(r"(\w+)\(", _signatures(table._protocol))
    assert all(f"`{method}" in line for method in methods), methods
    suites = re.findall(r"`(tests/[^`]+)`", line)
    assert suites
    assert all((REPOSITORY / suite).is_file() for suite in suites)
