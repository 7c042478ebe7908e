"""Pausing and resuming, on a world of answers: what is asked, what is changed and in which order."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra.pause import __main__ as command
from infra.pause.commands import Broken, Commands, Refused
from infra.pause.layer import ClusterLayer
from infra.pause.refuse import NO_ACCOUNT, NOBODYS
from infra.pause.stores import ALERTED
from tests.infra.scripts import ROOT
from tests.support.waiting import WITHIN_S

NAMES = json.loads((ROOT / "infra/terraform/cluster/names.auto.tfvars.json").read_text())["names"] | {"account": "123456789012"}
DEV = NAMES["namespaces"]["dev"]


class World(Commands):
    """An account with a cluster in it: answers by what a command begins with, and the changes that were made."""

    def __init__(self, *, dry_run: bool = False) -> None:
        self.lines: list[str] = []
        super().__init__(dry_run=dry_run, say=self.lines.append, sleep=lambda _: self.pass_time())
        self.account, self.workspace = "123456789012", "default"
        self.cluster = True
        self.status = "ACTIVE"
        self.claims: list[tuple[str, str]] = []
        self.unasked: list[tuple[str, str]] = []  # claims that a pause takes away without asking
        self.load_balancers = ["arn:lb/1"]
        self.objects: dict[str, str] = {f"s3://{NAMES['buckets']['releases']}/releases/channels/dev.json": json.dumps({"stable": "abc123"})}
        self.secrets: dict[str, str] = {}
        self.snapshots: list[tuple[str, str, str]] = []
        self.kinds = "kind: Deployment\n"
        self.grafana = "secret/grafana"
        self.replicas = 1
        self.image = "repository@sha256:1"
        self.persistent = True  # whether its layer was applied
        self.callers: dict[str, list[str]] | None = {"1": ["AWSCURRENT"]}
        self.loaded = ["", "", "abc123"]
        self.changes: list[str] = []
        self.seen: list[str] = []
        self.applied: list[str] = []  # what kubectl was given to apply
        self.given_secretly: dict[str, str] = {}
        self.fails = ""

    def pass_time(self) -> None:
        self.load_balancers = self.load_balancers[1:]

    def _run(self, command: Any, given: str, secret: Any, *, shown: bool = False) -> str:
        line = " ".join(command)
        self.seen.append(line)
        if self.fails and self.fails in line:
            raise Broken(command, "cut off")
        if line.endswith(" apply -f -"):
            self.applied.append(given)
        if " put-secret-value " in line:
            self.secrets[command[command.index("--secret-id") + 1]] = given
            self.changes.append(f"secret {command[command.index('--secret-id') + 1]}")
        elif line.startswith("aws s3 cp - "):
            self.objects[command[4]] = given
            self.changes.append(line)
        elif any(word in line for word in (" destroy ", " apply ", " delete ", " set image ")):
            self.given_secretly |= secret
            self.cluster = " destroy " not in line and (self.cluster or " apply -auto" in line)
            self.changes.append(line.replace(str(command[2]), "CONFIG") if command[0] == "kubectl" else line)
        return self._answer(command, line)

    def _answer(self, command: Any, line: str) -> str:
        if "get-caller-identity" in line:
            return self.account + "\n"
        if "workspace show" in line:
            return self.workspace
        if "describe-cluster" in line:
            if not self.cluster:
                raise Broken(command, "An error occurred (ResourceNotFoundException)")
            return self.status
        if line.startswith("kubectl kustomize"):
            return self.kinds
        if "get secret grafana" in line:
            return self.grafana
        if "list-objects-v2" in line:
            uri = f"s3://{command[4]}/{command[6]}"
            return json.dumps([command[6]]) if uri in self.objects else "null"
        if line.startswith("aws s3 cp s3://"):
            return self.objects[command[3]]
        if "get-secret-value" in line:
            name = command[command.index("--secret-id") + 1]
            if name not in self.secrets:
                what = "secret value for staging label: AWSCURRENT" if self.persistent else "secret."
                raise Broken(command, f"An error occurred (ResourceNotFoundException): Secrets Manager can't find the specified {what}")
            return self.secrets[name]
        if "describe-secret" in line:
            return json.dumps(self.callers)
        if "describe-db-snapshots" in line:
            return json.dumps(self.snapshots)
        if "describe-load-balancers" in line:
            return json.dumps([*self.load_balancers, "arn:lb/of-somebody-else"])
        if "describe-tags" in line:
            ours = {"Tags": [{"Key": "eks:eks-cluster-name", "Value": NAMES["cluster"]}]}
            return json.dumps(
                {
                    "TagDescriptions": [
                        {"ResourceArn": arn, **(ours if arn in self.load_balancers else {"Tags": []})}
                        for arn in command[4:]
                        if arn.startswith("arn:")
                    ]
                }
            )
        if line.startswith("terraform") and "output" in line:
            return json.dumps({"cache": {"value": "rediss://cache:6379/0"}, "database": {"value": "db.example"}})
        if "--raw" in line:
            loaded = self.loaded.pop(0)
            return json.dumps({"loaded": loaded, "ready": bool(loaded), "current": bool(loaded)})
        if " get persistentvolumeclaims" in line:
            items = [{"metadata": {"namespace": namespace, "name": name}} for namespace, name in self.claims]
            label = {"labels": {"touchstone/on-pause": "discard"}}
            items += [{"metadata": {"namespace": namespace, "name": name} | label} for namespace, name in self.unasked]
            return json.dumps({"items": items})
        if " get services" in line:
            both = [("ClusterIP", "inner"), ("LoadBalancer", "outer")]
            return json.dumps({"items": [{"metadata": {"namespace": DEV, "name": name}, "spec": {"type": kind}} for kind, name in both]})
        if f"get deployments --namespace {DEV}" in line:
            container = {"name": "api", "image": self.image}
            return json.dumps(
                {
                    "items": [
                        {
                            "metadata": {"name": "touchstone-api"},
                            "spec": {"replicas": self.replicas, "template": {"spec": {"containers": [container]}}},
                        }
                    ]
                }
            )
        if " get " in line and command[0] == "kubectl":
            return json.dumps({"items": []})
        return "[]" if "get-resources" in line else ""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("overlays/dev", "overlays/prod", "mlflow"):
        folder = tmp_path / "infra/kubernetes" / name
        folder.mkdir(parents=True)
        (folder / "kustomization.yaml").write_text("")
    return tmp_path


def layer(world: World, checkout: Path = ROOT) -> Any:
    return ClusterLayer(NAMES, world, Path("kubeconfig"), checkout)


def test_what_terraform_does_not_know_of_goes_before_the_cluster() -> None:
    world = World()
    layer(world).pause(discard_volumes=False)
    words = [next(word for word in ("s3 cp", "delete ingress", "delete service", "destroy") if word in change) for change in world.changes]
    assert words == ["s3 cp", "delete ingress", "delete service", "destroy"]
    assert "delete service outer" in world.changes[2]
    assert json.loads(world.objects[f"s3://{NAMES['state_bucket']}/paused.json"]) == {
        DEV: {"deployments/touchstone-api": {"api": "repository@sha256:1"}}
    }


def test_a_load_balancer_that_stays_keeps_the_cluster_up() -> None:
    world = World()
    world.pass_time = lambda: None  # type: ignore[method-assign]
    with pytest.raises(Broken, match="load balancers or volumes are still there"):
        layer(world).pause(discard_volumes=False)
    assert world.cluster


def test_volumes_are_not_lost_by_a_slip() -> None:
    world = World()
    world.claims = [("touchstone-sweeps", "sweep-reports")]
    with pytest.raises(Refused, match="touchstone-sweeps/sweep-reports"):
        layer(world).pause(discard_volumes=False)
    assert not world.changes
    layer(world).pause(discard_volumes=True)
    assert [change for change in world.changes if "delete namespace touchstone-sweeps" in change]


def test_what_monitoring_keeps_is_taken_away_unasked_and_named() -> None:
    world = World()
    world.unasked = [("touchstone-monitoring", "prometheus")]
    layer(world).pause(discard_volumes=False)
    assert "volumes go with the cluster: touchstone-monitoring/prometheus" in world.lines
    assert [change for change in world.changes if "delete namespace touchstone-monitoring" in change]


def test_claims_of_monitoring_are_those_that_nobody_is_asked_of() -> None:
    for name in ("prometheus", "alertmanager", "grafana"):
        assert "labels: {touchstone/on-pause: discard}" in (ROOT / f"infra/kubernetes/monitoring/{name}.yaml").read_text()


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_nothing_is_taken_away_while_another_terraform_holds_the_lock(verb: str, checkout: Path) -> None:
    world = World()
    lock = {"ID": "17", "Who": "ann@desk", "Operation": "OperationTypeApply", "Created": "2026-11-29"}
    world.objects[f"s3://{NAMES['state_bucket']}/cluster.tfstate.tflock"] = json.dumps(lock)
    with pytest.raises(Refused, match="locked by ann@desk .*force-unlock 17"):
        layer(world).pause(discard_volumes=True) if verb == "pause" else layer(world, checkout).resume()
    assert not world.changes


def test_a_cluster_that_is_half_made_is_not_asked_what_runs_in_it() -> None:
    world = World()
    world.status, world.fails = "CREATING", "kubectl"
    layer(world).pause(discard_volumes=False)
    assert not world.cluster


def test_a_snapshot_that_is_still_made_is_waited_for_since_an_older_one_would_lose_runs(checkout: Path) -> None:
    world = World()
    world.snapshots = [("2026-11-01T00:00:00", "touchstone-mlflow-1", "available"), (None, "touchstone-mlflow-2", "creating")]  # type: ignore[list-item]
    with pytest.raises(Broken, match="touchstone-mlflow-2 is still being made"):
        layer(world, checkout).resume()
    assert not [change for change in world.changes if "apply" in change]


def test_a_channel_with_nobodys_image_is_told_before_the_cluster_is_paid_for(checkout: Path) -> None:
    world = World()
    world.cluster = False
    overlay = checkout / "infra/kubernetes/overlays/dev/kustomization.yaml"
    overlay.write_text(f"images: [{{name: touchstone-serving, digest: {NOBODYS}}}]")
    with pytest.raises(Refused, match="dev names a release, and .*nobody's image"):
        layer(world, checkout).resume()
    assert not world.changes
    world.objects[f"s3://{NAMES['state_bucket']}/paused.json"] = json.dumps({DEV: {"deployments/touchstone-api": {"api": "r@sha256:1"}}})
    layer(world, checkout).resume()  # what ran before the pause is somebody's


def test_an_operator_is_installed_where_a_channel_needs_it_and_before_it(checkout: Path) -> None:
    world = World()
    layer(world, checkout).resume()
    assert not [change for change in world.changes if "keda" in change]
    world = World()
    world.kinds = "kind: Deployment\n---\nkind: ScaledObject\nmetadata: {}\n"
    layer(world, checkout).resume()
    [keda] = [place for place, change in enumerate(world.changes) if "--server-side" in change and "keda" in change]
    [dev] = [place for place, change in enumerate(world.changes) if "overlays/dev" in change]
    assert keda < dev


def test_what_auto_mode_leaves_to_us_comes_before_what_needs_it(checkout: Path) -> None:
    for name in ("cluster", "monitoring"):
        (checkout / "infra/kubernetes" / name).mkdir()
        (checkout / "infra/kubernetes" / name / "kustomization.yaml").write_text("")
    world = World()
    world.grafana = ""
    layer(world, checkout).resume()
    applied = [change.rpartition("/")[2] for change in world.changes if "apply -k" in change]
    assert applied == ["cluster", "mlflow", "monitoring", "dev"]
    assert [change for change in world.changes if change.endswith("apply -f -")]  # Grafana's password, which no argument tells
    assert [line for line in world.lines if "Grafana" in line]


def test_alertmanager_is_told_where_alerts_go_after_every_resume(checkout: Path) -> None:
    (checkout / "infra/kubernetes/monitoring").mkdir()
    (checkout / "infra/kubernetes/monitoring/kustomization.yaml").write_text("")
    world = World()
    layer(world, checkout).resume()
    assert [line for line in world.lines if "nobody hears of alerts to heartbeat, pager, tickets" in line]
    world = World()
    world.secrets[NAMES["secrets"]["alerts"]] = json.dumps({"pager": "https://wake.example/1", "tickets": "https://t.example/2"})
    layer(world, checkout).resume()
    [given] = [json.loads(text) for text in world.applied]
    assert (given["metadata"]["name"], given["stringData"]["pager"]) == ("alertmanager", "https://wake.example/1")
    assert [line for line in world.lines if "nobody hears of alerts to heartbeat:" in line]
    assert not [line for line in world.seen if "wake.example" in line]


@pytest.mark.parametrize("said", ["hunter2", '{"pagers": "https://x.example"}', '{"pager": "http://x.example"}'])
def test_addresses_for_alerts_that_are_none_are_told_before_the_cluster_is_paid_for(checkout: Path, said: str) -> None:
    world = World()
    world.secrets[NAMES["secrets"]["alerts"]] = said
    with pytest.raises(Refused, match=f"{NAMES['secrets']['alerts']} is not"):
        layer(world, checkout).resume()
    assert not world.changes


def test_alerts_go_to_those_that_alertmanager_knows() -> None:
    config = (ROOT / "infra/observability/alertmanager/alertmanager.yml").read_text()
    assert set(re.findall(r"url_file: /etc/alertmanager/secrets/(\w+)", config)) == ALERTED


def test_a_secret_that_somebody_wrote_otherwise_is_told_before_the_cluster_is_paid_for(checkout: Path) -> None:
    world = World()
    world.secrets[NAMES["secrets"]["dev_cache_secret"]] = "hunter2"
    with pytest.raises(Refused, match=f"{NAMES['secrets']['dev_cache_secret']} is not") as refused:
        layer(world, checkout).resume()
    assert not world.changes
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("fails", "says"), [("get-caller-identity", "Log in first"), ("terraform -chdir=infra/terraform/cluster init", "steps 2 and 3")]
)
def test_who_is_not_logged_in_or_has_no_state_yet_is_told_what_to_do(fails: str, says: str) -> None:
    world = World()
    world.fails = fails
    with pytest.raises(Refused, match=says):
        layer(world).pause(discard_volumes=False)
    assert not world.changes


def test_a_channel_without_callers_is_told_before_the_cluster_is_paid_for(checkout: Path) -> None:
    world = World()
    world.callers = None
    with pytest.raises(Refused, match=f"{NAMES['secrets']['dev_api_keys']} is empty.*step 4"):
        layer(world, checkout).resume()
    assert not world.changes


def test_an_account_without_the_persistent_layer_is_told_which_step_is_missing(checkout: Path) -> None:
    world = World()
    world.persistent = False
    with pytest.raises(Refused, match="There is no secret .*step 3"):
        layer(world, checkout).resume()
    assert not world.changes


def test_names_that_are_not_there_are_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(command, "NAMES", ROOT / "infra/terraform/cluster/names.of.nobody.json")
    assert command.main(["pause"], World()) == 2
    assert capsys.readouterr().err.endswith("Run: make infra-names\n")


STEP = """
import sys
from infra.pause import commands
commands.end_when_told()
try:
    step = "trap 'sleep 0.6; echo saved > {saved}; exit 1' INT; sleep 0.5; echo begun; while :; do sleep 0.05; done"
    commands.Commands().change("sh", "-c", step)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM])
