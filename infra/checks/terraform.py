"""Terraform: form, arguments and references of every layer, its tests, and that the layers stand and fall in their order."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

from delivery import missing_endpoints, undelivered_alarms, unreadable_archives
from made import layers_without_tags, names_that_drift, open_buckets, tags_that_are_missing
from outcome import CheckFailed, CheckSkipped
from stand_in import LAYERS, ROOT, WorkingCopy, working_copy

SKIPPED = 77


def check_form(terraform: Path) -> None:
    """As `terraform fmt` writes it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = ["terraform", "fmt", "-check", "-recursive", "-no-color", str(terraform)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise CheckFailed(f"Not as terraform fmt writes it:\n{done.stdout}{done.stderr}Run: terraform fmt -recursive infra/terraform")


def check_layer(place: WorkingCopy, layer: str) -> str:
    """Arguments, types and references of one layer, then its tests."""
    place.init(layer)
    place.run(layer, "validate", "-no-color")
    said = place.run(layer, "test", "-no-color")
    return f"{layer}: {said.strip().splitlines()[-1]}"


def check_layering(place: WorkingCopy) -> str:
    """Up, the cluster down and up again, and the persistent layer as it was in between."""
    for layer in LAYERS:
        place.run(layer, "apply", "-auto-approve", "-input=false", "-no-color")
    made = {layer: place.resources(layer) for layer in LAYERS}
    names = json.loads((place.terraform / "cluster" / "names.auto.tfvars.json").read_text(encoding="utf-8"))["names"]
    everything = [one for resources in made.values() for one in resources]
    wrong = [*open_buckets(made["bootstrap"]), *open_buckets(made["persistent"]), *names_that_drift(everything, names)]
    wrong += [
        *undelivered_alarms(everything, names["region"]),
        *unreadable_archives(everything),
        *missing_endpoints(everything, names["region"]),
    ]
    wrong += [*tags_that_are_missing(everything), *layers_without_tags(place.terraform, LAYERS)]
    if wrong:
        raise CheckFailed("\n".join(wrong))
    before = {one["address"]: one["values"] for one in made["persistent"]}
    cluster = len(made["cluster"])
    # as a workflow plans it, which knows neither password nor snapshot; 2, and so a failure, where anything would change
    place.run("cluster", "plan", "-detailed-exitcode", "-input=false", "-no-color", without=("TF_VAR_database_password",))
    place.run("cluster", "destroy", "-auto-approve", "-input=false", "-no-color")
    if left := place.resources("cluster"):
        raise CheckFailed(f"The cluster layer is destroyed, and this is left: {', '.join(one['address'] for one in left)}")
    after = {one["address"]: one["values"] for one in place.resources("persistent")}
    if before != after:
        raise CheckFailed("Destroying the cluster layer changed the persistent layer.")
    place.run("persistent", "plan", "-detailed-exitcode", "-input=false", "-no-color")  # 2, and so a failure, where anything would change
    place.run("cluster", "apply", "-auto-approve", "-input=false", "-no-color")
    if (again := len(place.resources("cluster"))) != cluster:
        raise CheckFailed(f"The cluster layer had {cluster} resources, and has {again} when it is brought back.")
    return f"{len(before)} resources stay while {cluster} of the cluster go and come back"


def main() -> int:
    """Print a line per layer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--terraform", type=Path, default=ROOT / "infra" / "terraform", help="another folder of layers")
    parser.add_argument("--only", choices=LAYERS, help="one layer, and no apply")
    chosen = parser.parse_args()
    try:
        with working_copy(chosen.terraform) as place:
            check_form(chosen.terraform)
            for layer in [chosen.only] if chosen.only else LAYERS:
                print(check_layer(place, layer))
            if place.calls_aws:
                print("layering: left out, since the provider is the real one and would make things")
            elif not chosen.only:
                print(check_layering(place))
    except CheckSkipped as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    except CheckFailed as error:
        print(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
