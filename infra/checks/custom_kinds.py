"""What kinds of other operators may say, as far as we use them: no registry of packages brings their schemas.

Fields and types by the operators' documentation; a field that is not here is a mistake until somebody looks it up and adds it. Pods inside
a kind are held to Kubernetes' own schema.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Doc = Mapping[str, Any]
TEXTS = {str: str}  # any names, texts as values
POD = object()  # a template of a pod

RAY_GROUP = {"template": POD, "rayStartParams": TEXTS}
KINDS: dict[str, dict[str, Any]] = {
    "ray.io/v1 RayJob": {  # KubeRay 1.6
        "entrypoint": str,
        "submissionMode": ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
        "shutdownAfterJobFinishes": bool,
        "ttlSecondsAfterFinished": int,
        "activeDeadlineSeconds": int,
        "backoffLimit": int,
        "suspend": bool,
        "runtimeEnvYAML": str,
        "rayClusterSpec": {
            "rayVersion": str,
            "authOptions": {"mode": ("token", "disabled")},
            "enableInTreeAutoscaling": bool,
            "headGroupSpec": RAY_GROUP | {"serviceType": str},
            "workerGroupSpecs": [
                RAY_GROUP | {"groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int, "numOfHosts": int}
            ],
        },
    },
    "secrets-store.csi.x-k8s.io/v1 SecretProviderClass": {
        "provider": ("aws",),
        "parameters": {"usePodIdentity": ("true", "false"), "region": str, "failoverRegion": str, "pathTranslation": str, "objects": str},
        "secretObjects": [{"secretName": str, "type": str, "labels": TEXTS, "data": [{"objectName": str, "key": str}]}],
    },
    "keda.sh/v1alpha1 ScaledObject": {
        "scaleTargetRef": {"name": str, "kind": str, "apiVersion": str},
        "minReplicaCount": int,
        "maxReplicaCount": int,
        "pollingInterval": int,
        "cooldownPeriod": int,
        "triggers": [{"type": str, "metricType": ("Utilization", "AverageValue", "Value"), "name": str, "metadata": TEXTS}],
    },
}
AWS_OBJECT = {  # of the provider for AWS, a list of which is the text `objects`
    "objectName": str,
    "objectType": ("secretsmanager", "ssmparameter"),
    "objectAlias": str,
    "objectVersion": str,
    "objectVersionLabel": str,
    "filePermission": str,
    "jmesPath": [{"path": str, "objectAlias": str}],
}


def known(doc: Doc) -> bool:
    """Whether a document's kind is one of these."""
    return _key(doc) in KINDS


def misfits(doc: Doc) -> Iterator[str]:
    """What a document of one of these kinds says that it may not."""
    yield from _misfits(doc.get("spec", {}), KINDS[_key(doc)], "spec")
    if doc["kind"] == "SecretProviderClass":
        yield from _misfits(objects(doc), [AWS_OBJECT], "spec.parameters.objects")


def templates(doc: Doc) -> Iterator[tuple[str, Any]]:
    """The templates of pods in such a document, with their places."""
    yield from _templates(doc.get("spec", {}), KINDS[_key(doc)], "spec")


def objects(doc: Doc) -> Any:
    """What a SecretProviderClass fetches."""
    return yaml.safe_load(doc["spec"].get("parameters", {}).get("objects", "[]"))


def fetched(doc: Doc) -> set[str]:
    """The names under which a SecretProviderClass mounts what it fetches."""
    names = set()
    for one in objects(doc):
        parts = one.get("jmesPath", [])
        names |= {part["objectAlias"] for part in parts} | ({one.get("objectAlias") or one["objectName"]} if not parts else set())
    return names


def _key(doc: Doc) -> str:
    return f"{doc['apiVersion']} {doc['kind']}"


def _misfits(value: Any, allowed: Any, where: str) -> Iterator[str]:
    if allowed is POD:
        return
    if isinstance(allowed, list):
        if not isinstance(value, list):
            yield f"{where}: a list is needed"
            return
        for number, one in enumerate(value):
            yield from _misfits(one, allowed[0], f"{where}.{number}")
    elif isinstance(allowed, dict):
        if not isinstance(value, dict):
            yield f"{where}: a mapping is needed"
            return
        for name, inner in value.items():
            if allowed is not TEXTS and name not in allowed:
                yield f"{where}: {name!r} is no field of it, or not one that infra/checks/custom_kinds.py knows"
            else:
                yield from _misfits(inner, str if allowed is TEXTS else allowed[name], f"{where}.{name}")
    elif isinstance(allowed, tuple):
        if value not in allowed:
            yield f"{where}: {value!r} is none of {', '.join(allowed)}"
    elif not isinstance(value, allowed) or (isinstance(value, bool) and allowed is not bool):
        yield f"{where}: {value!r} has to be {'a text' if allowed is str else 'true or false' if allowed is bool else 'a whole number'}"


def _templates(value: Any, allowed: Any, where: str) -> Iterator[tuple[str, Any]]:
    if allowed is POD:
        yield where, value
    elif isinstance(allowed, list) and isinstance(value, list):
        for number, one in enumerate(value):
            yield from _templates(one, allowed[0], f"{where}.{number}")
    elif isinstance(allowed, dict) and isinstance(value, dict) and allowed is not TEXTS:
        for name, inner in value.items():
            if name in allowed:
                yield from _templates(inner, allowed[name], f"{where}.{name}")
