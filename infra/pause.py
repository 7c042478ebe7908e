"""Takes the cluster layer down and brings it back: `make pause`, `make resume`. docs/runbooks/pause-and-resume.md says what each step does.

Everything that is kept is in the persistent layer. Killed at any step, the same command goes on.
"""

import argparse
import json
import secrets
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands import ROOT, Broken, Commands, Refused, end_when_told
from stores import Stores, json_of

LAYER = "infra/terraform/cluster"
NAMES = ROOT / LAYER / "names.auto.tfvars.json"
KUBERNETES = "infra/kubernetes"
PLATFORM = ("cluster", "mlflow", "monitoring")  # what is deployed before the channels, in this order, where it is there
OPERATORS = {  # of others, that EKS has no add-on for: the kind that needs it, as the cluster knows it, and where it comes from
    "ScaledObject": (  # KEDA 2.20 is tested with Kubernetes 1.33 to 1.35
        "scaledobjects.keda.sh",
        "https://github.com/kedacore/keda/releases/download/v2.20.0/keda-2.20.0.yaml",
    ),
}
MONITORING, GRAFANA = "touchstone-monitoring", "grafana"  # where Grafana looks for the password of its administrator
ON_PAUSE = "touchstone/on-pause"  # a label of volume claims; `discard`: nobody is asked
NOBODYS = f"sha256:{'0' * 64}"  # the image that the overlay of prod has in git
SERVICE = "touchstone-api:80"  # of a channel, whose /readyz says which release is loaded
WORKLOADS = ("deployments", "cronjobs")
PAUSED = "paused.json"
POLL_S = 15.0
PATIENCE_S = 900.0
TAGS_A_CALL = 20
NO_ACCOUNT = "000000000000"


