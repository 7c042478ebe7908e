"""Checks what lies below infra/kubernetes: it renders, fits the schemas strictly, and keeps our rules. A line each.

Rendering needs kubectl (its built-in kustomize). The schemas of Kubernetes' own kinds come with kubernetes-validate, those of other
kinds from the folder that CRD_SCHEMAS names (default: tools/crd-schemas of one beside the checkout); a kind without one is named.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

from harness.settings import HarnessSettings
from serving.app.settings import AppSettings
from serving.pipeline.settings import variables

ROOT = Path(__file__).parents[2]
KUBERNETES = "1.34"  # that of infra/terraform/cluster
OVERLAYS = ("overlays/dev", "overlays/staging", "overlays/prod")
ALONE = ("ray", "ray-index", "mlflow", "monitoring")
SCHEMAS = Path(os.environ.get("CRD_SCHEMAS") or next(ROOT.parent.glob("*/tools/crd-schemas"), ROOT / "crd-schemas"))
SECRETS = re.compile(r"SECRET|PASSWORD|TOKEN|API_KEY\b|HEADERS")
LONGEST_QUESTION_S = int(AppSettings.model_fields["request_timeout_s"].default) + 5
Doc = Mapping[str, Any]


def render(folder: Path) -> list[Doc]:
    """The documents of a kustomization."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{folder.name} does not render: {done.stderr.strip().splitlines()[-1]}")
    return [doc for doc in yaml.safe_load_all(done.stdout) if doc]


