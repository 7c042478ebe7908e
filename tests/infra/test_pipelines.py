"""Workflows and their scripts: what is there holds, what is broken is found, and what scripts do when commands succeed and fail."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.checks.kubernetes_agreement import command_mistake
from infra.checks.pipelines import ROOT, Pipelines, ToolMissing
from tests.support.waiting import WITHIN_S
from tests.test_docs import mistake

SCRIPTS = ROOT / "infra" / "pipelines"
HARNESS = "1.dkr.ecr.eu-west-1.amazonaws.com/touchstone-harness@sha256:" + "c" * 64
OLD_JOBS = {  # a deploy before this one may have ended between two
    "evaluate": "1.dkr.ecr.eu-west-1.amazonaws.com/touchstone-harness@sha256:" + "d" * 64,
    "ingest": "1.dkr.ecr.eu-west-1.amazonaws.com/touchstone-harness@sha256:" + "e" * 64,
}
IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/touchstone-serving@sha256:" + "a" * 64
OLD_IMAGE = "1.dkr.ecr.eu-west-1.amazonaws.com/touchstone-serving@sha256:" + "b" * 64


# what is there, and what is broken


@pytest.mark.parametrize(
    "check",
    ["schema", "zizmor", "shellcheck", "pinned", "careful", "secrets_arrive", "roles_are_guarded", "scripts_are_used", "images_are_built"],
)
def test_what_is_there_holds(check: str) -> None:
    assert list(getattr(Pipelines(), check)()) == []


def linted(root: Path) -> list[str]:
    try:
        return list(Pipelines(root, offline=True).actionlint())
    except ToolMissing as error:
        pytest.skip(f"{error}; fetch it once: make infra-check")


def test_what_is_there_holds_for_actionlint() -> None:
    assert linted(ROOT) == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / ".github", tmp_path / ".github")
    shutil.copytree(SCRIPTS, tmp_path / "infra" / "pipelines")
    shutil.copytree(ROOT / "infra" / "docker", tmp_path / "infra" / "docker")
    (tmp_path / ".git").mkdir()  # by which actionlint knows where a repository begins
    return tmp_path


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


def workflow(name: str, before: str, after: str) -> Callable[[Path], None]:
    return lambda root: change(root / ".github" / "workflows" / name, before, after)


def script(name: str, before: str, after: str) -> Callable[[Path], None]:
    return lambda root: change(root / "infra" / "pipelines" / name, before, after)


CHECKOUT = "actions/checkout@11bd71901bbe5b1630ceea73d27597364c9af683  # v4.2.2"
BROKEN = [
    ("an action by its tag", "pinned", workflow("ci.yml", CHECKOUT, "actions/checkout@v4"), "'actions/checkout@v4' is not pinned"),
    ("a commit without its version", "pinned", workflow("ci.yml", CHECKOUT, CHECKOUT[:56]), "is not pinned"),
    ("another commit elsewhere", "pinned", workflow("data.yml", "@11bd7", "@22bd7"), "actions/checkout has another commit elsewhere"),
    ("rights for all jobs", "careful", workflow("ci.yml", "permissions: {}", "permissions: write-all"), "ci.yml: permissions is not {}"),
    (
        "rights that a job does not need",
        "careful",
        workflow("ci.yml", "    permissions: {contents: read}\n", "    permissions: {contents: write}\n"),
        "ci.yml: test may write contents",
    ),
    ("a job that may do anything", "careful", workflow("ci.yml", "{contents: read}", "write-all"), "ci.yml: test names no permissions"),
    ("a job without an end", "careful", workflow("nightly.yml", "    timeout-minutes: 90\n", ""), "evaluate has no timeout-minutes"),
    ("a job that inherits rights", "careful", workflow("ci.yml", "    permissions: {contents: read}\n", ""), "test names no permissions"),
    (
        "runs that meet",
        "careful",
        workflow("infra.yml", "    concurrency: {group: infra-cluster, cancel-in-progress: false}\n", ""),
        "infra.yml has no concurrency",
    ),
    (
        "a pipe that hides what failed before it",
        "careful",
        workflow("deploy.yml", "defaults: {run: {shell: bash}}  # with pipefail\n", ""),
        "deploy.yml: a command that fails before a pipe is not seen",
    ),
    (
        "a secret that does not arrive",
        "secrets_arrive",
        workflow("deploy.yml", '    secrets: {TOUCHSTONE_KEY: "${{ secrets.TOUCHSTONE_KEY }}"}\n', ""),
        "deploy.yml: dev does not pass the secret TOUCHSTONE_KEY on",
    ),
    (
        "a secret that is not declared",
        "secrets_arrive",
        workflow("deploy-channel.yml", "      TOUCHSTONE_KEY: {required: false}", "      OTHER_KEY: {required: false}"),
        "deploy-channel.yml reads the secret TOUCHSTONE_KEY, which it does not declare",
    ),
    (
        "a stranger's code with our rights",
        "careful",
        workflow("quality.yml", "  pull_request:\n", "  pull_request_target:\n"),
        "quality.yml runs with the repository's rights",
    ),
    (
        "a role behind no environment",
        "roles_are_guarded",
        workflow("deploy-channel.yml", "    environment: ${{ inputs.channel }}\n", ""),
        "deploy-channel.yml: deploy takes a role behind no environment",
    ),
    (
        "a role in an environment that nobody guards",
        "roles_are_guarded",
        workflow("infra.yml", "    environment: infra\n", "    environment: trial\n"),
        "infra.yml: apply takes a role in the environment trial, which no role trusts",
    ),
    (
        "a plan of what a stranger wrote",
        "roles_are_guarded",
        workflow("infra.yml", " && github.event.pull_request.head.repo.full_name == github.repository", ""),
        "infra.yml: plan takes a role behind no environment, and not only for pull requests",
    ),
    (
        "a signature of any branch",
        "roles_are_guarded",
        workflow("deploy-channel.yml", "@refs/heads/main$", "@.*"),
        "deploy-channel.yml: IDENTITY takes signatures of others",
    ),
    ("an unknown field", "schema", workflow("ci.yml", "timeout-minutes: 60", "timeout: 60"), "timeout"),
    (
        "an expression inside of a shell",
        "zizmor",
        workflow("deploy-channel.yml", '"$IMAGE" "$HARNESS"', '"${{ inputs.image }}" "$HARNESS"'),
        "template-injection",
    ),
    ("credentials that stay", "zizmor", workflow("ci.yml", "        with: {persist-credentials: false}\n", ""), "artipacked"),
    ("a script that is not there", "scripts_are_used", workflow("infra.yml", "apply.sh", "aply.sh"), "aply.sh is called, and is not there"),
    ("a script that nothing calls", "scripts_are_used", workflow("infra.yml", "plan.sh", "apply.sh"), "plan.sh is called by nothing"),
    ("a script that goes on after failures", "scripts_are_used", script("scan.sh", "set -euo pipefail", "set -u"), "scan.sh goes on after"),
    (
        "an image that nobody builds",
        "images_are_built",
        lambda root: (root / "infra/docker/trial.Dockerfile").write_text("FROM scratch\n"),
        "deploy.yml: no job builds trial",
    ),
    (
        "an image that nobody describes",
        "images_are_built",
        workflow("deploy.yml", "{recipe: harness,", "{recipe: harnes,"),
        "deploy.yml: there is no infra/docker/harnes.Dockerfile",
    ),
    (
        "a change that reaches an image and starts no deploy",
        "images_are_built",
        workflow("deploy.yml", '      - "harness/**"\n', ""),
        "deploy.yml does not begin when harness changes, which harness.Dockerfile takes",
    ),
    ("a variable that falls apart", "shellcheck", script("smoke.sh", '"$url/readyz"', "$url/readyz"), "SC2086"),
]
BROKEN_FOR_ACTIONLINT = [
    (
        "a bad needs",
        workflow("deploy.yml", "needs: [images, staging]", "needs: [images, stagin]"),
        'needs job "stagin" which does not exist',
    ),
    ("a circle of needs", workflow("deploy.yml", "needs: images\n", "needs: [images, prod]\n"), "cyclic dependencies"),
    ("an output that is not there", workflow("deploy.yml", "steps.build.outputs", "steps.bild.outputs"), '"bild" is not defined'),
    ("an input that is not there", workflow("deploy.yml", "      channel: dev\n", "      chanel: dev\n"), '"chanel" is not defined'),
    ("a schedule that is none", workflow("nightly.yml", "30 1 * * *", "30 25 * * *"), "invalid CRON format"),
    ("rights that do not exist", workflow("ci.yml", "{contents: read}", "{contents: rd}"), '"rd" is invalid'),
]


@pytest.mark.parametrize(("what", "check", "breaking", "complaint"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_is_broken_is_found(checkout: Path, what: str, check: str, breaking: Callable[[Path], None], complaint: str) -> None:
    breaking(checkout)
    assert complaint in "\n".join(getattr(Pipelines(checkout), check)())


@pytest.mark.parametrize(("what", "breaking", "complaint"), BROKEN_FOR_ACTIONLINT, ids=[row[0] for row in BROKEN_FOR_ACTIONLINT])
def test_what_is_broken_is_found_by_actionlint(checkout: Path, what: str, breaking: Callable[[Path], None], complaint: str) -> None:
    breaking(checkout)
    assert complaint in "\n".join(linted(checkout))


def test_every_command_that_a_workflow_or_a_script_calls_exists() -> None:
    texts = [path.read_text() for path in (*Pipelines().workflows, *Pipelines().scripts)]
    code = "\n".join(line for text in texts for line in text.splitlines() if not line.lstrip().startswith("#"))
    code = code.replace('make --directory "$root" "$what"', "make pause\nmake resume")
    commands = re.findall(r"(?<![\w/-])(?<!<!-- )(?:\.venv/bin/)?touchstone ((?:[a-z]+ ?)+(?:[^\n;&|)]*))", code)
    targets = set(re.findall(r"(?:run: |^\s*)make ([a-z-]+)$", code, re.MULTILINE))
    known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert targets <= known
    assert {"setup", "pause", "bench"} <= targets
    plain = [re.sub(r'"[^"]*"', "x", line.partition(" --why")[0]).strip() for line in commands]
    wrong = {" ".join(["touchstone", *line.split()[:2]]) for line in plain if mistake(line)}
    assert wrong == set()
    assert len(commands) > 10


# what the scripts do


STUB = r"""#!/bin/bash
call="$(basename "$0") $*"
printf '%s\n' "$call" >> "$CALLS"
case "$call" in *" -") cat >> "$CALLS.given" ;; esac
while IFS=$'\t' read -r begins code file after; do
  if [ -n "$after" ] && ! grep -q "^$after" "$CALLS"; then continue; fi
  case "$call" in
    "$begins"*)
      if [ "$code" = 0 ]; then cat "$file"; else cat "$file" >&2; fi
      exit "$code"
      ;;
  esac
