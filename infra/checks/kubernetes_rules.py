"""Our own rules for one document of Kubernetes: what a pod may not be and must have, what never stands in plain text."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.settings import HarnessSettings
from serving.app.settings import AppSettings
from serving.pipeline.settings import variables

Doc = Mapping[str, Any]
KNOWN = frozenset({*variables(AppSettings), *variables(HarnessSettings)})
SECRETS = re.compile(r"SECRET|PASSWORD|TOKEN|API_KEY\b|HEADERS")
PASSWORD_IN_ADDRESS = re.compile(r"://[^/\s:@]*:(?!\$)[^/\s@]+@")
SECRET_IN_FILE = re.compile(r"^\s*[\w-]*(?:password|secret|token|api_key)\s*[:=]\s*['\"]?(?![$<'\"\s])\S+", re.IGNORECASE | re.MULTILINE)
LONGEST_APPLY = 262_144  # bytes of one document: `kubectl apply` keeps a copy of it in an annotation, which may not be longer
RECONCILED = ("Deployment", "StatefulSet")
WATCHERS = frozenset({"prometheus", "kube-state-metrics"})  # ask Kubernetes for what there is: for targets, and for how it fares
READING = frozenset({"get", "list", "watch"})
NODE = "169.254.0.0/16"  # where a node tells of itself, and of the rights that it has
BALANCER = {  # annotations of an Ingress, and what goes wrong without
    "alb.ingress.kubernetes.io/scheme": ("internal", "its balancer is open to the world"),
    "alb.ingress.kubernetes.io/listen-ports": ('[{"HTTPS": 443}]', "its balancer answers without TLS"),
    "alb.ingress.kubernetes.io/healthcheck-path": ("/readyz", "its balancer sends questions to pods that are not ready"),
}


def breaches(docs: Sequence[Doc], *, by_digest: bool = False) -> Iterator[str]:
    """Where a document does not keep our rules."""
    for doc in docs:
        for pod, role in pods(doc):
            yield from (f"{named(doc)}: {what}" for what in (*pod_breaches(pod, role), *image_breaches(pod, by_digest=by_digest)))
        for name, value in settings(doc):
            if SECRETS.search(name) and value:
                yield f"{named(doc)}: {name} stands there in plain text; a secret comes by reference"
            if name.startswith("TOUCHSTONE_") and name not in KNOWN:
                yield f"{named(doc)}: {name} is no setting of the application"
        for where, text in texts(doc):
            if PASSWORD_IN_ADDRESS.search(text) or (doc["kind"] == "ConfigMap" and SECRET_IN_FILE.search(f"{where}: {text}\n{text}")):
                yield f"{named(doc)}: {where} has a password in it; a secret comes by reference"
        yield from (f"{named(doc)}: {what}" for what in kind_breaches(doc))


def pod_breaches(pod: Doc, role: str) -> Iterator[str]:
    """What a pod may not be, or lacks."""
    person = pod.get("securityContext", {})
    if person.get("runAsNonRoot") is not True or person.get("runAsUser", 0) == 0:
        yield "runs as root"
    if person.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield "has no seccomp profile"
    if pod.get("automountServiceAccountToken") is not False and role != "watcher":
        yield "mounts a token of Kubernetes that it does not need"
    if any(pod.get(one) for one in ("hostNetwork", "hostPID", "hostIPC")) or any("hostPath" in volume for volume in pod.get("volumes", [])):
        yield "reaches into its host"
    for volume in pod.get("volumes", []):
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield f"volume {volume['name']} may fill its node"
    for container in containers(pod):
        name, locked = container["name"], container.get("securityContext", {})
        if locked.get("runAsNonRoot") is False or locked.get("runAsUser") == 0:
            yield f"{name} runs as root"
        if locked.get("seccompProfile", {}).get("type") == "Unconfined":
            yield f"{name} has no seccomp profile"
        if locked.get("allowPrivilegeEscalation") is not False or locked.get("privileged"):
            yield f"{name} may gain privileges"
        if locked.get("readOnlyRootFilesystem") is not True:
            yield f"{name} may write to its root"
        if locked.get("capabilities", {}).get("drop") != ["ALL"] or locked["capabilities"].get("add"):
            yield f"{name} keeps capabilities"
        if any("hostPort" in port for port in container.get("ports", [])):
            yield f"{name} takes a port of its host"
        resources = container.get("resources", {})
        if not {"cpu", "memory"} <= set(resources.get("requests", {})) or "memory" not in resources.get("limits", {}):
            yield f"{name} has no requests, or no limit of memory"


def image_breaches(pod: Doc, *, by_digest: bool) -> Iterator[str]:
    """Images that may be others tomorrow."""
    for container in containers(pod):
        name, image = container["name"], container["image"]
        _, _, tag = image.rpartition("/")[2].partition(":")
        if "@sha256:" not in image and (tag in ("", "latest") or by_digest):
            yield f"{name} runs {image!r}, which {'is not named by its digest' if by_digest else 'may be another one tomorrow'}"


def kind_breaches(doc: Doc) -> Iterator[str]:
    """What a document of its kind may not say, or has to."""
    kind, spec = doc["kind"], doc.get("spec", {})
    if kind == "Secret" and (doc.get("data") or doc.get("stringData")):
        yield "a secret stands in plain text; the secrets' driver brings it"
    if len(json.dumps(doc).encode()) > LONGEST_APPLY:
        yield f"is too long for kubectl apply, which keeps {LONGEST_APPLY // 1024} KiB at most"
    if kind == "Namespace" and doc["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
        yield "lets any pod in: it needs the label pod-security.kubernetes.io/enforce: restricted"
    if kind in RECONCILED or kind == "RayJob":
        for pod, _ in pods(doc):
            for container in pod["containers"]:
                yield from (f"no {probe}" for probe in ("readinessProbe", "livenessProbe") if probe not in container)
    if kind == "CronJob":
        if spec.get("concurrencyPolicy") != "Forbid":
            yield "may run twice at a time"
        if "activeDeadlineSeconds" not in spec["jobTemplate"]["spec"]:
            yield "may run for ever"
    if kind == "RayJob" and not (spec.get("shutdownAfterJobFinishes") and spec.get("activeDeadlineSeconds")):
        yield "leaves its cluster running, or may run for ever"
    if kind in ("Role", "ClusterRole"):
        for rule in doc["rules"]:
            for verb in sorted(set(rule["verbs"]) - READING):
                yield f"may {verb} {', '.join(rule['resources'])}: who watches changes nothing"
            for what in sorted({"*", "secrets", "configmaps"} & {*rule["resources"], *rule["apiGroups"]}):
                yield f"may read {what!r}: a watcher names what it watches, and nothing with secrets in it"
    if kind == "NetworkPolicy":
        if any(not rule.get("from") for rule in spec.get("ingress", [])):
            yield "lets everybody in"
        for rule in spec.get("egress", []):
            if not rule.get("to") and 53 not in {one.get("port") for one in rule.get("ports", [])}:  # names are asked of any address
                yield "lets everything out"
            if any(
                one.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" and NODE not in one["ipBlock"].get("except", [])
                for one in rule.get("to", [])
            ):
                yield f"lets pods ask their node for its rights: {NODE} is not left out"
    if kind == "Ingress":
        said = doc["metadata"].get("annotations", {})
        yield from (f"{what}: {name} is not {wanted}" for name, (wanted, what) in BALANCER.items() if said.get(name) != wanted)


def pods(doc: Doc) -> Iterator[tuple[Doc, str]]:
    """Every pod that a document makes, with its labels, and what it is for."""
    spec = doc.get("spec", {})
    templates = {
        "Deployment": lambda: [spec["template"]],
        "StatefulSet": lambda: [spec["template"]],
        "DaemonSet": lambda: [spec["template"]],
        "Pod": lambda: [doc],
        "CronJob": lambda: [spec["jobTemplate"]["spec"]["template"]],
        "Job": lambda: [spec["template"]],
        "RayJob": lambda: [
            spec["rayClusterSpec"]["headGroupSpec"]["template"],
            *(group["template"] for group in spec["rayClusterSpec"]["workerGroupSpecs"]),
        ],
    }
    for template in templates.get(doc["kind"], list)():
        labels = template.get("metadata", {}).get("labels", {})
        role = "watcher" if labels.get("app.kubernetes.io/name") in WATCHERS else "worker"
        yield {**template["spec"], "labels": labels}, role


def containers(pod: Doc) -> list[Doc]:
    """All that a pod runs, before and while it works."""
    return [*pod.get("initContainers", []), *pod["containers"]]


def settings(doc: Doc) -> Iterator[tuple[str, str]]:
    """Every environment variable that a document gives by its value."""
    if doc["kind"] == "ConfigMap":
        yield from ((name, value) for name, value in doc.get("data", {}).items() if re.fullmatch(r"[A-Z][A-Z0-9_]+", name))
    for pod, _ in pods(doc):
        for container in containers(pod):
            yield from ((one["name"], one.get("value", "")) for one in container.get("env", []))


def texts(doc: Doc) -> Iterator[tuple[str, str]]:
    """Every text in which somebody could leave a password, with its place."""
    if doc["kind"] == "ConfigMap":
        yield from doc.get("data", {}).items()
    for pod, _ in pods(doc):
        for container in containers(pod):
            yield from ((one["name"], one.get("value", "")) for one in container.get("env", []))
            yield f"the command of {container['name']}", " ".join([*container.get("command", []), *container.get("args", [])])
    if doc["kind"] == "RayJob":
        yield "its entrypoint", doc["spec"].get("entrypoint", "")


def named(doc: Doc) -> str:
    """A document as people speak of it."""
    return f"{doc['kind']} {doc['metadata']['name']}"