def misfits(docs: list[Doc]) -> Iterator[str]:
    """What does not fit the schema of its kind; unknown fields are misfits too."""
    for doc in docs:
        if doc["apiVersion"].partition("/")[0] in OWN_GROUPS:
            try:
                kubernetes_validate.validate(doc, KUBERNETES, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{named(doc)}: {'.'.join(map(str, error.path))}: {error.message}"
        elif schema := custom_schema(doc):
            for error in jsonschema.Draft7Validator(schema).iter_errors(doc):
                yield f"{named(doc)}: {'.'.join(map(str, error.path))}: {error.message}"


def unchecked(docs: list[Doc]) -> set[str]:
    """Kinds of which no schema is at hand."""
    return {doc["kind"] for doc in docs if doc["apiVersion"].partition("/")[0] not in OWN_GROUPS and not custom_schema(doc)}


OWN_GROUPS = frozenset({"v1", "apps", "batch", "autoscaling", "policy", "networking.k8s.io", "rbac.authorization.k8s.io", "storage.k8s.io"})


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


def breaches(docs: list[Doc], *, by_digest: bool = False) -> Iterator[str]:
    """Where our own rules are not kept."""
    for doc in docs:
        for pod, where in pods(doc):
            yield from (f"{named(doc)}: {what}" for what in pod_breaches(pod, where, by_digest=by_digest))
        for name, value in settings(doc):
            if SECRETS.search(name) and value:
                yield f"{named(doc)}: {name} stands there in plain text; a secret comes by reference"
            if name.startswith("TOUCHSTONE_") and name not in KNOWN:
                yield f"{named(doc)}: {name} is no setting of the application"
    yield from between(docs)


KNOWN = frozenset({*variables(AppSettings), *variables(HarnessSettings)})


def pod_breaches(pod: Doc, where: str, *, by_digest: bool) -> Iterator[str]:
    """What a pod may not be, or lacks."""
    person = pod.get("securityContext", {})
    if person.get("runAsNonRoot") is not True or person.get("runAsUser", 0) == 0:
        yield "runs as root"
    if person.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False and "serviceAccountName" in pod and not where.startswith("watcher"):
        yield "mounts a token of Kubernetes that it does not need"
    if pod.get("hostNetwork") or pod.get("hostPID") or any("hostPath" in volume for volume in pod.get("volumes", [])):
        yield "reaches into its host"
    for container in [*pod.get("initContainers", []), *pod["containers"]]:
        name = container["name"]
        locked = container.get("securityContext", {})
        if locked.get("allowPrivilegeEscalation") is not False or locked.get("privileged"):
            yield f"{name} may gain privileges"
        if locked.get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its root"
        if locked.get("capabilities", {}).get("drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
            yield f"{name} has no requests, or no limit of memory"
        image = container["image"]
        _, _, tag = image.rpartition("/")[2].partition(":")
        if "@sha256:" not in image and (tag in ("", "latest") or by_digest):
            yield f"{name} runs {image!r}, which {'is not named by its digest' if by_digest else 'may be another one tomorrow'}"


def between(docs: list[Doc]) -> Iterator[str]:
    """What has to agree between documents."""
    for deployment in (doc for doc in docs if doc["kind"] == "Deployment"):
        template = deployment["spec"]["template"]
        labels, name = template["metadata"]["labels"], deployment["metadata"]["name"]
        container = template["spec"]["containers"][0]
        for probe in ("readinessProbe", "livenessProbe"):
            if probe not in container:
                yield f"{named(deployment)}: no {probe}"
        if name != "touchstone-api":
            continue
        if not any(doc["kind"] == "PodDisruptionBudget" and selects(doc["spec"]["selector"], labels) for doc in docs):
            yield f"{named(deployment)}: no disruption budget covers it"
        scalers = [doc for doc in docs if doc["kind"] in ("HorizontalPodAutoscaler", "ScaledObject")]
        if len([doc for doc in scalers if doc["spec"]["scaleTargetRef"]["name"] == name]) != 1:
            yield f"{named(deployment)}: needs one autoscaler, and no second"
        if not any(doc["kind"] == "Service" and labels.items() >= doc["spec"]["selector"].items() for doc in docs):
            yield f"{named(deployment)}: no service finds it"
        pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        if pause < 5 or template["spec"].get("terminationGracePeriodSeconds", 30) < pause + LONGEST_QUESTION_S:
            yield f"{named(deployment)}: is ended before its longest question ({pause} s of notice and {LONGEST_QUESTION_S} s are needed)"
        if deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
            yield f"{named(deployment)}: a rollout takes pods away before new ones are ready"
    policies = [doc for doc in docs if doc["kind"] == "NetworkPolicy"]
    for doc in docs:
        for pod, _ in pods(doc):
            labels = pod["labels"]
            if not any(selects(policy["spec"]["podSelector"], labels) for policy in policies):
                yield f"{named(doc)}: no network policy covers it"


def analysis_breaches(docs: list[Doc], services: set[str]) -> Iterator[str]:
    """Where an analysis of Argo Rollouts asks what is not there, shows a key, or takes what is undecided for a failure."""
    namespaces = {doc["metadata"]["name"] for doc in docs if doc["kind"] == "Namespace"}
    hosts = services | {f"{doc['metadata']['name']}.{doc['metadata']['namespace']}" for doc in docs if doc["kind"] == "Service"}
    for doc in (doc for doc in docs if doc["kind"] == "AnalysisTemplate"):
        given = {one["name"]: str(one.get("value", "")) for one in doc["spec"]["args"]} | {"namespace": min(namespaces, default="")}
        secret = {one["name"] for one in doc["spec"]["args"] if "secretKeyRef" in one.get("valueFrom", {})}
        for metric in doc["spec"]["metrics"]:
            where = f"{named(doc)}: {metric['name']}"
            web = metric["provider"].get("web", {})
            address = web.get("url") or metric["provider"]["prometheus"]["address"]
            asked = re.findall(r"\{\{args\.([a-z-]+)\}\}", json.dumps(metric["provider"]))
            yield from (f"{where} asks for the argument {name!r}, which there is none of" for name in sorted({*asked} - {*given}))
            for name, value in given.items():
                address = address.replace(f"{{{{args.{name}}}}}", value)
            host = address.split("/")[2].partition(":")[0]
            if host.removesuffix(".svc.cluster.local") not in hosts:
                yield f"{where} asks {host}, and there is no such service"
            for header in web.get("headers", []):
                if header["key"] == "Authorization" and not any(f"{{{{args.{name}}}}}" in header["value"] for name in secret):
                    yield f"{where} has a key that comes from no secret"
            if address.endswith("/verdict"):
                yield from (f"{where}: {what}" for what in verdict_breaches(metric))


def verdict_breaches(metric: Doc) -> Iterator[str]:
    """Where the conditions on a verdict are not those of its words."""
    good, bad = (set(re.findall(r'"([^"]+)"', metric.get(name, ""))) for name in ("successCondition", "failureCondition"))
    if (good, bad) != ({"no worse", "better"}, {"worse"}):
        yield "succeeds by no worse and better, fails by worse, and is inconclusive while undecided: both conditions have to say so"
    if metric.get("inconclusiveLimit", 0) >= metric["count"]:
        yield "ends well although it was undecided to the end"


def with_component(overlay: Path, component: Path) -> list[Doc]:
    """The documents of an overlay that takes a component."""
    with tempfile.TemporaryDirectory() as scratch:
        places = {
            name: os.path.relpath(path.resolve(), Path(scratch).resolve())
            for name, path in (("resources", overlay), ("components", component))
        }
        text = yaml.safe_dump({name: [place] for name, place in places.items()})
        (Path(scratch) / "kustomization.yaml").write_text(text, encoding="utf-8")
        return render(Path(scratch))


def check_rollouts(root: Path, overlay: str) -> list[str]:
    """All that is wrong with the component for Argo Rollouts, in an overlay."""
    try:
        docs = with_component(root / overlay, root / "components" / "rollouts")
        monitoring = render(root / "monitoring")
    except ValueError as error:
        return [str(error)]
    services = {f"{doc['metadata']['name']}.{doc['metadata']['namespace']}" for doc in monitoring if doc["kind"] == "Service"}
    return [*misfits(docs), *breaches(docs), *analysis_breaches(docs, services)]


def selects(selector: Doc, labels: Doc) -> bool:
    """Whether a selector of labels takes these."""
    return labels.items() >= selector.get("matchLabels", {}).items() and not selector.get("matchExpressions")


def pods(doc: Doc) -> Iterator[tuple[Doc, str]]:
    """Every pod that a document makes, with its labels, and what it is for."""
    spec = doc.get("spec", {})
    templates = {
        "Deployment": lambda: [spec["template"]],
        "StatefulSet": lambda: [spec["template"]],
        "CronJob": lambda: [spec["jobTemplate"]["spec"]["template"]],
        "Job": lambda: [spec["template"]],
        "RayJob": lambda: [
            spec["rayClusterSpec"]["headGroupSpec"]["template"],
            *(group["template"] for group in spec["rayClusterSpec"]["workerGroupSpecs"]),
        ],
    }
    for template in templates.get(doc["kind"], list)():
        labels = template.get("metadata", {}).get("labels", {})
        role = "watcher" if labels.get("app.kubernetes.io/name") == "prometheus" else "worker"  # Prometheus asks Kubernetes for its targets
        yield {**template["spec"], "labels": labels}, role


def settings(doc: Doc) -> Iterator[tuple[str, str]]:
    """Every environment variable that a document gives by its value."""
    if doc["kind"] == "ConfigMap":
        yield from ((name, value) for name, value in doc.get("data", {}).items() if re.fullmatch(r"[A-Z][A-Z0-9_]+", name))
    for pod, _ in pods(doc):
        for container in pod["containers"]:
            yield from ((one["name"], one.get("value", "")) for one in container.get("env", []))


def named(doc: Doc) -> str:
    """A document as people speak of it."""
    return f"{doc['kind']} {doc['metadata']['name']}"


def check(folder: Path, *, by_digest: bool = False) -> list[str]:
    """All that is wrong with a kustomization."""
    try:
        docs = render(folder)
    except ValueError as error:
        return [str(error)]
    return [*misfits(docs), *breaches(docs, by_digest=by_digest)]


def main() -> int:
    """A line per kustomization."""
    if not shutil.which("kubectl"):
        print("kubectl is not installed")
        return 77  # skipped
    failed, docs = False, []
    for name in (*OVERLAYS, *ALONE):
        folder = ROOT / "infra" / "kubernetes" / name
        found = check(folder, by_digest=name.endswith("/prod"))
        failed |= bool(found)
        print(f"kubernetes: {name}: {'ok' if not found else f'{len(found)} mistakes'}")
        print("".join(f"  {one}\n" for one in found), end="")
        docs += [] if found else render(folder)
    found = [f"{name}: {mistake}" for name in OVERLAYS for mistake in check_rollouts(ROOT / "infra" / "kubernetes", name)]
    failed |= bool(found)
    print(f"kubernetes: components/rollouts: {'ok' if not found else f'{len(found)} mistakes'}")
    print("".join(f"  {one}\n" for one in found), end="")
    docs += (
        []
        if found
        else with_component(ROOT / "infra" / "kubernetes" / OVERLAYS[0], ROOT / "infra" / "kubernetes" / "components" / "rollouts")
    )
    if kinds := unchecked(docs):
        print(f"kubernetes: rendered and held to our rules, but no schema is at hand for: {', '.join(sorted(kinds))}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