done < "$RULES"
"""


class Commands:
    """Programs that write down how they were called, and do what the test says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self._calls = folder / "calls"
        self._rules: list[tuple[str, int, str, str]] = []

    def does(self, beginning: str, *, says: object = "", code: int = 0, after: str = "") -> None:
        """What a call that begins so prints, and how it ends, once another was called; the newest that fits counts."""
        text = says if isinstance(says, str) else json.dumps(says)
        self._rules.insert(0, (beginning, code, text, after))
        (self.bin / beginning.split()[0]).write_text(STUB)
        (self.bin / beginning.split()[0]).chmod(0o755)

    def run(self, name: str, *arguments: str, cwd: Path | None = None, **more: str) -> "subprocess.CompletedProcess[str]":
        rules = self.folder / "rules"
        lines = []
        for number, (begins, code, text, after) in enumerate(self._rules):
            (self.folder / f"said{number}").write_text(text)
            lines.append(f"{begins}\t{code}\t{self.folder / f'said{number}'}\t{after}\n")
        rules.write_text("".join(lines))
        path = f"{self.bin}:{os.environ['PATH']}"
        own = {"PATH": path, "HOME": str(self.folder), "CALLS": str(self._calls), "RULES": str(rules), "TRIES": "2", "POLL_S": "0"}
        environment = {**own, **more}
        return subprocess.run(
            [str(SCRIPTS / name), *arguments],
            cwd=cwd or self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=WITHIN_S,
        )

    @property
    def given(self) -> str:
        """What programs were given to read."""
        return Path(f"{self._calls}.given").read_text()

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []

    def called(self, beginning: str) -> list[str]:
        return [call for call in self.calls if call.startswith(beginning)]


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


def ready(release: str, **more: object) -> dict[str, object]:
    return {"ready": True, "current": True, "loaded": release, **more}


ANSWER = {"answer": "28 days [1].", "trace_id": "t1", "release": "new"}


MADE_JOB = {
    "metadata": {"name": "smoke", "ownerReferences": [{"kind": "CronJob"}]},
    "spec": {"backoffLimit": 1, "template": {"spec": {"containers": [{"command": ["touchstone", "channel", "evaluate"], "args": ["x"]}]}}},
}


def cronjobs(images: Mapping[str, str]) -> dict[str, object]:
    def template(image: str) -> object:
        return {"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": image}]}}}}}

    return {"items": [{"metadata": {"name": name}, "spec": template(image)} for name, image in images.items()]}


@pytest.fixture
def deploying(commands: Commands) -> Commands:
    """Everything goes well: release `old` serves, `new` is deployed."""
    commands.does("touchstone")
    commands.does("touchstone channel show", says={"stable": "old"})
    commands.does("touchstone channel show", says={"stable": "new"}, after="touchstone promote")
    commands.does("kubectl")
    for namespace in ("touchstone-prod", "touchstone-staging"):
        commands.does(f"kubectl --namespace {namespace} get", says=OLD_IMAGE)
        commands.does(f"kubectl --namespace {namespace} get cronjobs", says=cronjobs(OLD_JOBS))
        commands.does(f"kubectl --namespace {namespace} create job", says=MADE_JOB)
        commands.does(
            f"kubectl --namespace {namespace} get job/", says={"status": {"conditions": [{"type": "Complete", "status": "True"}]}}
        )
    commands.does("cosign")
    commands.does("gh", says=[{"state": "approved", "user": {"login": "ann"}, "environments": [{"name": "prod"}]}])
    commands.does("curl", says=ANSWER)
    commands.does("curl --silent --max-time 10", says=ready("new"))
    commands.does("curl --silent --max-time 10", says=ready("old"), after="touchstone release rollback")
    return commands


