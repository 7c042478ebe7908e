"""Terraform where its registry may be out of reach: a copy of infra/terraform, and a provider that knows AWS's arguments but calls nothing.

The stand-in is `terraform-offline`, a folder of its schema and a small provider, below `tools` of a folder beside the checkout, or where
TERRAFORM_OFFLINE says. It proves arguments, types, references and order, never what AWS says to them.
"""

import fcntl
import gzip
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outcome import CheckFailed, CheckSkipped

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("bootstrap", "persistent", "cluster")
LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'


@dataclass(frozen=True)
class WorkingCopy:
    """A copy of infra/terraform and the environment that Terraform is run with."""

    terraform: Path
    environment: Mapping[str, str]
    calls_aws: bool = False

    def run(self, layer: str, *arguments: str, without: tuple[str, ...] = ()) -> str:
        """One command in a layer, without some variables of the environment; `CheckFailed` with its words where it fails."""
        command = ["terraform", f"-chdir={self.terraform / layer}", *arguments]
        done = subprocess.run(
            command,
            env={name: value for name, value in self.environment.items() if name not in without},
            capture_output=True,
            text=True,
            timeout=900,
        )
        if done.returncode:
            raise CheckFailed(f"{layer}: terraform {arguments[0]}\n{_said(done)}")
        return done.stdout

    def init(self, layer: str) -> None:
        """Ready a layer."""
        self.run(layer, "init", "-input=false", "-no-color")

    def resources(self, layer: str) -> list[dict[str, Any]]:
        """Every resource that a layer has made, those of its modules included."""
        found = _resources(json.loads(self.run(layer, "show", "-json")).get("values", {}).get("root_module", {}))
        return [one for one in found if one["mode"] == "managed"]


def _said(done: subprocess.CompletedProcess[str]) -> str:
    """Its errors; where it names none, the end of what it said."""
    said = f"{done.stdout}\n{done.stderr}".strip()
    errors = re.findall(r"^Error: .*?(?=^Error: |\Z)", said, re.DOTALL | re.MULTILINE)
    return "\n".join(error.strip() for error in errors) or "\n".join(said.splitlines()[-20:])


def offline_folder(root: Path = ROOT) -> Path | None:
    """Where the stand-in is."""
    named = os.environ.get("TERRAFORM_OFFLINE")
    folders = [Path(named)] if named else sorted(root.parent.glob("*/tools/terraform-offline"))
    return next((folder for folder in folders if (folder / "setup").is_file()), None)


@contextmanager
def working_copy(terraform: Path = ROOT / "infra" / "terraform", *, home: Path = ROOT / ".touchstone") -> Iterator[WorkingCopy]:
    """A copy to run Terraform in; `CheckSkipped` where Terraform or the stand-in is missing."""
    if missing := [layer for layer in LAYERS if not (terraform / layer).is_dir()]:
        raise CheckFailed(f"{terraform} has no layer {missing[0]!r}; {', '.join(LAYERS)} are needed.")
    if not shutil.which("terraform"):
        raise CheckSkipped("terraform is not installed, and neither apt nor pip has it: https://developer.hashicorp.com/terraform/install")
    offline = offline_folder()
    if offline is None and not _registry_answers():
        raise CheckSkipped(
            "Terraform's registry is out of reach, and no terraform-offline beside the checkout (or TERRAFORM_OFFLINE) stands in for it"
        )
    settings = _set_up(offline, home / "tools" / "terraform-offline") if offline else None
    with tempfile.TemporaryDirectory(prefix="terraform-") as name:
        folder = Path(name)
        copy = folder / "terraform"
        shutil.copytree(terraform, copy, ignore=shutil.ignore_patterns(".terraform", "*.tfstate*", ".terraform.lock.hcl"))
        for layer in LAYERS:
            (copy / layer / "override.tf").write_text(LOCAL_STATE)
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "TF_"))}
        environment |= {"TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", "TF_VAR_database_password": "of-the-stand-in"}
        if offline:
            schema = folder / "schema.json.gz"
            _write_small_schema(offline, copy, schema)
            environment |= {"TF_CLI_CONFIG_FILE": str(settings), "STUB_SCHEMA": str(schema)}
        yield WorkingCopy(copy, environment, calls_aws=offline is None)


def _registry_answers() -> bool:
    try:
        socket.create_connection(("registry.terraform.io", 443), timeout=3).close()
    except OSError:
        return False
    return True


def _set_up(offline: Path, cache: Path) -> Path:
    """The stand-in's environment, made once."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = subprocess.run(["bash", str(offline / "setup"), str(cache)], capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise CheckSkipped(f"the stand-in's packages cannot be had: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}")
    return cache / "terraformrc"


def _write_small_schema(offline: Path, terraform: Path, target: Path) -> None:
    """Only what these files name: with all 1,581 resources every command takes seconds. A name that AWS lacks is missing here too."""
    [whole] = offline.glob("schema-aws-*.json.gz")
    schema = json.loads(gzip.decompress(whole.read_bytes()))
    text = "\n".join(path.read_text(encoding="utf-8") for path in terraform.rglob("*.tf"))
    for kind in ("resource", "data"):
        named = set(re.findall(rf'^{kind} "(\w+)"', text, re.MULTILINE))
        schema[kind] = {name: block for name, block in schema[kind].items() if name in named}
    target.write_bytes(gzip.compress(json.dumps(schema).encode(), 1))


def _resources(module: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    yield from module.get("resources", [])
    for child in module.get("child_modules", []):
        yield from _resources(child)
