"""Takes the cluster layer down and brings it back: `make pause`, `make resume`. docs/runbooks/pause-and-resume.md says what each step does.

Everything that is kept is in the persistent layer. Killed at any step, the same command goes on.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
LAYER = "infra/terraform/cluster"
NAMES = ROOT / LAYER / "names.auto.tfvars.json"
KUBERNETES = "infra/kubernetes"
PLATFORM = ("cluster", "mlflow", "monitoring")  # what is deployed before the channels, in this order, where it is there
SERVICE = "touchstone-api:80"  # of a channel, whose /readyz says which release is loaded
WORKLOADS = ("deployments", "cronjobs")
PAUSED = "paused.json"
POLL_S = 15.0
PATIENCE_S = 900.0
TAGS_A_CALL = 20
NO_ACCOUNT = "000000000000"


class Refused(Exception):
    """Why nothing is done, and what to do about it: exit code 2."""


class Broken(Exception):
    """A command that failed: exit code 3."""

    def __init__(self, command: Sequence[str], said: str) -> None:
        super().__init__(f"{' '.join(command[:3])} failed: {said.strip()[-2000:]}")
        self.said = said


@dataclass
class Commands:
    """Runs commands; in a dry run only those that ask. Nothing secret is ever an argument: every user of a machine sees those."""

    dry_run: bool = False
    say: Callable[[str], None] = field(default=lambda line: print(line, flush=True))
    sleep: Callable[[float], None] = time.sleep

    def ask(self, *command: str) -> str:
        """What a command that changes nothing says."""
        return self._run(command, "", {})

    def change(self, *command: str, given: str = "", secret: Mapping[str, str] | None = None) -> None:
        """Run a command that changes something, which is seen as it goes on; in a dry run, say it."""
        if self.dry_run:
            self.say(f"  would run: {' '.join(command)}")
        else:
            self._run(command, given, secret or {}, shown=True)

    def _run(self, command: Sequence[str], given: str, secret: Mapping[str, str], *, shown: bool = False) -> str:
        environment, out = {**os.environ, **secret}, None if shown else subprocess.PIPE
        try:
            done = subprocess.run(list(command), input=given, env=environment, cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True)
        except FileNotFoundError:
            raise Refused(f"{command[0]} is not installed; pausing and resuming need aws, kubectl and terraform.") from None
        if done.returncode:
            raise Broken(command, done.stderr or done.stdout or "it says nothing")
        return done.stdout or ""


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
        if self._is_there():
            self.commands.ask(
                "aws", "eks", "update-kubeconfig", "--name", self.names["cluster"], "--region", self.names["region"], *self._config
            )
            claims = self._claims()
            if claims and not discard_volumes:
                listed = ", ".join(f"{namespace}/{name}" for namespace, name in claims)
                mend = "Copy what you need, then: make pause VOLUMES=discard"
                raise Refused(f"Volumes go with the cluster, and what is only on them is lost: {listed}. {mend}")
            self._write_down()
            self._drain({namespace for namespace, _ in claims})
        else:
            self.commands.say("there is no cluster to drain")
        self.commands.say("destroying the cluster layer; the database leaves a snapshot")
        self.commands.change("terraform", f"-chdir={LAYER}", "destroy", "-auto-approve", "-input=false")
        self._say_what_is_left()

    def resume(self, channels: Sequence[str] = ()) -> None:
        """Bring the layer back with the database's latest snapshot, tell pods its addresses, and deploy what the channels name."""
        self._refuse_elsewhere()
        releases = {channel: self._release_of(channel) for channel in channels or self.names["namespaces"]}
        if nameless := [channel for channel in channels if not releases[channel]]:
            raise Refused(f"The channel {nameless[0]} names no release. Promote one first: touchstone promote --channel {nameless[0]}")
        wanted = {channel: release for channel, release in releases.items() if release}
        for channel in wanted:
            if not (self.root / KUBERNETES / "overlays" / channel / "kustomization.yaml").is_file():
                raise Refused(f"{KUBERNETES}/overlays/{channel}/kustomization.yaml is not there, so the channel cannot be deployed.")
        password = self._database_password()
        snapshot = self._latest_snapshot()
        self.commands.say(
            f"the database comes from the snapshot {snapshot}" if snapshot else "the database has no snapshot and begins empty"
        )
        variables = {"TF_VAR_database_password": password, **({"TF_VAR_database_snapshot": snapshot} if snapshot else {})}
        self.commands.change("terraform", f"-chdir={LAYER}", "apply", "-auto-approve", "-input=false", secret=variables)
        self._tell_addresses(password)
        self.commands.change(
            "aws", "eks", "update-kubeconfig", "--name", self.names["cluster"], "--region", self.names["region"], *self._config
        )
        for name in PLATFORM:
            if (self.root / KUBERNETES / name / "kustomization.yaml").is_file():
                self.commands.change("kubectl", *self._config, "apply", "-k", f"{KUBERNETES}/{name}")
        if not wanted:
            self.commands.say("no channel names a release yet: nothing is deployed")
        images = self._written_down()
        for channel, release in wanted.items():
            self._deploy(channel, release, images.get(self.names["namespaces"][channel], {}))

    def _refuse_elsewhere(self) -> None:
        """`Refused` unless this is the account and the workspace that infra/names.yaml means."""
        account, workspace = str(self.names["account"]), str(self.names["workspace"])
        if account == NO_ACCOUNT:
            raise Refused(f"infra/names.yaml still has the account {NO_ACCOUNT}. Write yours there, then: make infra-names")
        found = self.commands.ask("aws", "sts", "get-caller-identity", "--query", "Account", "--output", "text").strip()
        if found != account:
            raise Refused(f"These credentials are of the account {found}, and infra/names.yaml means {account}. Nothing is done.")
        self.commands.ask("terraform", f"-chdir={LAYER}", "init", "-input=false", "-backend-config=backend.hcl")
        current = self.commands.ask("terraform", f"-chdir={LAYER}", "workspace", "show").strip()
        if current != workspace:
            mend = f"terraform -chdir={LAYER} workspace select {workspace}"
            raise Refused(f"Terraform's workspace is {current!r}, and infra/names.yaml means {workspace!r}. Nothing is done. Run: {mend}")

    @property
    def _config(self) -> tuple[str, str]:
        return ("--kubeconfig", str(self.kubeconfig))

    def _is_there(self) -> bool:
        try:
            self.commands.ask("aws", "eks", "describe-cluster", "--name", self.names["cluster"], "--region", self.names["region"])
        except Broken as error:
            if "ResourceNotFoundException" in error.said:
                return False
            raise
        return True

    def _items(self, kind: str, *where: str) -> list[dict[str, Any]]:
        said = self.commands.ask("kubectl", *self._config, "get", kind, *(where or ("--all-namespaces",)), "--output", "json")
        return list(json.loads(said)["items"])

    def _claims(self) -> list[tuple[str, str]]:
        return sorted((one["metadata"]["namespace"], one["metadata"]["name"]) for one in self._items("persistentvolumeclaims"))

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
        tags = ("--tag-filters", "Key=Layer,Values=cluster", f"Key=Project,Values={self.names['prefix']}")
        query = ("--query", "ResourceTagMappingList[].ResourceARN", "--output", "json", "--region", self.names["region"])
        arns = json.loads(self.commands.ask("aws", "resourcegroupstaggingapi", "get-resources", *tags, *query) or "[]")
        left = [arn for arn in arns if ":snapshot:" not in arn]
        self.commands.say(
            f"AWS still lists, for up to an hour after they are gone: {', '.join(left)}" if left and not self.commands.dry_run else "paused"
        )

    def _latest_snapshot(self) -> str:
        query = ("--query", "DBSnapshots[?Status=='available'].[SnapshotCreateTime,DBSnapshotIdentifier]", "--output", "json")
        command = ("aws", "rds", "describe-db-snapshots", "--db-instance-identifier", self.names["postgres"], "--snapshot-type", "manual")
        found = json.loads(self.commands.ask(*command, "--region", self.names["region"], *query) or "[]")
        return max(found)[1] if found else ""

    def _secret(self, name: str) -> str:
        """What is in a secret; empty where nothing is yet."""
        try:
            command = ("aws", "secretsmanager", "get-secret-value", "--secret-id", name, "--query", "SecretString", "--output", "text")
            return self.commands.ask(*command, "--region", self.names["region"]).strip()
        except Broken as error:
            if "ResourceNotFoundException" in error.said:
                return ""
            raise

    def _keep_secret(self, name: str, text: str) -> None:
        command = ("aws", "secretsmanager", "put-secret-value", "--secret-id", name, "--secret-string", "file:///dev/stdin")
        self.commands.change(*command, "--region", self.names["region"], given=text)

    def _database_password(self) -> str:
        """That of the secret which MLflow reads; a new one is kept there before the database has it, so that no kill loses it."""
        name = self.names["secrets"]["mlflow_database"]
        if known := urlsplit(self._secret(name)).password:
            return known
        password = secrets.token_urlsafe(32)
        self._keep_secret(name, _database_uri(password, "not-there-yet"))
        return password

    def _tell_addresses(self, password: str) -> None:
        said = "{}" if self.commands.dry_run else self.commands.ask("terraform", f"-chdir={LAYER}", "output", "-json")
        outputs = {name: one["value"] for name, one in json.loads(said).items()}
        if host := outputs.get("database"):
            self._keep_secret(self.names["secrets"]["mlflow_database"], _database_uri(password, host))
        for channel in self.names["namespaces"]:
            name = self.names["secrets"][f"{channel}_cache_secret"]
            known = json.loads(self._secret(name) or "{}")
            wanted = {"secret": known.get("secret") or secrets.token_urlsafe(48), "redis": outputs.get("cache", "")}
            if wanted != known:
                self._keep_secret(name, json.dumps(wanted))

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
            self._await(f"{channel} has not loaded {release}", lambda: self._loaded(namespace) == release)
            self.commands.say(f"{channel} answers by {release}")

    def _loaded(self, namespace: str) -> str:
        try:
            said = self.commands.ask(
                "kubectl", *self._config, "get", "--raw", f"/api/v1/namespaces/{namespace}/services/{SERVICE}/proxy/readyz"
            )
            ready = json.loads(said)
            return str(ready["loaded"]) if ready["ready"] and ready["current"] else ""
        except (Broken, ValueError, KeyError):  # not ready is answered with 503
            return ""


def _database_uri(password: str, host: str) -> str:
    return f"postgresql://mlflow:{password}@{host}:5432/mlflow"


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
    names = json.loads(NAMES.read_text(encoding="utf-8"))["names"]
    with tempfile.TemporaryDirectory(prefix="kubeconfig-") as folder:
        layer = ClusterLayer(names, commands or Commands(dry_run=chosen.dry_run), Path(folder) / "config")
        try:
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