def deploy(
    commands: Commands, channel: str = "staging", release: str = "new", image: str = IMAGE, harness: str = HARNESS, url: str = "https://x"
) -> "subprocess.CompletedProcess[str]":
    return commands.run(
        "deploy.sh", channel, image, harness, release, TOUCHSTONE_URL=url, TOUCHSTONE_KEY="the-key-of-the-test", IDENTITY="^x$",
        GITHUB_REPOSITORY="o/r", GITHUB_RUN_ID="7", NAMESPACE=f"touchstone-{channel}",
    )  # fmt: skip


def test_a_channel_is_deployed_to_the_namespace_that_its_overlay_names(deploying: Commands) -> None:
    overlay = yaml.safe_load((ROOT / "infra/kubernetes/overlays/staging/kustomization.yaml").read_text())
    deploying.does(f"kubectl --namespace {overlay['namespace']} get", says=OLD_IMAGE)
    deploying.does(f"kubectl --namespace {overlay['namespace']} get cronjobs", says=cronjobs(OLD_JOBS))
    deploying.run("deploy.sh", "staging", IMAGE, HARNESS, "new", TOUCHSTONE_URL="https://x", TOUCHSTONE_KEY="k", IDENTITY="^x$")
    assert deploying.called(f"kubectl --namespace {overlay['namespace']} set image")


def test_a_deploy_promotes_sets_the_images_and_checks(deploying: Commands) -> None:
    done = deploy(deploying)
    assert (done.returncode, done.stderr) == (0, "")
    order = [
        call.split(" ")[:3] for call in deploying.calls if call.split()[0] in ("touchstone", "cosign", "curl") or " set image " in call
    ]
    assert [" ".join(words) for words in order] == [
        "touchstone channel show",
        "cosign verify --certificate-oidc-issuer",
        "cosign verify --certificate-oidc-issuer",
        "touchstone channel show",
        "touchstone champion set",
        f"touchstone gate {ROOT}/experiments/gates/promotion.yaml",
        "touchstone promote new",
        "kubectl --namespace touchstone-staging",
        "kubectl --namespace touchstone-staging",
        "kubectl --namespace touchstone-staging",
        "curl --silent --max-time",
        "curl --silent --show-error",
        "touchstone channel evaluate",
    ]
    assert deploying.called("kubectl --namespace touchstone-staging set image") == [
        f"kubectl --namespace touchstone-staging set image cronjob/evaluate *={HARNESS}",
        f"kubectl --namespace touchstone-staging set image cronjob/ingest *={HARNESS}",
        f"kubectl --namespace touchstone-staging set image deployment/touchstone-api *={IMAGE}",
    ]
    assert f"its jobs run {HARNESS}" in done.stdout
    assert deploying.called("gh") == []  # nobody is asked for staging
    assert "the-key-of-the-test" not in "".join(deploying.calls) + done.stdout
    assert cleared_up(deploying).returncode == 0
    assert deploying.called("touchstone release rollback") == []


def cleared_up(commands: Commands) -> "subprocess.CompletedProcess[str]":
    """What the last step of the workflow does, whatever became of the one before."""
    return commands.run("put_back.sh", "staging", "it was cancelled or killed", TOUCHSTONE_URL="https://x")


def put_back(commands: Commands) -> None:
    [rollback] = commands.called("touchstone release rollback")
    assert rollback.startswith("touchstone release rollback --channel staging --to old --why ")
    wanted = [*(f"cronjob/{name} *={image}" for name, image in OLD_JOBS.items()), f"deployment/touchstone-api *={OLD_IMAGE}"]
    assert commands.called("kubectl --namespace touchstone-staging set image")[-3:] == [
        f"kubectl --namespace touchstone-staging set image {one}" for one in wanted
    ]


def test_a_failed_smoke_test_puts_back_the_release_and_the_image(deploying: Commands) -> None:
    deploying.does("curl --silent --max-time 10", says=ready("old"))  # the new one never comes
    done = deploy(deploying)
    assert done.returncode == 1
    put_back(deploying)
    assert "the smoke test failed; putting back" in done.stderr
    assert "staging is as it was" in done.stderr


def test_a_channel_without_an_address_is_asked_through_the_cluster(deploying: Commands) -> None:
    done = deploy(deploying, url="")
    assert done.returncode == 0, done.stderr
    assert deploying.called("kubectl --namespace touchstone-staging port-forward") == [
        "kubectl --namespace touchstone-staging port-forward service/touchstone-api 18080:80"
    ]
    asked = set(re.findall(r"https?://\S+", "\n".join(deploying.calls)))
    assert asked == {"http://127.0.0.1:18080/readyz", "http://127.0.0.1:18080/v1/query", "https://token.actions.githubusercontent.com"}


def test_an_answer_that_is_none_fails_the_smoke_test(deploying: Commands) -> None:
    deploying.does("curl --silent --show-error", says={"answer": "", "trace_id": ""})
    assert deploy(deploying).returncode == 4  # nor does the old release answer: it is said that somebody is needed
    put_back(deploying)


def test_a_rollout_that_does_not_end_is_put_back(deploying: Commands) -> None:
    deploying.does("kubectl --namespace touchstone-staging rollout status", code=1)
    done = deploy(deploying)
    assert done.returncode == 4
    put_back(deploying)
    assert "the rollout did not end in time" in done.stderr
    assert "needs somebody now" in done.stderr


@pytest.mark.parametrize(("code", "words"), [(1, "worse than what was promoted"), (3, "could not be evaluated (exit code 3)")])
def test_what_is_worse_and_what_cannot_be_judged_is_put_back(deploying: Commands, code: int, words: str) -> None:
    deploying.does("touchstone channel evaluate", code=code)
    done = deploy(deploying)
    assert done.returncode == 1
    assert words in done.stderr
    put_back(deploying)


def test_a_deploy_that_is_cancelled_is_put_back(deploying: Commands) -> None:
    stub = deploying.bin / "kubectl"
    stub.write_text(stub.read_text().replace("call=", 'case "$*" in *"*=' + IMAGE + '"*) kill -TERM "$PPID" ;; esac\ncall=', 1))
    done = deploy(deploying)
    assert done.returncode == 1
    assert "it was cancelled; putting back" in done.stderr
    [rollback] = deploying.called("touchstone release rollback")
    assert "--to old" in rollback


def test_a_deploy_that_was_killed_is_put_back_by_the_step_after_it(deploying: Commands) -> None:
    stub = deploying.bin / "kubectl"
    stub.write_text(stub.read_text().replace("call=", 'case "$*" in *"*=' + IMAGE + '"*) kill -KILL "$PPID" ;; esac\ncall=', 1))
    assert deploy(deploying).returncode == -9
    assert deploying.called("touchstone release rollback") == []
    done = cleared_up(deploying)
    assert done.returncode == 1
    assert "it was cancelled or killed; putting back" in done.stderr
    assert "staging is as it was" in done.stderr
    put_back(deploying)
    assert cleared_up(deploying).returncode == 0  # and once only