def test_a_running_step_is_let_end_when_the_pause_is_told_to(tmp_path: Path, told: signal.Signals) -> None:
    code = STEP.format(saved=tmp_path / "saved")
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "begun\n"
        # Ctrl-C reaches everything that runs in the terminal, `kill` the one process
        os.killpg(process.pid, told) if told == signal.SIGINT else os.kill(process.pid, told)
        assert process.wait(timeout=WITHIN_S) == 130
    assert (tmp_path / "saved").read_text() == "saved\n"


@pytest.mark.parametrize(("what", "value", "says"), [("account", "999999999999", "999999999999"), ("workspace", "mine", "'mine'")])
@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_another_account_or_workspace_is_refused_before_anything_is_changed(verb: str, what: str, value: str, says: str) -> None:
    world = World()
    setattr(world, what, value)
    with pytest.raises(Refused, match=says):
        layer(world).pause(discard_volumes=True) if verb == "pause" else layer(world).resume()
    assert not world.changes


def test_the_account_that_comes_with_the_project_is_none() -> None:
    world = World()
    with pytest.raises(Refused, match="make infra-names"):
        ClusterLayer(NAMES | {"account": NO_ACCOUNT}, world, Path("kubeconfig")).pause(discard_volumes=False)
    assert not world.seen


