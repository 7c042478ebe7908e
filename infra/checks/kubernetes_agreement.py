"""What has to agree between documents of Kubernetes: names that one speaks of and another gives, and rules over both."""

import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from typer.exceptions import TyperException
from typer.main import get_command

from harness.cli import app
from infra.checks import custom_kinds
from infra.checks.kubernetes_rules import RECONCILED, Doc, containers, named, pods
from serving.app.settings import AppSettings

ROOT = Path(__file__).parents[2]
API = "touchstone-api"
LONGEST_QUESTION_S = int(AppSettings.model_fields["request_timeout_s"].default) + 5
BY_HAND = {"grafana"}  # secrets that somebody makes, as the comment beside the reference says
AGENT = "169.254.170.23/32"  # of EKS Pod Identity
MONITORING = "touchstone-monitoring"
SPREAD = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
SCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


def disagreements(docs: Sequence[Doc]) -> Iterator[str]:
    """Where documents do not agree with each other, or with the program that they start."""
    for doc in docs:
        for pod, role in pods(doc):
            yield from (f"{named(doc)}: {what}" for what in (*_missing(pod, docs), *_cut_off(pod, role, docs), *_wrong_commands(pod, docs)))
        if doc["kind"] in RECONCILED:
            yield from (f"{named(doc)}: {what}" for what in _wrong_scale(doc, docs))
        if doc["kind"] == "Deployment" and doc["metadata"]["name"] == API:
            yield from (f"{named(doc)}: {what}" for what in _unsafe_rollout(doc, docs))
        if doc["kind"] == "PodDisruptionBudget" and _blocks(doc, docs):
            yield f"{named(doc)}: lets no pod go, so that no node can ever be emptied"
        if doc["kind"] == "SecretProviderClass":
            if doc["spec"]["parameters"].get("usePodIdentity") != "true":
                yield f'{named(doc)}: asks by the rights of no pod: usePodIdentity is not "true"'
            for one in doc["spec"].get("secretObjects", []):
                for item in one["data"]:
                    if item["objectName"] not in custom_kinds.fetched(doc):
                        yield f"{named(doc)}: {item['objectName']!r} is nothing that it fetches"
        if doc["kind"] == "Ingress":
            yield from (f"{named(doc)}: {what}" for what in _no_backend(doc, docs))
        if doc["kind"] == "RayJob":
            yield from (f"{named(doc)}: {what}" for what in _wrong_ray(doc))