def test_what_could_not_be_put_back_is_tried_once_more_by_the_step_after_it(deploying: Commands) -> None:
    deploying.does("touchstone channel evaluate", code=1)
    deploying.does("touchstone release rollback", code=3)
    assert deploy(deploying).returncode == 4
    deploying.does("touchstone release rollback")
    assert cleared_up(deploying).returncode == 1


def test_a_promotion_that_fails_after_it_moved_the_channel_is_put_back(deploying: Commands) -> None:
    deploying.does("touchstone promote", code=3)
    done = deploy(deploying)
    assert done.returncode == 1
    assert "new was promoted, and promoting it failed after that" in done.stderr
    put_back(deploying)


def test_without_a_release_only_the_image_is_put_back(deploying: Commands) -> None:
    deploying.does("curl --silent --max-time 10", says=ready("old"))
    deploying.does("touchstone channel evaluate", code=1)
    done = deploy(deploying, release="")
    assert done.returncode == 1
    assert deploying.called("touchstone promote") == deploying.called("touchstone release") == deploying.called("touchstone gate") == []
    assert deploying.called("kubectl --namespace touchstone-staging set image")[-1].endswith(f"*={OLD_IMAGE}")


def test_a_job_that_does_not_run_by_its_new_image_puts_both_images_back(deploying: Commands) -> None:
    failed = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    deploying.does("kubectl --namespace touchstone-staging get job/", says=failed)
    done = deploy(deploying)
    assert done.returncode == 1
    assert "a job of touchstone-staging does not run by the image of evaluate: Failed" in done.stderr
    assert "the smoke test of the jobs failed; putting back" in done.stderr
    put_back(deploying)
    assert deploying.called("touchstone channel evaluate") == []


def test_a_deploy_that_is_cancelled_between_two_jobs_puts_them_and_the_servers_back(deploying: Commands) -> None:
    stub = deploying.bin / "kubectl"
    stub.write_text(stub.read_text().replace("call=", 'case "$*" in *"*=' + HARNESS + '"*) kill -KILL "$PPID" ;; esac\ncall=', 1))
    assert deploy(deploying).returncode == -9
    assert cleared_up(deploying).returncode == 1
    put_back(deploying)


def test_an_image_that_cannot_be_put_back_needs_somebody(deploying: Commands) -> None:
    deploying.does("touchstone channel evaluate", code=1)
    deploying.does(f"kubectl --namespace touchstone-staging set image cronjob/ingest *={OLD_JOBS['ingest']}", code=1)
    done = deploy(deploying)
    assert done.returncode == 4
    assert "needs somebody now" in done.stderr
    put_back(deploying)  # the others are


def test_the_smoke_test_of_jobs_starts_what_is_no_run_of_a_cronjob_and_changes_nothing(deploying: Commands) -> None:
    assert deploy(deploying).returncode == 0
    made = json.loads(deploying.given)
    assert "ownerReferences" not in made["metadata"]
    assert made["spec"]["backoffLimit"] == 0
    [container] = made["spec"]["template"]["spec"]["containers"]
    assert container == {"command": ["touchstone", "channel", "show", "$(TOUCHSTONE_CHANNEL)", "--json"]}
    [deleted] = deploying.called("kubectl --namespace touchstone-staging delete job/smoke-evaluate-")
    assert deleted.endswith(" --wait=false")


def test_the_smoke_test_of_jobs_gives_a_command_that_there_is() -> None:
    [words] = re.findall(r"\.command = (\[.*?\]) ", (SCRIPTS / "smoke_job.sh").read_text())
    assert command_mistake(json.loads(words.replace("$(TOUCHSTONE_CHANNEL)", "dev"))) == ""


def test_one_image_alone_leaves_the_other_as_it_is(deploying: Commands) -> None:
    deploying.does("curl --silent --max-time 10", says=ready("old"))
    done = deploy(deploying, image="", release="")
    assert done.returncode == 0, done.stderr
    assert deploying.called("kubectl --namespace touchstone-staging set image deployment") == []
    assert f"by {OLD_IMAGE}; its jobs run {HARNESS}" in done.stdout
    (deploying.folder / "calls").unlink()
    assert deploy(deploying, harness="", release="").returncode == 0
    assert deploying.called("kubectl --namespace touchstone-staging set image") == [
        f"kubectl --namespace touchstone-staging set image deployment/touchstone-api *={IMAGE}"
    ]
    assert deploying.called("kubectl --namespace touchstone-staging create") == []
    assert len(deploying.called("cosign verify")) == 1


def test_a_channel_without_jobs_takes_no_image_for_them(deploying: Commands) -> None:
    deploying.does("kubectl --namespace touchstone-staging get cronjobs", says=cronjobs({}))
    done = deploy(deploying)
    assert done.returncode == 1
    assert "touchstone-staging has no CronJob" in done.stderr
    assert deploying.called("touchstone promote") == deploying.called("kubectl --namespace touchstone-staging set") == []
    assert deploy(deploying, harness="").returncode == 0


@pytest.mark.parametrize(
    ("fails", "code", "words"),
    [
        ("touchstone gate", 1, "new does not pass the gate; staging goes on with old"),
        ("touchstone gate", 3, "new could not be held against the gate (exit code 3); staging goes on with old"),
        ("touchstone champion set", 3, "what staging serves could not be evaluated"),
    ],
)
def test_a_release_that_does_not_hold_against_what_is_served_stops_before_anything_is_touched(
    deploying: Commands, fails: str, code: int, words: str
) -> None:
    deploying.does(fails, code=code)
    done = deploy(deploying)
    assert done.returncode == 1
    assert words in done.stderr
    assert deploying.called("touchstone promote") == deploying.called("kubectl --namespace touchstone-staging set") == []
    assert cleared_up(deploying).returncode == 0


def test_a_release_that_is_not_proven_stops_before_anything_is_touched(deploying: Commands) -> None:
    deploying.does("touchstone promote", code=1, says="no gate has passed it")
    deploying.does("touchstone channel show", says={"stable": "old"})
    done = deploy(deploying)
    assert done.returncode == 1
    assert "new does not go to staging, which goes on with old" in done.stderr
    assert deploying.called("kubectl --namespace touchstone-staging set") == deploying.called("touchstone release") == []


def test_prod_is_approved_in_the_name_of_whoever_approved(deploying: Commands) -> None:
    assert deploy(deploying, "prod").returncode == 0
    [approval] = deploying.called("touchstone channel approve")
    assert approval == "touchstone channel approve prod new --why approved by ann in run 7"
    [promotion] = deploying.called("touchstone promote")
    assert promotion == "touchstone promote new --channel prod --decision reports/gates/deploy/decision.json"
    assert deploying.calls.index(approval) < deploying.calls.index(promotion)


