"""Takes away what the cluster made in AWS: Terraform does not know of it, and it would outlive the cluster and be paid for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from infra.pause.commands import PATIENCE_S, Commands, Refused
from infra.pause.kubectl import Cluster

ON_PAUSE = "touchstone/on-pause"  # a label of volume claims; `discard`: nobody is asked
TAGS_A_CALL = 20


@dataclass(frozen=True)
class Drain:
    """Load balancers and volumes."""

    names: Mapping[str, Any]
    cluster: Cluster
    commands: Commands

    def refuse_to_lose_volumes(self, *, discard_volumes: bool) -> list[dict[str, Any]]:
        """Every claim of a volume; `Refused` where one is not to be lost unasked."""
        claims = self.cluster.items("persistentvolumeclaims")
        wanted = [one for one in claims if one["metadata"].get("labels", {}).get(ON_PAUSE) != "discard"]
        if wanted and not discard_volumes:
            mend = "Copy what you need, then: make pause VOLUMES=discard"
            raise Refused(f"Volumes go with the cluster, and what is only on them is lost: {_places(wanted)}. {mend}")
        if claims:
            self.commands.say(f"volumes go with the cluster: {_places(claims)}")
        return claims

    def run(self, namespaces: set[str]) -> None:
        """Remove load balancers, and namespaces with volumes, and wait until AWS has none of them."""
        self.commands.say("removing load balancers and volumes")
        timeout = f"--timeout={PATIENCE_S:.0f}s"
        self.cluster.change("delete", "ingress", "--all", "--all-namespaces", timeout)
        for one in self.cluster.items("services"):
            if one["spec"].get("type") == "LoadBalancer":
                place = one["metadata"]
                self.cluster.change("delete", "service", place["name"], "--namespace", place["namespace"], timeout)
        for namespace in sorted(namespaces):  # with whoever writes to its volumes
            self.cluster.change("delete", "namespace", namespace, timeout)
        if not self.commands.dry_run:
            self.commands.wait(
                "load balancers or volumes are still there",
                lambda: not self._load_balancers() and not self.cluster.items("persistentvolumes"),
            )

    def _load_balancers(self) -> list[str]:
        place = ("--region", self.names["region"], "--output", "json")
        query = ("--query", "LoadBalancers[].LoadBalancerArn")
        arns = json.loads(self.commands.ask("aws", "elbv2", "describe-load-balancers", *query, *place) or "[]")
        found = []
        for start in range(0, len(arns), TAGS_A_CALL):
            some = arns[start : start + TAGS_A_CALL]
            tags = json.loads(self.commands.ask("aws", "elbv2", "describe-tags", "--resource-arns", *some, *place))["TagDescriptions"]
            found += [one["ResourceArn"] for one in tags if {"Key": "eks:eks-cluster-name", "Value": self.names["cluster"]} in one["Tags"]]
        return found


def _places(claims: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in claims))