def test_a_dry_run_changes_nothing_and_says_what_it_would(checkout: Path) -> None:
    world = World(dry_run=True)
    layer(world).pause(discard_volumes=False)
    assert not world.changes
    assert [line for line in world.lines if "would run: terraform" in line and "destroy" in line]
    assert world.lines[-1] == "nothing was changed"
    world = World(dry_run=True)
    world.cluster = False
    layer(world, checkout).resume()
    assert not world.changes
    assert [line for line in world.lines if "would run: kubectl" in line and "overlays/dev" in line]


def test_a_pause_that_was_killed_goes_on() -> None:
    world = World()
    world.fails = " destroy "
    with pytest.raises(Broken):
        layer(world).pause(discard_volumes=False)
    world.fails = ""
    layer(world).pause(discard_volumes=False)
    assert not world.cluster
    layer(world).pause(discard_volumes=False)  # and again, with nothing there
    assert "there is no cluster to drain" in world.lines


def test_a_second_pause_keeps_what_the_first_wrote_down() -> None:
    world = World()
    layer(world).pause(discard_volumes=False)
    before = world.objects[f"s3://{NAMES['state_bucket']}/paused.json"]
    layer(world).pause(discard_volumes=False)
    assert world.objects[f"s3://{NAMES['state_bucket']}/paused.json"] == before