@pytest.mark.parametrize(
    "approvals",
    [
        [],
        [{"state": "rejected", "user": {"login": "ann"}, "environments": [{"name": "prod"}]}],
        [{"state": "approved", "user": {"login": "ann"}, "environments": [{"name": "staging"}]}],
    ],
)
def test_without_an_approval_nothing_goes_to_prod(deploying: Commands, approvals: Sequence[object]) -> None:
    deploying.does("gh", says=approvals)
    done = deploy(deploying, "prod")
    assert done.returncode == 1
    assert "nobody has approved this run for prod" in done.stderr
    assert deploying.called("touchstone promote") == deploying.called("touchstone channel approve") == []
    assert deploying.called("kubectl --namespace touchstone-prod set") == []


def test_an_image_that_is_not_signed_is_not_deployed(deploying: Commands) -> None:
    deploying.does("cosign verify", code=1)
    done = deploy(deploying)
    assert done.returncode == 1
    assert f"bears no signature of ^x$, so it is not deployed\ndeploy: staging goes on with {OLD_IMAGE}" in done.stderr
    assert deploying.called("touchstone promote") == []


def test_an_image_of_the_jobs_that_is_not_signed_is_not_deployed(deploying: Commands) -> None:
    stub = deploying.bin / "cosign"
    stub.write_text(stub.read_text().replace("call=", f'case "$*" in "verify "*{HARNESS}) exit 1 ;; esac\ncall=', 1))
    done = deploy(deploying)
    assert done.returncode == 1
    assert f"{HARNESS} bears no signature" in done.stderr
    assert deploying.called("touchstone promote") == deploying.called("kubectl --namespace touchstone-staging set") == []


def test_an_image_by_its_tag_and_an_unknown_channel_are_refused(deploying: Commands) -> None:
    assert "touchstone-serving:latest is not named by its digest" in deploy(deploying, image="touchstone-serving:latest").stderr
    assert "touchstone-harness:0.1.0 is not named by its digest" in deploy(deploying, harness="touchstone-harness:0.1.0").stderr
    assert "neither an image nor a release is named" in deploy(deploying, image="", harness="", release="").stderr
    assert "no channel 'prd'; known: dev, staging, prod" in deploy(deploying, "prd").stderr
    assert "'--force' is no release's digest" in deploy(deploying, release="--force").stderr
    assert deploying.called("kubectl") == []


def test_a_channel_that_sleeps_is_left_as_it_is(deploying: Commands) -> None:
    deploying.does("kubectl --namespace touchstone-staging get deployment/touchstone-api --output jsonpath={.spec.replicas}", says="0")
    done = deploy(deploying)
    assert done.returncode == 1
    assert "staging sleeps" in done.stderr
    assert deploying.called("touchstone promote") == deploying.called("kubectl --namespace touchstone-staging set") == []


def test_a_store_of_releases_that_is_out_stops_the_deploy(deploying: Commands) -> None:
    deploying.does("touchstone channel show", code=3, says="the bucket does not answer")
    done = deploy(deploying)
    assert done.returncode == 1
    assert "nobody knows what staging serves: the bucket does not answer" in done.stderr
    assert deploying.called("kubectl --namespace touchstone-staging set") == []


def test_the_first_deploy_of_a_channel_has_nothing_to_go_back_to(deploying: Commands) -> None:
    deploying.does("touchstone channel show", code=2, says="Channel 'staging' points at nothing yet. Run: …")
    deploying.does("touchstone channel show", says={"stable": "new"}, after="touchstone promote")
    deploying.does("touchstone channel evaluate", code=1)
    done = deploy(deploying)
    assert done.returncode == 1
    assert deploying.called("touchstone release rollback") == []
    assert "the images are as they were; staging had no release before, and keeps new" in done.stderr


def test_an_image_alone_is_no_first_deploy(deploying: Commands) -> None:
    deploying.does("touchstone channel show", code=2, says="Channel 'prod' points at nothing yet. Run: …")
    done = deploy(deploying, "prod", release="")
    assert done.returncode == 1
    assert "prod serves no release yet: name one to promote along with the image" in done.stderr
    assert deploying.called("kubectl") == deploying.called("gh") == []


FINDINGS = {
    "imageScanStatus": {"status": "COMPLETE"},
    "imageScanFindings": {"findings": [{"name": "CVE-1", "severity": "HIGH"}, {"name": "CVE-2", "severity": "LOW"}]},
}


@pytest.mark.parametrize(
    ("found", "allowed", "code", "words"),
    [
        (FINDINGS, "", 1, "HIGH CVE-1"),
        (FINDINGS, "CVE-1", 0, "nothing critical or high"),
        ({"imageScanStatus": {"status": "FAILED"}}, "", 3, "could not scan"),
        ({"imageScanStatus": {"status": "IN_PROGRESS"}}, "", 3, "has not scanned"),
        (
            {
                "imageScanStatus": {"status": "ACTIVE"},
                "imageScanFindings": {
                    "enhancedFindings": [{"severity": "CRITICAL", "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-9"}}]
                },
            },
            "",
            1,
            "CRITICAL CVE-9",
        ),
    ],
)
def test_an_image_is_held_against_what_ecr_found(commands: Commands, found: object, allowed: str, code: int, words: str) -> None:
    commands.does("aws", says=found)
    done = commands.run("scan.sh", IMAGE, ALLOWED=allowed)
    assert done.returncode == code
    assert words in done.stdout + done.stderr
    assert "CVE-2" not in done.stderr


def test_a_scan_that_cannot_be_asked_is_no_pass(commands: Commands) -> None:
    commands.does("aws", code=254, says="ScanNotFoundException")
    done = commands.run("scan.sh", IMAGE)
    assert done.returncode == 3
    assert "ScanNotFoundException" in done.stderr


def test_a_build_tells_the_digest_and_nothing_else(commands: Commands) -> None:
    commands.does("docker", says="noise")
    commands.does("docker inspect", says=f"other/x@sha256:{'c' * 64}\nreg/name@sha256:{'d' * 64}\n")
    done = commands.run("build.sh", "reg/name", "abc")
    assert (done.returncode, done.stdout) == (0, f"reg/name@sha256:{'d' * 64}\n")
    assert commands.called("docker push --quiet reg/name:abc")
    built = commands.called("docker build")[0]
    assert (
        f"/infra/docker/serving.Dockerfile --tag reg/name:abc --build-arg VERSION={VERSION} --build-arg COMMIT=abc " in built
    )  # /version and labels tell both
    commands.run("build.sh", "reg/name", "abc", RECIPE="harness")
    assert "/infra/docker/harness.Dockerfile " in commands.called("docker build")[-1]
    commands.does("docker inspect", says="")
    assert commands.run("build.sh", "reg/name", "abc").returncode != 0


def test_a_build_for_a_pull_request_pushes_nothing(commands: Commands) -> None:
    commands.does("docker")
    assert commands.run("build.sh", "reg/name", "abc", PUSH="no").returncode == 0
    assert commands.called("docker push") == []


VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
BASE = "python@sha256:" + "f" * 64