@dataclass(frozen=True)
class ClusterLayer:
    """The layer that is paused and resumed."""

    names: Mapping[str, Any]
    commands: Commands
    kubeconfig: Path
    root: Path = field(default=ROOT)

    def pause(self, *, discard_volumes: bool) -> None:
        """Write down what runs, remove what Terraform does not know of, destroy the layer, and say what is left."""
        self._refuse_elsewhere()
        self._refuse_while_locked()
        if self._is_there():
            self.commands.ask(
                "aws", "eks", "update-kubeconfig", "--name", self.names["cluster"], "--region", self.names["region"], *self._config
            )
            claims = self._items("persistentvolumeclaims")
            wanted = [one for one in claims if one["metadata"].get("labels", {}).get(ON_PAUSE) != "discard"]
            if wanted and not discard_volumes:
                mend = "Copy what you need, then: make pause VOLUMES=discard"
                raise Refused(f"Volumes go with the cluster, and what is only on them is lost: {_places(wanted)}. {mend}")
            if claims:
                self.commands.say(f"volumes go with the cluster: {_places(claims)}")
            self._write_down()
            self._drain({one["metadata"]["namespace"] for one in claims})
        else:
            self.commands.say("there is no cluster to drain")
        self.commands.say("destroying the cluster layer; the database leaves a snapshot")
        self.commands.change("terraform", f"-chdir={LAYER}", "destroy", "-auto-approve", "-input=false")
        self._say_what_is_left()

    def resume(self, channels: Sequence[str] = ()) -> None:
        """Bring the layer back with the database's latest snapshot, tell pods its addresses, and deploy what the channels name."""
        self._refuse_elsewhere()
        self._refuse_while_locked()
        releases = {channel: self._release_of(channel) for channel in channels or self.names["namespaces"]}
        if nameless := [channel for channel in channels if not releases[channel]]:
            raise Refused(f"The channel {nameless[0]} names no release. Promote one first: touchstone promote --channel {nameless[0]}")
        wanted = {channel: release for channel, release in releases.items() if release}
        for channel in wanted:
            if not (self.root / KUBERNETES / "overlays" / channel / "kustomization.yaml").is_file():
                raise Refused(f"{KUBERNETES}/overlays/{channel}/kustomization.yaml is not there, so the channel cannot be deployed.")
        images = self._written_down()
        self._refuse_nobodys_image(wanted, images)
        stores = Stores(self.names, self.commands)
        for channel in wanted:
            stores.refuse_without_callers(channel)
        known = {channel: stores.cache_secret(channel) for channel in self.names["namespaces"]}
        password, snapshot = stores.database_password(), stores.latest_snapshot()
        self.commands.say(
            f"the database comes from the snapshot {snapshot}" if snapshot else "the database has no snapshot and begins empty"
        )
        variables = {"TF_VAR_database_password": password, **({"TF_VAR_database_snapshot": snapshot} if snapshot else {})}
        self.commands.change("terraform", f"-chdir={LAYER}", "apply", "-auto-approve", "-input=false", secret=variables)
        said = "{}" if self.commands.dry_run else self.commands.ask("terraform", f"-chdir={LAYER}", "output", "-json")
        stores.tell_addresses({name: one["value"] for name, one in json.loads(said).items()}, password, known)
        self.commands.change(
            "aws", "eks", "update-kubeconfig", "--name", self.names["cluster"], "--region", self.names["region"], *self._config
        )
        for name in PLATFORM:
            if (self.root / KUBERNETES / name / "kustomization.yaml").is_file():
                self.commands.change("kubectl", *self._config, "apply", "-k", f"{KUBERNETES}/{name}")
        self._give_grafana_a_password()
        self._install_operators(wanted)
        if not wanted:
            self.commands.say("no channel names a release yet: none is deployed. Promote one (infra/README.md, step 6), then resume again")
        for channel, release in wanted.items():
            self._deploy(channel, release, images.get(self.names["namespaces"][channel], {}))
        if self.commands.dry_run:
            self.commands.say("nothing was changed")

    def _refuse_elsewhere(self) -> None:
        """`Refused` unless this is the account and the workspace that infra/names.yaml means."""
        account, workspace = str(self.names["account"]), str(self.names["workspace"])
        if account == NO_ACCOUNT:
            raise Refused(f"infra/names.yaml still has the account {NO_ACCOUNT}. Write yours there, then: make infra-names")
        try:
            found = self.commands.ask("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text").strip()
        except Broken as error:
            raise Refused(f"AWS knows nobody by these credentials ({error.line}). Log in first: aws sso login, or AWS_PROFILE=…") from None
        if found != account:
            raise Refused(f"These credentials are of the account {found}, and infra/names.yaml means {account}. Nothing is done.")
        try:
            self.commands.ask("terraform", f"-chdir={LAYER}", "init", "-input=false", "-no-color", "-backend-config=backend.hcl")
        except Broken as error:
            bucket, mend = self.names["state_bucket"], "Were the layers bootstrap and persistent applied? infra/README.md, steps 2 and 3"
            raise Refused(f"Terraform cannot begin with its state in {bucket} ({error.line}). {mend}") from None
        current = self.commands.ask("terraform", f"-chdir={LAYER}", "workspace", "show").strip()
        if current != workspace:
            mend = f"terraform -chdir={LAYER} workspace select {workspace}"
            raise Refused(f"Terraform's workspace is {current!r}, and infra/names.yaml means {workspace!r}. Nothing is done. Run: {mend}")

    def _refuse_while_locked(self) -> None:
        """`Refused` while another Terraform works on the layer: what is taken away before it would find that out is not put back."""
        workspace = self.names["workspace"]
        key = "cluster.tfstate.tflock" if workspace == "default" else f"env:/{workspace}/cluster.tfstate.tflock"
        if said := self._object(f"s3://{self.names['state_bucket']}/{key}"):
            lock = json_of(said)
            who = f"{lock.get('Who', 'somebody')} ({lock.get('Operation', '?')} since {lock.get('Created', '?')})"
            mend = f"Wait for them; if nobody works there any more: terraform -chdir={LAYER} force-unlock {lock.get('ID', 'ID')}"
            raise Refused(f"The layer is locked by {who}. Nothing is done. {mend}")

    def _refuse_nobodys_image(self, channels: Mapping[str, str], images: Mapping[str, object]) -> None:
        for channel in channels:
            file = f"{KUBERNETES}/overlays/{channel}/kustomization.yaml"
            if NOBODYS in (self.root / file).read_text(encoding="utf-8") and not images.get(self.names["namespaces"][channel]):
                mend = "Write the digests of yours there, which the push of an image says, or name the other channels with --channel"
                raise Refused(f"{channel} names a release, and {file} nobody's image. {mend}.")

    @property
    def _config(self) -> tuple[str, str]:
        return ("--kubeconfig", str(self.kubeconfig))

    def _is_there(self) -> bool:
        """Whether there is a cluster in which something may have been made; in one that is half made or half gone there is not."""
        query = ("--query", "cluster.status", "--output", "text", "--region", self.names["region"])
        try:
            status = self.commands.ask("aws", "eks", "describe-cluster", "--name", self.names["cluster"], *query).strip()
        except Broken as error:
            if "ResourceNotFoundException" in error.said:
                return False
            raise
        return status not in ("CREATING", "FAILED", "DELETING")

    def _items(self, kind: str, *where: str) -> list[dict[str, Any]]:
        said = self.commands.ask("kubectl", *self._config, "get", kind, *(where or ("--all-namespaces",)), "--output", "json")
        return list(json.loads(said)["items"])

    def _write_down(self) -> None:
        """Keep which image every workload runs; a second pause, which finds them gone, keeps what the first wrote."""
        images: dict[str, dict[str, dict[str, str]]] = {}
        for namespace in self.names["namespaces"].values():
            for kind in WORKLOADS:
                for one in self._items(kind, "--namespace", namespace):
                    template = one["spec"]["jobTemplate"]["spec"]["template"] if kind == "cronjobs" else one["spec"]["template"]
                    containers = {container["name"]: container["image"] for container in template["spec"]["containers"]}
                    images.setdefault(namespace, {})[f"{kind}/{one['metadata']['name']}"] = containers
        if images:
            self.commands.change("aws", "s3", "cp", "-", self._paused, given=json.dumps(images, indent=2))
            self.commands.say(f"which images run is written to {self._paused}")

    def _written_down(self) -> dict[str, dict[str, dict[str, str]]]:
        said = self._object(self._paused)
        return dict(json.loads(said)) if said else {}

    @property
    def _paused(self) -> str:
        return f"s3://{self.names['state_bucket']}/{PAUSED}"

    def _object(self, uri: str) -> str:
        """An object of S3, or nothing."""
        bucket, _, key = uri.removeprefix("s3://").partition("/")
        listed = self.commands.ask(
            "aws", "s3api", "list-objects-v2", "--bucket", bucket, "--prefix", key, "--query", "Contents[].Key", "--output", "json"
        )
        return self.commands.ask("aws", "s3", "cp", uri, "-") if key in (json.loads(listed or "null") or []) else ""

    def _drain(self, namespaces: set[str]) -> None:
        """Remove what the cluster made in AWS: Terraform does not know of it, and it would outlive the cluster and be paid for."""
        self.commands.say("removing load balancers and volumes")
        timeout = f"--timeout={PATIENCE_S:.0f}s"
        self.commands.change("kubectl", *self._config, "delete", "ingress", "--all", "--all-namespaces", timeout)
        for one in self._items("services"):
            if one["spec"].get("type") == "LoadBalancer":
                place = one["metadata"]
                self.commands.change(
                    "kubectl", *self._config, "delete", "service", place["name"], "--namespace", place["namespace"], timeout
                )
        for namespace in sorted(namespaces):  # with whoever writes to its volumes
            self.commands.change("kubectl", *self._config, "delete", "namespace", namespace, timeout)
        if not self.commands.dry_run:
            self._await(
                "load balancers or volumes are still there", lambda: not self._load_balancers() and not self._items("persistentvolumes")
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

    def _await(self, otherwise: str, holds: Callable[[], bool]) -> None:
        for _ in range(int(PATIENCE_S / POLL_S)):
            if holds():
                return
            self.commands.sleep(POLL_S)
        raise Broken(["waiting"], f"after {PATIENCE_S / 60:.0f} minutes {otherwise}. Look why, then run the same again.")

    def _say_what_is_left(self) -> None:
        if self.commands.dry_run:
            self.commands.say("nothing was changed")
            return
        tags = ("--tag-filters", "Key=Layer,Values=cluster", f"Key=Project,Values={self.names['prefix']}")
        query = ("--query", "ResourceTagMappingList[].ResourceARN", "--output", "json", "--region", self.names["region"])
        arns = json.loads(self.commands.ask("aws", "resourcegroupstaggingapi", "get-resources", *tags, *query) or "[]")
        left = [arn for arn in arns if ":snapshot:" not in arn]
        self.commands.say(f"AWS still lists, for up to an hour after they are gone: {', '.join(left)}" if left else "paused")

    def _give_grafana_a_password(self) -> None:
        if self.commands.dry_run or not (self.root / KUBERNETES / "monitoring" / "kustomization.yaml").is_file():
            return
        place = ("--namespace", MONITORING)
        if not self.commands.ask(
            "kubectl", *self._config, "get", "secret", GRAFANA, *place, "--ignore-not-found", "--output", "name"
        ).strip():
            data = {"password": secrets.token_urlsafe(24)}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": GRAFANA, "namespace": MONITORING}, "stringData": data}
            self.commands.change("kubectl", *self._config, "apply", "-f", "-", given=json.dumps(secret))
            look = f"kubectl -n {MONITORING} get secret {GRAFANA} -o jsonpath={{.data.password}} | base64 -d"
            self.commands.say(f"Grafana's administrator has a new password: {look}")

    def _install_operators(self, channels: Mapping[str, str]) -> None:
        """What the channels' manifests need of others; a new cluster has none of it."""
        rendered = [self.commands.ask("kubectl", "kustomize", f"{KUBERNETES}/overlays/{channel}") for channel in channels]
        for kind, (known_as, manifest) in OPERATORS.items():
            if any(f"\nkind: {kind}\n" in f"\n{one}" for one in rendered):
                self.commands.change("kubectl", *self._config, "apply", "--server-side", "-f", manifest)
                self.commands.change("kubectl", *self._config, "wait", "--for=condition=Established", f"crd/{known_as}", "--timeout=120s")

    def _release_of(self, channel: str) -> str:
        """The release that a channel names; empty for none."""
        said = self._object(f"s3://{self.names['buckets']['releases']}/releases/channels/{channel}.json")
        return str(json.loads(said)["stable"]) if said else ""

    def _deploy(self, channel: str, release: str, images: Mapping[str, Mapping[str, str]]) -> None:
        """Apply a channel's overlay with the images that ran, and wait until its servers have loaded the release that it names."""
        namespace = self.names["namespaces"][channel]
        self.commands.say(f"deploying {channel}, which names {release}")
        self.commands.change("kubectl", *self._config, "apply", "-k", f"{KUBERNETES}/overlays/{channel}")
        for workload, containers in images.items():
            pairs = [f"{name}={image}" for name, image in containers.items()]
            self.commands.change("kubectl", *self._config, "set", "image", workload, *pairs, "--namespace", namespace)
        if not self.commands.dry_run:
            for one in self._items("deployments", "--namespace", namespace):
                name, timeout = f"deployment/{one['metadata']['name']}", f"--timeout={PATIENCE_S:.0f}s"
                self.commands.ask("kubectl", *self._config, "rollout", "status", name, "--namespace", namespace, timeout)
            self._await(f"{channel} has not loaded {release}", lambda: self._loaded(namespace) == release or self._sleeps(namespace))
            asleep = "sleeps, as its hours have it, and wakes by"
            self.commands.say(f"{channel} {asleep if self._sleeps(namespace) else 'answers by'} {release}")

    def _sleeps(self, namespace: str) -> bool:
        """Whether KEDA has sent every server of a channel home: then nobody answers, and nothing is wrong."""
        deployments = self._items("deployments", "--namespace", namespace)
        return bool(deployments) and all(one["spec"].get("replicas") == 0 for one in deployments)

    def _loaded(self, namespace: str) -> str:
        try:
            said = self.commands.ask(
                "kubectl", *self._config, "get", "--raw", f"/api/v1/namespaces/{namespace}/services/{SERVICE}/proxy/readyz"
            )
            ready = json.loads(said)
            return str(ready["loaded"]) if ready["ready"] and ready["current"] else ""
        except (Broken, ValueError, KeyError):  # not ready is answered with 503
            return ""


def _places(claims: Sequence[Mapping[str, Any]]) -> str:
    return ", ".join(sorted(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in claims))


def _read_names(path: Path) -> Mapping[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))["names"])
    except (OSError, ValueError, KeyError, TypeError):
        raise Refused(f"{path.relative_to(ROOT)} is missing or no longer what it was made. Run: make infra-names") from None