def test_a_pause_keeps_what_one_before_it_wrote_of_channels_that_were_not_brought_back() -> None:
    world = World()
    paused = f"s3://{NAMES['state_bucket']}/paused.json"
    world.objects[paused] = json.dumps({NAMES["namespaces"]["staging"]: {"deployments/touchstone-api": {"api": "r@sha256:9"}}})
    layer(world).pause(discard_volumes=False)
    assert set(json.loads(world.objects[paused])) == {DEV, NAMES["namespaces"]["staging"]}


def test_a_resume_of_what_runs_keeps_images_that_were_deployed_since_the_last_pause(checkout: Path) -> None:
    world = World()
    layer(world).pause(discard_volumes=False)
    layer(world, checkout).resume()
    assert json.loads(world.objects[f"s3://{NAMES['state_bucket']}/paused.json"]) == {}
    world.changes.clear()
    world.image, world.loaded = "repository@sha256:2", ["abc123"]
    world.fails = " set image "  # killed when the overlay's own images have just been applied
    with pytest.raises(Broken):
        layer(world, checkout).resume()
    world.fails, world.image = "", "repository:of-the-overlay"
    layer(world, checkout).resume()
    assert [change.rpartition(" api=")[2].split()[0] for change in world.changes if " set image " in change] == ["repository@sha256:2"]