def _missing(pod: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    """What a pod speaks of and nobody gives."""
    maps, claims = _names("ConfigMap", docs), _names("PersistentVolumeClaim", docs)
    classes = {volume["csi"]["volumeAttributes"]["secretProviderClass"] for volume in pod.get("volumes", []) if "csi" in volume}
    for name in classes - _names("SecretProviderClass", docs):
        yield f"there is no SecretProviderClass {name}"
    secrets = {
        (one["secretName"], item["key"])
        for doc in docs
        if doc["kind"] == "SecretProviderClass" and doc["metadata"]["name"] in classes
        for one in doc["spec"].get("secretObjects", [])
        for item in one["data"]
    }
    if (account := pod.get("serviceAccountName")) and account not in _names("ServiceAccount", docs):
        yield f"there is no ServiceAccount {account}"
    for volume in pod.get("volumes", []):
        if (name := volume.get("configMap", {}).get("name")) and name not in maps:
            yield f"there is no ConfigMap {name}"
        if (name := volume.get("persistentVolumeClaim", {}).get("claimName")) and name not in claims:
            yield f"there is no PersistentVolumeClaim {name}"
    for container in containers(pod):
        for source in container.get("envFrom", []):
            if (name := source.get("configMapRef", {}).get("name")) and name not in maps:
                yield f"there is no ConfigMap {name}"
        for one in container.get("env", []):
            wanted = one.get("valueFrom", {}).get("secretKeyRef")
            if wanted and wanted["name"] not in BY_HAND and (wanted["name"], wanted["key"]) not in secrets and not wanted.get("optional"):
                yield f"{one['name']}: no volume of the pod brings the secret {wanted['name']} with {wanted['key']}"
        ports = {port.get("name") for port in container.get("ports", [])}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            port = container.get(probe, {}).get("httpGet", {}).get("port")
            if isinstance(port, str) and port not in ports:
                yield f"{probe}: {container['name']} has no port {port!r}"


def _cut_off(pod: Doc, role: str, docs: Sequence[Doc]) -> Iterator[str]:
    """Whether network policies cover a pod, and leave it what every pod needs."""
    mine = [doc["spec"] for doc in docs if doc["kind"] == "NetworkPolicy" and selects(doc["spec"].get("podSelector", {}), pod["labels"])]
    if not any("Ingress" in spec.get("policyTypes", ["Ingress"]) for spec in mine):
        yield "no network policy covers it"
    if not any("Egress" in spec.get("policyTypes", []) for spec in mine):
        if pod.get("serviceAccountName") and role != "watcher":
            yield "has rights of AWS, and may reach anything: no network policy covers what it asks"
        return
    rules = [rule for spec in mine for rule in spec.get("egress", [])]
    if not any(not rule.get("to") and _opens(rule, 53) for rule in rules):
        yield "cannot ask for names: port 53 has to be open to any address, since in Auto Mode no pod answers there"
    agent = [rule for rule in rules if {"ipBlock": {"cidr": AGENT}} in rule.get("to", []) and _opens(rule, 80)]
    if not agent and pod.get("serviceAccountName") and role != "watcher":  # whose account has rights in Kubernetes, and none of AWS
        yield f"gets no rights of AWS: {AGENT}, port 80, is closed to it"
    for port, what in _asked(pod, docs).items():
        if not any(_opens(rule, port) for rule in rules if any("podSelector" not in one for one in rule.get("to", []))):  # nor its like
            yield f"cannot reach {what}: port {port} is closed to it"


def _asked(pod: Doc, docs: Sequence[Doc]) -> dict[int, str]:
    """The ports that a pod asks, by what it is told."""
    told = dict[str, str]()
    for container in containers(pod):
        told |= _environment(container, docs)
    asked = {443: "AWS"}
    if "TOUCHSTONE_REDIS" in told:
        asked[6379] = "the cache"
    if uri := told.get("TOUCHSTONE_MLFLOW_URI"):
        asked[urlsplit(uri).port or 443] = "MLflow"
    if "MLFLOW_BACKEND_STORE_URI" in told:
        asked[5432] = "its database"
    return asked


def _opens(rule: Doc, port: int) -> bool:
    return not rule.get("ports") or any(one.get("port") == port for one in rule["ports"])


def _wrong_scale(doc: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    """Whether the number of pods is said once."""
    scalers = _scalers(doc, docs)
    if scalers and "replicas" in doc["spec"]:
        yield "says how many replicas, as its autoscaler does: every apply would undo what that one chose"
    if doc["metadata"]["name"] == API and len(scalers) != 1:
        yield "needs one autoscaler, and no second"


def _scalers(doc: Doc, docs: Sequence[Doc]) -> list[Doc]:
    return [one for one in docs if one["kind"] in SCALERS and one["spec"]["scaleTargetRef"]["name"] == doc["metadata"]["name"]]


def _unsafe_rollout(doc: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    """Whether questions survive a rollout and the emptying of a node."""
    template = doc["spec"]["template"]
    labels, container = template["metadata"]["labels"], template["spec"]["containers"][0]
    if not any(one["kind"] == "PodDisruptionBudget" and selects(one["spec"]["selector"], labels) for one in docs):
        yield "no disruption budget covers it"
    services = [one for one in docs if one["kind"] == "Service" and labels.items() >= one["spec"]["selector"].items()]
    if not services:
        yield "no service finds it"
    named_ports = {port.get("name") for port in container.get("ports", [])}
    for port in (port for one in services for port in one["spec"]["ports"]):
        if isinstance(port.get("targetPort"), str) and port["targetPort"] not in named_ports:
            yield f"its service asks for a port {port['targetPort']!r} that it does not have"
    pause = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    if pause < 5 or template["spec"].get("terminationGracePeriodSeconds", 30) < pause + LONGEST_QUESTION_S:
        yield f"is ended before its longest question ({pause} s of notice and {LONGEST_QUESTION_S} s are needed)"
    if doc["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] != 0:
        yield "a rollout takes pods away before new ones are ready"
    apart = {one["topologyKey"] for one in template["spec"].get("topologySpreadConstraints", []) if selects(one["labelSelector"], labels)}
    yield from (f"its pods may all be in one {key.partition('/')[2]}: no spread over {key}" for key in SPREAD if key not in apart)
    paths = {probe: container.get(f"{probe}Probe", {}).get("httpGet", {}).get("path") for probe in ("readiness", "liveness")}
    if paths != {"readiness": "/readyz", "liveness": "/livez"}:
        yield "is ready by /readyz, which tells of its release, and alive by /livez, since a restart mends no bucket"
    if not any(_lets_in(one["spec"], MONITORING) for one in docs if _covers(one, labels)):
        yield f"no network policy lets {MONITORING} in, which asks for its metrics"
    if "startupProbe" not in container:
        yield "no startupProbe: a slow start would be taken for a hang"


def _covers(doc: Doc, labels: Doc) -> bool:
    return doc["kind"] == "NetworkPolicy" and selects(doc["spec"].get("podSelector", {}), labels)


def _lets_in(policy: Doc, namespace: str) -> bool:
    wanted = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    return any(wanted in rule.get("from", []) for rule in policy.get("ingress", []))


def _blocks(budget: Doc, docs: Sequence[Doc]) -> bool:
    """Whether a budget keeps every pod, however many there are at least."""
    spec = budget["spec"]
    if str(spec.get("maxUnavailable", "")) in ("0", "0%") or spec.get("minAvailable") == "100%":
        return True
    kept = spec.get("minAvailable", 0)
    for doc in docs:
        if doc["kind"] in RECONCILED and selects(spec["selector"], doc["spec"]["template"]["metadata"]["labels"]):
            least = [one["spec"].get("minReplicas", one["spec"].get("minReplicaCount", 1)) for one in _scalers(doc, docs)]
            return isinstance(kept, int) and kept >= max(min(least, default=doc["spec"].get("replicas", 1)), 1)
    return False


def _no_backend(doc: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    said = doc["metadata"].get("annotations", {}).get("alb.ingress.kubernetes.io/target-group-attributes", "")
    delay = re.search(r"deregistration_delay\.timeout_seconds=(\d+)", said)
    if delay is None or int(delay[1]) < LONGEST_QUESTION_S:
        yield f"its balancer cuts off what a pod that goes is answering: a deregistration delay of {LONGEST_QUESTION_S} s is needed"
    services = {one["metadata"]["name"]: {port.get("name") for port in one["spec"]["ports"]} for one in docs if one["kind"] == "Service"}
    for path in (path for rule in doc["spec"]["rules"] for path in rule["http"]["paths"]):
        service = path["backend"]["service"]
        if service["port"].get("name") not in services.get(service["name"], {}):
            yield f"there is no service {service['name']} with a port {service['port'].get('name')!r}"


def _wrong_ray(doc: Doc) -> Iterator[str]:
    """Whether a job has as many cores as it counts on, and Ray of the image's version."""
    cluster = doc["spec"]["rayClusterSpec"]
    locked = {one["name"]: one["version"] for one in tomllib.loads((ROOT / "uv.lock").read_text(encoding="utf-8"))["package"]}
    if cluster.get("rayVersion") != locked["ray"]:
        yield f"rayVersion is {cluster.get('rayVersion')!r}, and the image has {locked['ray']}"
    cores = sum(group["replicas"] * int(group["rayStartParams"].get("num-cpus", 1)) for group in cluster["workerGroupSpecs"])
    workers = re.search(r"--workers (\d+)", doc["spec"]["entrypoint"])
    if workers and int(workers[1]) != cores:
        yield f"counts on {workers[1]} workers, and the cluster has {cores} cores"
    for words in _of_a_shell(shlex.split(doc["spec"]["entrypoint"])):
        if mistake := command_mistake(words):
            yield f"its entrypoint: {mistake}"


def _wrong_commands(pod: Doc, docs: Sequence[Doc]) -> Iterator[str]:
    """Commands of ours that would end with a mistake of the user's."""
    for container in containers(pod):
        known = _environment(container, docs)
        words = [*container.get("command", []), *container.get("args", [])]
        for name in sorted({name for word in words for name in re.findall(r"\$\((\w+)\)", word)} - set(known)):
            yield f"{container['name']}: nobody tells it {name}"
        for ours in _of_a_shell([_filled(word, known) for word in words]):
            if mistake := command_mistake(ours):
                yield f"{container['name']}: {mistake}"


def _filled(word: str, known: Mapping[str, str]) -> str:
    return re.sub(r"\$\((\w+)\)", lambda found: known.get(found[1], "x"), word)


def _environment(container: Doc, docs: Sequence[Doc]) -> Mapping[str, str]:
    named_maps = {source["configMapRef"]["name"] for source in container.get("envFrom", []) if "configMapRef" in source}
    found: dict[str, str] = {}
    for doc in docs:
        if doc["kind"] == "ConfigMap" and doc["metadata"]["name"] in named_maps:
            found |= doc.get("data", {})
    return found | {one["name"]: one.get("value", "x") for one in container.get("env", [])}


def _of_a_shell(words: Sequence[str]) -> Iterator[list[str]]:
    """The commands of ours among words; those of a script too, without what only the shell knows."""
    if list(words[:2]) == ["sh", "-c"]:
        for part in re.split(r"[;&|\n]+", words[2]):
            found = part.strip().removeprefix("exec ").strip()
            if found.startswith("touchstone "):
                yield [word for word in shlex.split(found) if not word.startswith("$")]
    elif words and words[0] == "touchstone":
        yield list(words)


def command_mistake(words: Sequence[str]) -> str:
    """What is wrong with a command of ours; empty where it would begin to work. It is read, and not carried out."""
    command: Any = get_command(app)
    context, left = None, list(words)
    try:
        while hasattr(command, "resolve_command"):
            context = command.make_context(left[0], [], parent=context, resilient_parsing=True)
            if len(left) == 1 or not (found := command.get_command(context, left[1])):
                return f"`{' '.join(words)}`: no command {' '.join(left[1:2]) or 'is named'}"
            command, left = found, left[1:]
        command.make_context(left[0], left[1:], parent=context)
    except TyperException as error:
        return f"`{' '.join(words)}`: {error.format_message()}"
    return ""


def _names(kind: str, docs: Sequence[Doc]) -> set[str]:
    return {doc["metadata"]["name"] for doc in docs if doc["kind"] == kind}


def selects(selector: Doc, labels: Doc) -> bool:
    """Whether a selector of labels takes these."""
    meant = labels.items() >= selector.get("matchLabels", {}).items()
    return meant and all(_holds(one, labels) for one in selector.get("matchExpressions", []))


def _holds(expression: Doc, labels: Doc) -> bool:
    """Whether labels meet an expression; one of an operator that our manifests do not use is not met."""
    among = labels.get(expression["key"]) in expression.get("values", [])
    return {"In": among, "NotIn": not among}.get(expression["operator"], False)
