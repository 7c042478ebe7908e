"""checkov over infra/terraform, less what checkov.yaml leaves out with a reason."""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from stand_in import ROOT

SKIPPED = 77
LEFT_OUT = Path(__file__).with_name("checkov.yaml")


def findings(folder: Path) -> dict[str, list[str]]:
    """What checkov finds: resources by the id of the check; raises `LookupError` where it cannot be had."""
    uv = shutil.which("uv")
    if uv is None:
        raise LookupError("uv is not installed, which fetches checkov")
    version = yaml.safe_load(LEFT_OUT.read_text(encoding="utf-8"))["version"]
    with tempfile.TemporaryDirectory(prefix="terraform-") as name:
        # what is left out is left out of the layers, and not of what an account has chosen in its terraform.tfvars
        copy = shutil.copytree(
            folder, Path(name) / "terraform", ignore=shutil.ignore_patterns("terraform.tfvars", ".terraform", "*.tfstate*")
        )
        command = [uv, "tool", "run", "--quiet", "--from", f"checkov=={version}", "checkov", "-d", str(copy), "--framework", "terraform"]
        command += ["--output", "json", "--quiet", "--compact", "--skip-download", "--soft-fail"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=900)
        except subprocess.TimeoutExpired:
            raise LookupError(f"checkov {version} was not fetched and run within a quarter of an hour") from None
    try:
        said: Any = json.loads(done.stdout)
    except ValueError:
        raise LookupError(
            f"checkov {version} cannot be fetched or run: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1]}"
        ) from None
    results = said if isinstance(said, list) else [said]
    if any(result.get("results", {}).get("parsing_errors") for result in results) or not any(
        result.get("summary", {}).get("resource_count") for result in results
    ):
        raise ValueError(f"checkov could not read {folder}")
    found: dict[str, list[str]] = {}
    for result in results:
        for one in result["results"]["failed_checks"]:
            found.setdefault(f"{one['check_id']} {one['check_name']}", []).append(one["resource"])
    return found


def main() -> int:
    """Print what is found and not left out, and what is left out for nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--terraform", type=Path, default=ROOT / "infra" / "terraform", help="another folder of layers")
    chosen = parser.parse_args()
    left_out = yaml.safe_load(LEFT_OUT.read_text(encoding="utf-8"))["left_out"]
    try:
        found = findings(chosen.terraform)
    except LookupError as error:
        print(f"skipped: {error}")
        return SKIPPED
    except ValueError as error:
        print(error)
        return 1
    wrong = [f"{check}: {', '.join(sorted(set(resources)))}" for check, resources in found.items() if check.split()[0] not in left_out]
    hit = {check.split()[0] for check in found}
    wrong += [f"checkov.yaml leaves out {check}, which finds nothing: take the line out" for check in left_out if check not in hit]
    print("\n".join(wrong or [f"nothing beside the {len(left_out)} checks that checkov.yaml leaves out with a reason"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