def main(arguments: Sequence[str] | None = None, commands: Commands | None = None) -> int:
    """Pause or resume; exit code 2 where it is refused, 3 where a command fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("pause", "resume"))
    parser.add_argument("--dry-run", action="store_true", help="ask, and say what would be changed")
    parser.add_argument("--discard-volumes", action="store_true", help="pause: volumes may go with what is on them")
    parser.add_argument(
        "--channel", action="append", default=[], choices=("dev", "staging", "prod"), help="resume: deploy this one only. Repeatable"
    )
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="kubeconfig-") as folder:
        try:
            names = _read_names(NAMES)
            region = {"AWS_REGION": str(names["region"]), "AWS_PAGER": ""}
            layer = ClusterLayer(names, commands or Commands(dry_run=chosen.dry_run, environment=region), Path(folder) / "config")
            if chosen.what == "pause":
                layer.pause(discard_volumes=chosen.discard_volumes)
            else:
                layer.resume(chosen.channel)
        except Refused as reason:
            print(reason, file=sys.stderr)
            return 2
        except Broken as error:
            print(f"{error}\nRun the same again: it goes on from here.", file=sys.stderr)
            return 3
        except KeyboardInterrupt:
            print("Stopped between two steps. Run the same again: it goes on from here.", file=sys.stderr)
            return 130
    return 0


if __name__ == "__main__":
    end_when_told()
    sys.exit(main())
