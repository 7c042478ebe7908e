"""Puts what infra/names.yaml says into the manifests and what Prometheus scrapes: images, namespaces, buckets, secrets, the network."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHANNELS = ("dev", "staging", "prod")
MONITORING = "touchstone-monitoring"  # as infra/kubernetes/monitoring has it, by whatever prefix
OTHER_NETWORKS = r"0\.0\.0\.0/0|169\.254\."  # everywhere, the agent of Pod Identity


@dataclass(frozen=True)
class Place:
    """Where a manifest names something: what stands before it, and what it is to be."""

    before: str
    value: str
    name: str = r"[^\s}\]\"']+"

    def put_into(self, text: str) -> tuple[str, int]:
        """The text with the name put in, and how often it stands there."""
        return re.subn(f"(?m)({self.before}){self.name}", lambda found: found[1] + self.value, text)


def manifests(root: Path, names: Mapping[str, Any]) -> Iterator[tuple[Path, str, list[str]]]:
    """Every file that names something, what it says with the names put in, and which places it has no more."""
    for file, places in _places(names).items():
        path = root / "infra" / file
        text, lost = path.read_text(encoding="utf-8"), []
        for place in places:
            text, number = place.put_into(text)
            if not number:
                lost.append(place.before)
        yield path, text, lost


def _places(names: Mapping[str, Any]) -> dict[str, list[Place]]:
    registry = f"{names['account']}.dkr.ecr.{names['region']}.amazonaws.com"
    secrets, namespaces = names["secrets"], names["namespaces"]
    homes = {one["account"]: one["namespace"] for one in names["service_accounts"]}
    serving, harness = (
        Place(rf"- name: touchstone-{kind}\n +newName: ", f"{registry}/{names['repositories'][kind]}") for kind in ("serving", "harness")
    )
    network = Place("cidr: ", names["cidr"], name=rf"(?!{OTHER_NETWORKS})[\d./]+")

    def read_from(channel: str) -> list[Place]:
        return [
            Place("- objectName: ", secrets[f"{channel}_{key}"], name=rf"[\w./-]+/{key.replace('_', '-')}\b")
            for key in ("api_keys", "cache_secret")
        ]

    def home(namespace: str) -> list[Place]:
        return [Place("^namespace: ", namespace), serving, harness, Place("path: /metadata/name, value: ", namespace)]

    scraped = f"{names['prefix']}-.+"  # names.yaml is refused where a channel's namespace is none of these
    in_kubernetes = {
        "overlays/dev/kustomization.yaml": home(namespaces["dev"]),
        "overlays/staging/kustomization.yaml": [*home(namespaces["staging"]), *read_from("staging")],
        "overlays/prod/kustomization.yaml": [*home(namespaces["prod"]), *read_from("prod")],
        "base/secrets.yaml": read_from("dev"),
        "base/networkpolicy.yaml": [network],
        "mlflow/kustomization.yaml": [harness],
        "mlflow/secrets.yaml": [Place("- objectName: ", secrets["mlflow_database"], name=r"[\w./-]+")],
        "mlflow/networkpolicy.yaml": [
            Place(r"values: \[", ", ".join([*(namespaces[channel] for channel in CHANNELS), homes["sweep"]]), name=r"[^\]]+")
        ],
        "ray/kustomization.yaml": [Place("^namespace: ", homes["sweep"]), harness],
        "ray/namespace.yaml": [Place("^  name: ", homes["sweep"])],
        "ray-index/kustomization.yaml": [Place("^namespace: ", homes["index"]), harness],
        "ray-index/namespace.yaml": [Place("^  name: ", homes["index"])],
    }
    return {f"kubernetes/{file}": places for file, places in in_kubernetes.items()} | {
        "observability/prometheus/prometheus.kubernetes.yml": [
            Place(r"\[__meta_kubernetes_namespace\], regex: ", scraped, name=r"[^,\s]+"),
            Place(r"\[namespace\], regex: ", f"{scraped}|{MONITORING}|{homes['mlflow']}", name=r"[^,\s]+"),
        ]
    }
