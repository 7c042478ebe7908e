"""Checks what lies below infra/kubernetes: it renders, fits the schemas strictly, and keeps our rules. A line each.

Rendering needs kubectl (its built-in kustomize). The schemas of Kubernetes' own kinds come with kubernetes-validate, those of other
kinds from the folder that CRD_SCHEMAS names (default: tools/crd-schemas of one beside the checkout); where they are not, the fields that
custom_kinds.py knows have to do. A kind with neither is named.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from infra.checks import custom_kinds, hours
from infra.checks.kubernetes_agreement import disagreements
from infra.checks.kubernetes_analysis import analysis_breaches
from infra.checks.kubernetes_rules import Doc, breaches, named

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "infra" / "terraform" / "cluster" / "variables.tf"
[KUBERNETES] = re.findall(r'"kubernetes_version" \{[^}]*default\s+= "([\d.]+)"', CLUSTER.read_text(encoding="utf-8"))
OVERLAYS = ("overlays/dev", "overlays/staging", "overlays/prod")
COMPONENTS = (("overlays/staging", "off-hours"), ("overlays/prod", "by-traffic"))  # an overlay, with what it may take up
ALONE = ("cluster", "ray", "ray-index", "mlflow", "monitoring")
SCHEMAS = Path(os.environ.get("CRD_SCHEMAS") or next(ROOT.parent.glob("*/tools/crd-schemas"), ROOT / "crd-schemas"))
OWN_GROUPS = frozenset({"v1", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "rbac.authorization.k8s.io", "storage.k8s.io"})


def render(folder: Path) -> list[Doc]:
    """The documents of a kustomization."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{folder.name} does not render: {done.stderr.strip().splitlines()[-1]}")
    return [doc for doc in yaml.safe_load_all(done.stdout) if doc]


@contextmanager
def taken_up(overlay: str, component: str, kubernetes: Path = ROOT / "infra/kubernetes") -> Iterator[Path]:
    """A kustomization of an overlay with a component."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        places = {"resources": kubernetes / overlay, "components": kubernetes / "components" / component}
        said = {key: [os.path.relpath(place.resolve(), folder)] for key, place in places.items()}
        (folder / "kustomization.yaml").write_text(yaml.safe_dump(said), encoding="utf-8")
        yield folder


def misfits(docs: Sequence[Doc]) -> Iterator[str]:
    """What does not fit the schema of its kind; unknown fields are misfits too."""
    for doc in docs:
        if _own(doc):
            yield from (f"{named(doc)}: {what}" for what in _unfit(doc))
            continue
        if schema := custom_schema(doc):
            for error in jsonschema.Draft7Validator(schema).iter_errors(doc):
                yield f"{named(doc)}: {'.'.join(map(str, error.path))}: {error.message}"
        if custom_kinds.known(doc):
            yield from (f"{named(doc)}: {what}" for what in custom_kinds.misfits(doc))
            for where, template in custom_kinds.templates(doc):
                pod = {"apiVersion": "v1", "kind": "Pod"} | template
                yield from (f"{named(doc)}: {where}.{what}" for what in _unfit(pod))


def _unfit(doc: Doc) -> Iterator[str]:
    try:
        kubernetes_validate.validate(doc, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"


def _own(doc: Doc) -> bool:
    return doc["apiVersion"].partition("/")[0] in OWN_GROUPS


def unchecked(docs: Sequence[Doc]) -> set[str]:
    """Kinds of which neither a schema nor the fields are at hand."""
    return {doc["kind"] for doc in docs if not (_own(doc) or custom_schema(doc) or custom_kinds.known(doc))}


def custom_schema(doc: Doc) -> dict[str, Any] | None:
    """The schema of a kind of others, closed: a field it does not know is a mistake."""
    file = SCHEMAS / f"{doc['kind'].lower()}_{doc['apiVersion'].partition('/')[2]}.json"
    return closed(json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def closed(schema: Any) -> Any:
    """A schema that refuses properties it does not name."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {name: closed(value) for name, value in schema.items()}
    open_ended = "additionalProperties" in inner or inner.get("x-kubernetes-preserve-unknown-fields")
    if inner.get("properties") and not open_ended:
        inner["additionalProperties"] = False
    return inner


def check(folder: Path, *, by_digest: bool = False) -> list[str]:
    """All that is wrong with a kustomization."""
    try:
        docs = render(folder)
    except ValueError as error:
        return [str(error)]
    unfit = list(misfits(docs))
    return unfit or [*breaches(docs, by_digest=by_digest), *disagreements(docs)]  # what does not fit cannot be read for more


def check_rollouts(overlay: str, kubernetes: Path = ROOT / "infra/kubernetes") -> list[str]:
    """All that is wrong with the component for Argo Rollouts, in an overlay."""
    with taken_up(overlay, "rollouts", kubernetes) as folder:
        found = check(folder)
        if found:
            return found
        docs, monitoring = render(folder), render(kubernetes / "monitoring")
    services = {f"{doc['metadata']['name']}.{doc['metadata']['namespace']}" for doc in monitoring if doc["kind"] == "Service"}
    return [*analysis_breaches(docs, services)]


def check_hours(overlay: str, root: Path = ROOT) -> list[str]:
    """Jobs of a channel that pauses or its sleep do not leave the time for."""
    try:
        return [*hours.breaches(render(root / "infra/kubernetes" / overlay), hours.left_by_pauses(root))]
    except (hours.HoursError, ValueError) as error:
        return [str(error)]


def main() -> int:
    """A line per kustomization."""
    if not shutil.which("kubectl"):
        print("kubectl is not installed")
        return 77  # skipped
    failed, docs = False, []
    with ExitStack() as stack:
        folders = {name: ROOT / "infra" / "kubernetes" / name for name in (*OVERLAYS, *ALONE)}
        folders |= {f"{overlay} with {component}": stack.enter_context(taken_up(overlay, component)) for overlay, component in COMPONENTS}
        for name, folder in folders.items():
            found = check(folder, by_digest="/prod" in name)
            failed |= bool(found)
            print(f"kubernetes: {name}: {'ok' if not found else f'{len(found)} mistakes'}")
            print("".join(f"  {one}\n" for one in found), end="")
            docs += [] if found else render(folder)
    for name in OVERLAYS:
        for what, found in ((f"{name} with rollouts", check_rollouts(name)), (f"{name} when its jobs run", check_hours(name))):
            failed |= bool(found)
            print(f"kubernetes: {what}: {'ok' if not found else f'{len(found)} mistakes'}")
            print("".join(f"  {one}\n" for one in found), end="")
    if kinds := unchecked(docs):
        print(f"kubernetes: rendered and held to our rules, but no schema is at hand for: {', '.join(sorted(kinds))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
