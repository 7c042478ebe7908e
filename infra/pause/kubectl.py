"""The cluster as kubectl reaches it: whether it is there, and what runs in it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.pause.commands import Broken, Commands
from infra.pause.saved import Images

SERVICE = "touchstone-api:80"  # of a channel, whose /readyz says which release is loaded
WORKLOADS = ("deployments", "cronjobs")


@dataclass(frozen=True)
class Cluster:
    """One cluster, by a kubeconfig of its own: that of whoever runs this stays as it is."""

    names: Mapping[str, Any]
    commands: Commands
    kubeconfig: Path

    def is_there(self) -> bool:
        """Whether there is a cluster in which something may have been made; in one that is half made or half gone there is not."""
        query = ("--query", "cluster.status", "--output", "text", "--region", self.names["region"])
        try:
            status = self.commands.ask("aws", "eks", "describe-cluster", "--name", self.names["cluster"], *query).strip()
        except Broken as error:
            if "ResourceNotFoundException" in error.said:
                return False
            raise
        return status not in ("CREATING", "FAILED", "DELETING")

    def sign_in(self, *, is_new: bool = False) -> None:
        """Write the kubeconfig; that of a new cluster, which a dry run has not made, is only spoken of there."""
        run = self.commands.change if is_new else self.commands.ask
        run("aws", "eks", "update-kubeconfig", "--name", self.names["cluster"], "--region", self.names["region"], *self._config)

    def ask(self, *words: str) -> str:
        """What kubectl says."""
        return self.commands.ask("kubectl", *self._config, *words)

    def change(self, *words: str, given: str = "") -> None:
        """Change something by kubectl."""
        self.commands.change("kubectl", *self._config, *words, given=given)

    def items(self, kind: str, *where: str) -> list[dict[str, Any]]:
        """Everything of a kind, in all namespaces unless one is named."""
        said = self.ask("get", kind, *(where or ("--all-namespaces",)), "--output", "json")
        return list(json.loads(said)["items"])

    def images(self) -> Images:
        """Which image every workload of the channels runs."""
        images: dict[str, dict[str, dict[str, str]]] = {}
        for namespace in self.names["namespaces"].values():
            for kind in WORKLOADS:
                for one in self.items(kind, "--namespace", namespace):
                    template = one["spec"]["jobTemplate"]["spec"]["template"] if kind == "cronjobs" else one["spec"]["template"]
                    containers = {container["name"]: container["image"] for container in template["spec"]["containers"]}
                    images.setdefault(namespace, {})[f"{kind}/{one['metadata']['name']}"] = containers
        return images

    def sleeps(self, namespace: str) -> bool:
        """Whether KEDA has sent every server of a channel home: then nobody answers, and nothing is wrong."""
        deployments = self.items("deployments", "--namespace", namespace)
        return bool(deployments) and all(one["spec"].get("replicas") == 0 for one in deployments)

    def loaded(self, namespace: str) -> str:
        """The release that a channel's servers have loaded and answer by; empty where they do not."""
        try:
            ready = json.loads(self.ask("get", "--raw", f"/api/v1/namespaces/{namespace}/services/{SERVICE}/proxy/readyz"))
            return str(ready["loaded"]) if ready["ready"] and ready["current"] else ""
        except (Broken, ValueError, KeyError):  # not ready is answered with 503
            return ""

    @property
    def _config(self) -> tuple[str, str]:
        return ("--kubeconfig", str(self.kubeconfig))
