"""Brings into a new cluster what it needs, then the channels: their overlays, by the images that ran, until their releases are loaded."""

import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.pause.commands import PATIENCE_S, Commands, Refused
from infra.pause.kubectl import Cluster
from infra.pause.stores import ALERTED

KUBERNETES = "infra/kubernetes"
PLATFORM = ("cluster", "mlflow", "monitoring")  # what is deployed before the channels, in this order, where it is there
OPERATORS = {  # of others, that EKS has no add-on for: the kind that needs it, as the cluster knows it, and where it comes from
    "ScaledObject": (  # KEDA 2.20 is tested with Kubernetes 1.33 to 1.35
        "scaledobjects.keda.sh",
        "https://github.com/kedacore/keda/releases/download/v2.20.0/keda-2.20.0.yaml",
    ),
}
MONITORING = "touchstone-monitoring"
GRAFANA, ALERTMANAGER = "grafana", "alertmanager"  # secrets: the password of Grafana's administrator, and where alerts go


@dataclass(frozen=True)
class Deployer:
    """What a resume applies."""

    names: Mapping[str, Any]
    cluster: Cluster
    commands: Commands
    root: Path

    def refuse_without_overlay(self, channels: Iterable[str]) -> None:
        """`Refused` where a channel has no manifests."""
        for channel in channels:
            if not self._has(f"overlays/{channel}"):
                raise Refused(f"{KUBERNETES}/overlays/{channel}/kustomization.yaml is not there, so the channel cannot be deployed.")

    def bring_platform(self, alerted: Mapping[str, str]) -> None:
        """What the channels stand on, and who hears of alerts."""
        for name in PLATFORM:
            if self._has(name):
                self.cluster.change("apply", "-k", f"{KUBERNETES}/{name}")
        self._give_grafana_a_password()
        self._tell_alertmanager(alerted)

    def bring_operators(self, channels: Iterable[str]) -> None:
        """What the channels' manifests need of others; a new cluster has none of it."""
        rendered = [self.commands.ask("kubectl", "kustomize", f"{KUBERNETES}/overlays/{channel}") for channel in channels]
        for kind, (known_as, manifest) in OPERATORS.items():
            if any(f"\nkind: {kind}\n" in f"\n{one}" for one in rendered):
                self.cluster.change("apply", "--server-side", "-f", manifest)
                self.cluster.change("wait", "--for=condition=Established", f"crd/{known_as}", "--timeout=120s")

    def apply(self, channel: str, release: str, images: Mapping[str, Mapping[str, str]]) -> None:
        """Apply a channel's overlay, by images that are newer than those which it names."""
        namespace = self.names["namespaces"][channel]
        self.commands.say(f"deploying {channel}, which names {release}")
        self.cluster.change("apply", "-k", f"{KUBERNETES}/overlays/{channel}")
        for workload, containers in images.items():
            pairs = [f"{name}={image}" for name, image in containers.items()]
            self.cluster.change("set", "image", workload, *pairs, "--namespace", namespace)

    def wait(self, channel: str, release: str) -> None:
        """Until a channel's servers have loaded the release that it names."""
        namespace = self.names["namespaces"][channel]
        if not self.commands.dry_run:
            for one in self.cluster.items("deployments", "--namespace", namespace):
                name, timeout = f"deployment/{one['metadata']['name']}", f"--timeout={PATIENCE_S:.0f}s"
                self.cluster.ask("rollout", "status", name, "--namespace", namespace, timeout)
            self.commands.wait(
                f"{channel} has not loaded {release}",
                lambda: self.cluster.loaded(namespace) == release or self.cluster.sleeps(namespace),
            )
            asleep = "sleeps, as its hours have it, and wakes by"
            self.commands.say(f"{channel} {asleep if self.cluster.sleeps(namespace) else 'answers by'} {release}")

    def _has(self, name: str) -> bool:
        return (self.root / KUBERNETES / name / "kustomization.yaml").is_file()

    def _give_grafana_a_password(self) -> None:
        if self.commands.dry_run or not self._has("monitoring"):
            return
        place = ("--namespace", MONITORING)
        if not self.cluster.ask("get", "secret", GRAFANA, *place, "--ignore-not-found", "--output", "name").strip():
            self._apply_secret(GRAFANA, {"password": secrets.token_urlsafe(24)})
            look = f"kubectl -n {MONITORING} get secret {GRAFANA} -o jsonpath={{.data.password}} | base64 -d"
            self.commands.say(f"Grafana's administrator has a new password: {look}")

    def _tell_alertmanager(self, alerted: Mapping[str, str]) -> None:
        if self.commands.dry_run or not self._has("monitoring"):
            return
        if silent := sorted(ALERTED - set(alerted)):
            name = self.names["secrets"]["alerts"]
            self.commands.say(
                f"nobody hears of alerts to {', '.join(silent)}: write an address into the secret {name} (infra/README.md, step 4)"
            )
        if alerted:
            self._apply_secret(ALERTMANAGER, alerted)

    def _apply_secret(self, name: str, data: Mapping[str, str]) -> None:
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": MONITORING}, "stringData": dict(data)}
        self.cluster.change("apply", "-f", "-", given=json.dumps(secret))