def test_it_comes_back_with_what_ran_and_what_the_channel_names(checkout: Path) -> None:
    world = World()
    layer(world).pause(discard_volumes=False)
    world.changes.clear()
    world.snapshots = [(f"2026-11-{day}T00:00:00", f"touchstone-mlflow-{day}", "available") for day in ("01", "20")]
    layer(world, checkout).resume()
    assert world.given_secretly["TF_VAR_database_snapshot"] == "touchstone-mlflow-20"
    assert [change for change in world.changes if "overlays/dev" in change]
    assert not [change for change in world.changes if "overlays/prod" in change]  # it names no release
    assert [change for change in world.changes if "set image deployments/touchstone-api api=repository@sha256:1" in change]
    assert world.lines[-1] == "dev answers by abc123"


def test_a_channel_that_sleeps_is_not_waited_for(checkout: Path) -> None:
    world = World()
    world.loaded, world.replicas = [""], 0  # at five in the morning, before its hours begin
    layer(world, checkout).resume()
    assert world.lines[-1] == "dev sleeps, as its hours have it, and wakes by abc123"


def test_addresses_go_into_secrets_and_a_cache_secret_stays_as_it_was(checkout: Path) -> None:
    world = World()
    world.secrets[NAMES["secrets"]["dev_cache_secret"]] = json.dumps({"secret": "mine", "redis": "rediss://old:6379/0"})
    layer(world, checkout).resume()
    assert json.loads(world.secrets[NAMES["secrets"]["dev_cache_secret"]]) == {"secret": "mine", "redis": "rediss://cache:6379/0"}
    assert len(json.loads(world.secrets[NAMES["secrets"]["prod_cache_secret"]])["secret"]) >= 32
    assert world.secrets[NAMES["secrets"]["mlflow_database"]].endswith("@db.example:5432/mlflow")


