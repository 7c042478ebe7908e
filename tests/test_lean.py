"""What the server brings with it, by the lock: nothing that only experiments need."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

LOCK = Path(__file__).parents[1] / "uv.lock"
EXPERIMENTS = {"mlflow", "optuna", "ragas", "deepeval", "pandas", "scipy", "scikit-learn", "ray", "torch", "plotly"}
SERVER = ("serve", "redis", "mcp", "otlp", "oidc", "uvloop", "bedrock")


def brought_by(*extras: str) -> set[str]:
    """Every package that the project with these extras resolves to, on any system and Python."""
    packages: dict[str, dict[str, Any]] = {one["name"]: one for one in tomllib.loads(LOCK.read_text(encoding="utf-8"))["package"]}
    found: set[tuple[str, str]] = set()
    waiting = [("touchstone-rag", ""), *(("touchstone-rag", extra) for extra in extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        package = packages[name]
        wanted = package.get("optional-dependencies", {}).get(extra, []) if extra else package.get("dependencies", [])
        for one in wanted:
            waiting += [(one["name"], part) for part in ("", *one.get("extra", []))]
    return {name for name, _ in found}


@pytest.mark.parametrize("extras", [("serve",), SERVER], ids=["serve", "every extra of the server"])
def test_the_server_brings_nothing_that_only_experiments_need(extras: tuple[str, ...]) -> None:
    brought = brought_by(*extras)
    assert {"fastapi", "lancedb", "onnxruntime", "uvicorn"} <= brought
    assert brought & EXPERIMENTS == set()


def test_what_is_brought_is_found_through_extras_of_extras() -> None:
    assert {"mlflow", "optuna", "pandas", "scipy"} <= brought_by("harness")
    assert "pyjwt" in brought_by("oidc")
    assert "cryptography" in brought_by("oidc")  # by pyjwt's own extra