@pytest.fixture
def building(commands: Commands, tmp_path: Path) -> Commands:
    """A checkout whose image is not in ECR yet."""
    root = tmp_path / "root"
    shutil.copytree(ROOT / "infra" / "docker", root / "infra" / "docker")
    for name in ("pyproject.toml", "uv.lock", "serving/a.py", "harness/a.py", "datasets/a.txt", ".dockerignore"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text('version = "1.2.3"\n')
    commit(root)
    commands.does("docker")
    commands.does("docker inspect --format {{index", says=BASE)
    commands.does("docker inspect --format {{range", says=f"1.ecr/name@sha256:{'d' * 64}\n")
    commands.does("aws ecr describe-images", code=254, says="An error occurred (ImageNotFoundException)")
    commands.does("cosign")
    return commands


def commit(root: Path) -> None:
    mail = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false", "-c", "core.hooksPath=/nowhere"]
    for words in (["init", "--quiet"], ["add", "--all"], [*mail, "commit", "--quiet", "--message", "x"]):
        subprocess.run(["git", *words], cwd=root, check=True)


def build(commands: Commands, recipe: str = "serving", **more: str) -> "subprocess.CompletedProcess[str]":
    own = {"ROOT": str(commands.folder / "root"), "RECIPE": recipe, "IDENTITY": "^x$", "COMMIT": "abc"}
    return commands.run("build.sh", "1.ecr/name", **{**own, **more})


def tags(commands: Commands) -> list[str]:
    """The names that images were built by."""
    return re.findall(r"docker build .*--tag 1\.ecr/name:(\S+)", "\n".join(commands.calls))


def test_an_image_is_named_by_what_it_is_made_of(building: Commands) -> None:
    root = building.folder / "root"
    done = build(building)
    assert (done.returncode, done.stdout) == (0, f"1.ecr/name@sha256:{'d' * 64}\n")
    [first] = tags(building)
    assert re.fullmatch(r"made-[0-9a-f]{40}", first)
    assert building.called("aws")[0].startswith(f"aws ecr describe-images --repository-name name --image-ids imageTag={first} ")
    assert f" --build-arg BASE={BASE} --build-arg VERSION=1.2.3 --build-arg COMMIT=abc " in building.called("docker build")[0]
    (root / "datasets/a.txt").write_text("2")  # which the image of the API does not take
    commit(root)
    build(building)
    build(building, "harness")
    (root / "serving/a.py").write_text("2")
    commit(root)
    build(building)
    building.does("docker inspect --format {{index", says=BASE.replace("f", "a"))
    build(building)
    _, same, other, code, base = tags(building)
    assert same == first
    assert len({first, other, code, base}) == 4


def test_an_image_that_is_there_and_signed_is_not_built_again(building: Commands) -> None:
    building.does("aws ecr describe-images", says=f"sha256:{'c' * 64}")
    done = build(building)
    assert (done.returncode, done.stdout) == (0, f"1.ecr/name@sha256:{'c' * 64}\n")
    assert building.called("docker build") == building.called("docker push") == []
    assert building.called("cosign verify")[0].endswith(f"1.ecr/name@sha256:{'c' * 64}")


def test_an_image_that_is_there_and_not_signed_is_built_under_another_name(building: Commands) -> None:
    building.does("aws ecr describe-images", says=f"sha256:{'c' * 64}")
    building.does("cosign verify", code=1)
    done = build(building, GITHUB_RUN_ID="7", GITHUB_RUN_ATTEMPT="2")
    assert (done.returncode, done.stdout) == (0, f"1.ecr/name@sha256:{'d' * 64}\n")
    assert tags(building)[0].endswith("-7-2")


def test_a_registry_that_cannot_be_asked_ends_the_build(building: Commands) -> None:
    building.does("aws ecr describe-images", code=254, says="ExpiredTokenException")
    done = build(building)
    assert (done.returncode, building.called("docker build")) == (3, [])
    assert "ExpiredTokenException" in done.stderr


def test_what_is_not_committed_is_not_named_by_the_commit(building: Commands) -> None:
    (building.folder / "root/serving/new.py").write_text("")
    done = build(building)
    assert (done.returncode, building.called("docker build")) == (2, [])
    assert "commit it, or name a tag" in done.stderr


def test_one_uv_makes_images_and_environments_and_no_newer_one_comes_by_itself() -> None:
    files = [ROOT / "Makefile", *(ROOT / "infra/docker").glob("*.Dockerfile")]
    versions = {found for file in files for found in re.findall(r"(?:\buv==|^ARG UV=)([\w.]+)", file.read_text(), re.MULTILINE)}
    assert len(versions) == 1
    assert all(re.search(r"\buv==", file.read_text()) for file in files)


def test_an_image_is_signed_after_what_it_is_made_of_is_attested(commands: Commands) -> None:
    commands.does("cosign")
    commands.does("uv")
    assert commands.run("sign.sh", IMAGE).returncode == 0
    assert [call.split()[:2] for call in commands.calls] == [["uv", "export"], ["cosign", "attest"], ["cosign", "sign"]]
    assert commands.run("sign.sh", "name:latest").returncode == 2
    commands.does("cosign verify", code=1)
    assert commands.run("sign.sh", IMAGE, IDENTITY="^x$").returncode == 0
    assert commands.calls[-1] == f"cosign sign --yes {IMAGE}"


def test_an_image_is_signed_once(commands: Commands) -> None:
    commands.does("cosign")
    commands.does("uv")
    done = commands.run("sign.sh", IMAGE, IDENTITY="^x$")
    assert (done.returncode, done.stdout) == (0, f"sign: {IMAGE} is signed already\n")
    assert commands.called("cosign attest") == commands.called("cosign sign") == []
    assert commands.called("uv export")  # the list goes with the run


@pytest.mark.parametrize(
    ("recipe", "there", "not_there"),
    [
        ("serving", {"--group models", "--extra serve", "--extra mcp", "--extra pii"}, {"--extra ray", "--group cluster"}),
        (
            "harness",
            {"--group models", "--group cluster", "--extra harness", "--extra ray", "--extra pii"},
            {"--extra serve", "--extra mcp"},
        ),
    ],
)
def test_what_is_attested_is_what_the_dockerfile_installs(commands: Commands, recipe: str, there: set[str], not_there: set[str]) -> None:
    commands.does("cosign")
    commands.does("uv")
    assert commands.run("sign.sh", IMAGE, RECIPE=recipe).returncode == 0
    [call] = commands.called("uv export")
    parts = set(re.findall(r"--(?:group|extra) \S+", call))
    assert there <= parts
    assert not not_there & parts
    assert "--no-default-groups" in call


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    (tmp_path / "root" / "datasets" / "corpora" / "techcorp").mkdir(parents=True)
    (tmp_path / "root" / "infra" / "terraform" / "cluster").mkdir(parents=True)
    return tmp_path / "root"


def bring(commands: Commands, repository: Path, corpus: str = "techcorp") -> "subprocess.CompletedProcess[str]":
    return commands.run("data.sh", "dev", corpus, "c.yaml", ROOT=str(repository), DOCUMENTS_BUCKET="docs")


def test_documents_go_to_s3_into_an_index_through_two_gates_and_to_the_channel(commands: Commands, repository: Path) -> None:
    commands.does("touchstone")
    commands.does("touchstone channel show", says={"stable": "old"})
    commands.does("aws")
    assert bring(commands, repository).returncode == 0
    assert commands.called("touchstone champion") == [
        f"touchstone champion set {repository}/experiments/gates/promotion.yaml --release old"
    ]
    assert [" ".join(call.split()[:3]) for call in commands.calls] == [
        "aws s3 sync",
        "touchstone index --config",
        "touchstone index --config",
        f"touchstone gate {repository}/infra/pipelines/retrieval-gate.yaml",
        "touchstone channel show",
        "touchstone champion set",
        f"touchstone gate {repository}/experiments/gates/promotion.yaml",
        "touchstone promote c.yaml",
    ]


@pytest.mark.parametrize(
    ("failing", "code", "ends", "words"),
    [
        ("aws s3", 1, 3, "the documents could not be brought to s3://docs; dev goes on as before"),
        ("touchstone index", 3, 3, "the index could not be built; dev goes on as before"),
        ("touchstone gate {root}/infra", 1, 1, "retrieval is worse than the golden set asks for; dev goes on as before"),
        ("touchstone gate {root}/infra", 3, 3, "the gate retrieval-gate could not be judged (exit code 3); dev goes on as before"),
        ("touchstone channel show", 3, 3, "what it serves could not be evaluated, to be compared with; dev goes on as before"),
        ("touchstone champion", 3, 3, "what it serves could not be evaluated, to be compared with; dev goes on as before"),
        ("touchstone gate {root}/experiments", 1, 1, "the gate of promotion does not hold"),
        ("touchstone gate {root}/experiments", 3, 3, "the gate promotion could not be judged (exit code 3); dev goes on as before"),
    ],
)
def test_a_check_that_does_not_hold_promotes_nothing(
    commands: Commands, repository: Path, failing: str, code: int, ends: int, words: str
) -> None:
    commands.does("touchstone")
    commands.does("touchstone channel show", says={"stable": "old"})
    commands.does("aws")
    commands.does(failing.format(root=repository), code=code)
    done = bring(commands, repository)
    assert done.returncode == ends
    assert words in done.stderr
    assert commands.called("touchstone promote") == []


def test_a_channel_that_serves_nothing_yet_has_nothing_to_compare_with(commands: Commands, repository: Path) -> None:
    commands.does("touchstone")
    commands.does("touchstone channel show", code=2, says="Channel 'dev' points at nothing yet. Run: …")
    commands.does("aws")
    assert bring(commands, repository).returncode == 0
    assert commands.called("touchstone champion") == []


def test_a_corpus_that_is_not_there_is_said(commands: Commands, repository: Path) -> None:
    commands.does("aws")
    done = bring(commands, repository, "nope")
    assert (done.returncode, commands.calls) == (2, [])
    assert "no corpus 'nope' below datasets/corpora" in done.stderr


@pytest.mark.parametrize("corpus", ["../../infra", ".", "--engine", "a/b", "a b"])
def test_a_corpus_is_one_folder_and_no_path_out_of_it(commands: Commands, repository: Path, corpus: str) -> None:
    commands.does("touchstone")
    commands.does("aws")
    done = bring(commands, repository, corpus)
    assert (done.returncode, commands.calls) == (2, [])
    assert f"'{corpus}' is no folder below datasets/corpora" in done.stderr


def test_a_push_brings_the_corpus_that_it_changed() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/data.yml").read_text())
    triggers = workflow[True]
    [step] = [step for step in workflow["jobs"]["dev"]["steps"] if "CORPUS" in step.get("env", {})]
    corpus = triggers["workflow_dispatch"]["inputs"]["corpus"]["default"]
    assert triggers["push"]["paths"] == [f"datasets/corpora/{corpus}/**"]
    assert step["env"]["CORPUS"] == f"${{{{ inputs.corpus || '{corpus}' }}}}"


def test_the_gate_of_retrieval_is_a_gate() -> None:
    from harness.gate.gate import load_gate

    assert load_gate(SCRIPTS / "retrieval-gate.yaml").split == "tune"


@pytest.mark.parametrize(("code", "words", "ends"), [(0, "nothing changes", 0), (2, "Plan: 1 to add", 0), (1, "", 3)])
def test_a_plan_is_shown_and_locks_nothing(commands: Commands, repository: Path, code: int, words: str, ends: int) -> None:
    folder = repository / "infra" / "terraform" / "cluster"
    commands.does("terraform")
    (commands.bin / "terraform").write_text(
        '#!/bin/bash\necho "terraform $*" >> "$CALLS"\n'
        f'case "$*" in *" plan "*) echo "Plan: 1 to add"; echo "~~~~~~ x"; exit {code} ;; esac\n'
    )
    done = commands.run("plan.sh", "cluster", ROOT=str(repository))
    assert done.returncode == ends
    assert words in done.stdout
    [plan] = [call for call in commands.calls if " plan " in call]
    assert "-lock=false" in plan and f"-chdir={folder}" in plan
    assert "~~~~~~ x" not in done.stdout


def applying(commands: Commands, repository: Path, kind: str, **more: str) -> "subprocess.CompletedProcess[str]":
    changes = {"resource_changes": [{"type": kind, "address": f"{kind}.x", "change": {"actions": ["delete", "create"]}}]}
    commands.does(f"terraform -chdir={repository}/infra/terraform/cluster")
    commands.does(f"terraform -chdir={repository}/infra/terraform/cluster show", says=changes)
    return commands.run("apply.sh", "cluster", ROOT=str(repository), **more)


def test_a_plan_that_destroys_data_is_not_applied_unless_that_is_meant(commands: Commands, repository: Path) -> None:
    done = applying(commands, repository, "aws_db_instance")
    assert done.returncode == 1
    assert "destroys aws_db_instance.x" in done.stderr
    assert not [call for call in commands.calls if " apply " in call]
    assert applying(commands, repository, "aws_db_instance", DESTROY="true").returncode == 0
    assert [call for call in commands.calls if " apply " in call]


def test_a_plan_that_destroys_no_data_is_applied(commands: Commands, repository: Path) -> None:
    assert applying(commands, repository, "aws_security_group").returncode == 0


def test_where_the_cluster_is_paused_nothing_is_applied(commands: Commands, repository: Path) -> None:
    changes = {"resource_changes": [{"type": "aws_eks_cluster", "address": "aws_eks_cluster.this", "change": {"actions": ["create"]}}]}
    commands.does(f"terraform -chdir={repository}/infra/terraform/cluster")
    commands.does(f"terraform -chdir={repository}/infra/terraform/cluster show", says=changes)
    done = commands.run("apply.sh", "cluster", ROOT=str(repository))
    assert done.returncode == 0
    assert "make resume brings it, with this change" in done.stdout
    assert not [call for call in commands.calls if " apply " in call]


@pytest.mark.parametrize(
    ("what", "more", "hold", "made"),
    [
        ("pause", {"OFF_HOURS": "true"}, False, ["pause"]),
        ("pause", {"OFF_HOURS": "true"}, True, []),
        ("resume", {"OFF_HOURS": "true"}, True, ["resume"]),
        ("pause", {}, False, []),
        ("pause", {"BY_HAND": "true"}, True, ["pause"]),
    ],
)
def test_the_cluster_is_paused_where_that_is_wished(
    commands: Commands, repository: Path, what: str, more: dict[str, str], hold: bool, made: list[str]
) -> None:
    commands.does("make")
    if hold:
        (repository / "HOLD").touch()
    assert commands.run("off_hours.sh", what, ROOT=str(repository), **more).returncode == 0
    assert [call.split()[-1] for call in commands.calls] == made
    assert commands.run("off_hours.sh", "stop", ROOT=str(repository)).returncode == 2


NIGHT = {"OFF_HOURS": "true", "GITHUB_REPOSITORY": "o/r"}


@pytest.mark.parametrize(("deploys", "code", "made"), [(0, 0, ["pause"]), (1, 1, [])])
def test_a_deploy_that_is_under_way_keeps_the_cluster_up(
    commands: Commands, repository: Path, deploys: int, code: int, made: list[str]
) -> None:
    commands.does("make")
    commands.does("gh", says={"total_count": deploys})
    done = commands.run("off_hours.sh", "pause", ROOT=str(repository), **NIGHT)
    assert done.returncode == code
    assert [call.split()[-1] for call in commands.called("make")] == made
    assert ("the cluster stays up" in done.stderr) == bool(deploys)
    assert len(commands.called("gh")) == (3 if deploys else 1)  # it is asked for again before it is given up


def test_a_pause_that_cannot_ask_for_deploys_does_nothing(commands: Commands, repository: Path) -> None:
    commands.does("make")
    commands.does("gh", code=1)
    assert commands.run("off_hours.sh", "pause", ROOT=str(repository), **NIGHT).returncode != 0
    assert commands.called("make") == []
    assert commands.run("off_hours.sh", "resume", ROOT=str(repository), **NIGHT).returncode == 0


@pytest.mark.parametrize(
    ("show", "evaluated", "code", "words"),
    [
        (0, 0, 0, "r1 is as good as when it was promoted"),
        (0, 1, 1, "r1 is worse than when it was promoted"),
        (0, 3, 3, "could not be evaluated (exit code 3)"),
        (2, 0, 0, "serves nothing yet"),
        (3, 0, 3, ""),
    ],
)
def test_what_is_served_is_evaluated_again_every_night(commands: Commands, show: int, evaluated: int, code: int, words: str) -> None:
    commands.does("touchstone channel evaluate", code=evaluated)
    said = {0: {"stable": "r1"}, 2: "Channel 'prod' points at nothing yet. Run: …", 3: "the bucket does not answer"}[show]
    commands.does("touchstone channel show", says=said, code=show)
    summary = commands.folder / "summary.md"
    done = commands.run("nightly.sh", "prod", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == code
    assert words in (summary.read_text() if summary.exists() else "")


def test_a_command_is_told_what_the_application_is_told_but_for_mlflow(commands: Commands, repository: Path) -> None:
    for place, text in {
        "base/settings.env": "# made\nTOUCHSTONE_RELEASES=s3://b/r\nTOUCHSTONE_MLFLOW_URI=http://m\nPATH=/evil\n",
        "overlays/prod/channel.env": "TOUCHSTONE_CHANNEL=prod",
    }.items():
        (repository / "infra/kubernetes" / place).parent.mkdir(parents=True, exist_ok=True)
        (repository / "infra/kubernetes" / place).write_text(text)
    done = commands.run("settings.sh", "prod", "env", ROOT=str(repository))
    told = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
    assert (told["TOUCHSTONE_RELEASES"], told["TOUCHSTONE_CHANNEL"]) == ("s3://b/r", "prod")
    assert "TOUCHSTONE_MLFLOW_URI" not in told
    assert told["PATH"].startswith(f"{repository}/.venv/bin:")
    missing = commands.run("settings.sh", "staging", "env", ROOT=str(repository))
    assert missing.returncode == 2
    assert "Run: make infra-names" in missing.stderr


def test_workflows_ask_for_an_identity_token_only_where_a_role_is_taken() -> None:
    for path in Pipelines().workflows:
        for name, job in yaml.safe_load(path.read_text())["jobs"].items():
            takes_role = "configure-aws-credentials" in json.dumps(job) or "deploy-channel.yml" in job.get("uses", "")
            assert (job["permissions"].get("id-token") == "write") == takes_role, f"{path.name}: {name}"


def jobs_of(name: str) -> dict[str, Any]:
    return dict(yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())["jobs"])


def test_a_deploy_ends_with_a_step_that_puts_back_also_when_it_is_cancelled_and_in_the_time_that_is_left_then() -> None:
    *_, last = jobs_of("deploy-channel.yml")["deploy"]["steps"]
    assert last["if"] == "always()"
    assert "put_back.sh" in last["run"]
    assert int(last["env"]["PATIENCE"].removesuffix("s")) < 240  # five minutes for all that is left of a cancelled run


def test_both_images_go_to_every_channel_or_none_does() -> None:
    jobs = jobs_of("deploy.yml")
    for channel in ("dev", "staging", "prod"):
        given = jobs[channel]["with"]
        assert given["image"] == "${{ inputs.image || needs.images.outputs.serving || '' }}"
        assert given["harness"] == "${{ inputs.harness || needs.images.outputs.harness || '' }}"
    assert set(jobs["images"]["outputs"]) == {"serving", "harness"}
    for name in jobs["images"]["outputs"]:  # an image that got lost is no image that stays as it is
        assert f"needs.images.outputs.{name} != ''" in jobs["dev"]["if"]


def test_nothing_that_waits_for_an_approval_holds_up_who_changes_the_cluster() -> None:
    jobs = jobs_of("infra.yml")
    groups = {name: job["concurrency"]["group"] for name, job in jobs.items()}
    assert groups["apply"] == groups["hours"]
    assert groups["approval"] not in (groups["apply"], groups["plan"])
    assert "concurrency" not in yaml.safe_load((ROOT / ".github/workflows/infra.yml").read_text())


def test_the_cluster_layer_is_changed_after_an_approval_and_a_channel_after_the_one_before_it() -> None:
    jobs = jobs_of("infra.yml")
    assert (jobs["apply"]["needs"], jobs["approval"]["environment"]) == ("approval", "infra-approval")
    assert "if" not in jobs["apply"]  # which could begin it although the approval was refused
    jobs = jobs_of("deploy.yml")
    for channel, before in (("staging", "dev"), ("prod", "staging")):
        assert before in jobs[channel]["needs"]
        assert jobs[channel]["if"] == f"${{{{ !cancelled() && needs.{before}.result == 'success' }}}}"


def test_documents_and_deploys_do_not_meet_on_a_channel() -> None:
    deploys = jobs_of("deploy-channel.yml")["deploy"]["concurrency"]["group"]
    for channel, job in jobs_of("data.yml").items():
        assert job["concurrency"] == {"group": deploys.replace("${{ inputs.channel }}", channel), "cancel-in-progress": False}