def test_a_password_is_kept_before_the_database_has_it_and_is_never_an_argument(checkout: Path) -> None:
    world = World()
    world.fails = "apply -auto"
    with pytest.raises(Broken):
        layer(world, checkout).resume()
    kept = world.secrets[NAMES["secrets"]["mlflow_database"]]
    world.fails = ""
    layer(world, checkout).resume()
    password = world.given_secretly["TF_VAR_database_password"]
    assert password in kept
    assert password in world.secrets[NAMES["secrets"]["mlflow_database"]]
    assert not [line for line in world.seen if password in line]


def test_a_channel_that_names_nothing_cannot_be_asked_for(checkout: Path) -> None:
    world = World()
    with pytest.raises(Refused, match="prod names no release"):
        layer(world, checkout).resume(["prod"])
    assert not world.changes


def test_a_channel_whose_overlay_is_missing_is_told_before_the_cluster_is_paid_for(tmp_path: Path) -> None:
    world = World()
    with pytest.raises(Refused, match="overlays/dev"):
        layer(world, tmp_path).resume()
    assert not world.changes


def test_commands_tell_what_failed_and_hear_what_they_are_given(capfd: pytest.CaptureFixture[str]) -> None:
    commands = Commands()
    assert commands.ask("printf", "seen") == "seen"
    commands.change("cat", given="as it goes on")
    assert capfd.readouterr().out == "as it goes on"
    with pytest.raises(Broken, match="sh -c echo no >&2; exit 1 failed: no"):
        commands.change("sh", "-c", "echo no >&2; exit 1")
    with pytest.raises(Refused, match="no-such-program is not installed"):
        commands.ask("no-such-program")


def test_what_the_cluster_needs_once_comes_before_what_needs_it(checkout: Path) -> None:
    shutil.copytree(ROOT / "infra/kubernetes/cluster", checkout / "infra/kubernetes/cluster")
    world = World()
    layer(world, checkout).resume()
    applied = [change.rpartition("/kubernetes/")[2] for change in world.changes if " apply -k " in change]
    assert applied == ["cluster", "mlflow", "overlays/dev"]
