"""IAM: every policy that Terraform renders read by parliament, and iam-matrix.yaml: what each role may and may not do."""

import argparse
import fcntl
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from outcome import CheckFailed, CheckSkipped
from policy_decision import Request, UnknownPolicy, allowed, trusted
from stand_in import ROOT, WorkingCopy, working_copy

SKIPPED = 77
MATRIX = Path(__file__).with_name("iam-matrix.yaml")
PARLIAMENT = ("--from", "parliament==1.6.4", "--with", "setuptools<81")  # it asks for pkg_resources, which newer ones lack
SIMULATE = "@cloud-copilot/iam-simulate@0.1.173"
FINDINGS = {  # of parliament that are meant; everything else fails the check
    "RESOURCE_STAR": "actions that know no narrower resource: Describe* and ecr:GetAuthorizationToken",
    "UNKNOWN_ACTION": "parliament's list of actions is older than AWS's; the matrix is asked of iam-simulate too, which knows them",
}
MOST_POLICY, MOST_TRUST = 10_240, 2_048  # letters that AWS takes of a role: of its own policies together, and of who may take it on
DETAIL = 200  # letters of a finding of parliament's: with `s3:*` it names every action of S3
NO_NARROWER = ("GetAuthorizationToken", "GetResources", "CreateCluster", "Rerank")  # actions for which AWS takes no resource but *
SEVERAL_KINDS = {  # actions about several kinds of resources at once, each of which a statement of its own allows
    "bedrock:GetInferenceProfile", "bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream",
    "ec2:AuthorizeSecurityGroupEgress", "ec2:AuthorizeSecurityGroupIngress", "ec2:CreateNatGateway", "ec2:CreateSecurityGroup",
    "elasticache:CreateReplicationGroup", "rds:CreateDBInstance", "rds:ModifyDBInstance", "rds:RestoreDBInstanceFromDBSnapshot",
}  # fmt: skip
MAY_BE_UNKNOWN = ("bedrock:", "eks:", "ecr:")  # services whose newer actions parliament's list lacks


@dataclass
class Role:
    """A role as rendered."""

    trust: str
    policies: list[str] = field(default_factory=list)
    managed: set[str] = field(default_factory=set)


def rendered_roles(place: WorkingCopy) -> tuple[dict[str, Role], dict[str, str]]:
    """Every role of the persistent layer by its name, after an apply on the stand-in, and ARNs that AWS would make up."""
    if place.calls_aws:
        raise CheckSkipped(
            "policies are rendered by an apply, which the real provider would make; it needs the folder that TERRAFORM_OFFLINE names"
        )
    place.init("persistent")
    place.run("persistent", "apply", "-auto-approve", "-input=false", "-no-color")
    resources = place.resources("persistent")
    names = json.loads((place.terraform / "persistent" / "names.auto.tfvars.json").read_text(encoding="utf-8"))["names"]
    where = f"{names['region']}:{names['account']}"
    arns = {
        "key": f"arn:aws:kms:{where}:key/11111111-2222-3333-4444-555555555555",
        "guardrail": f"arn:aws:bedrock:{where}:guardrail/abcdefgh1234",
    }
    [key] = [one["values"]["arn"] for one in resources if one["type"] == "aws_kms_key"]
    [guardrail] = [one["values"]["guardrail_id"] for one in resources if one["type"] == "aws_bedrock_guardrail"]

    def real(policy: str) -> str:
        return policy.replace(key, arns["key"]).replace(f"guardrail/{guardrail}", "guardrail/abcdefgh1234")

    roles = {one["values"]["name"]: Role(one["values"]["assume_role_policy"]) for one in resources if one["type"] == "aws_iam_role"}
    for one in resources:
        values = one["values"]
        if one["type"] == "aws_iam_role_policy":
            roles[values["role"]].policies.append(real(values["policy"]))
        elif one["type"] == "aws_iam_role_policy_attachment":
            roles[values["role"]].managed.add(values["policy_arn"])
    return roles, arns


def check_breadth(roles: Mapping[str, Role]) -> list[str]:
    """No action of a role is `*` or a whole service, and a resource `*` stands only with actions that look."""
    found = []
    for name, role in roles.items():
        for policy in role.policies:
            for statement in json.loads(policy)["Statement"]:
                if statement["Effect"] == "Deny":
                    continue
                actions = statement.get("Action", "*")
                actions = actions if isinstance(actions, list) else [actions]
                found += [f"{name}: {action} is too broad" for action in actions if "*" in action]
                resources = statement.get("Resource", "*")
                if "*" in (resources if isinstance(resources, list) else [resources]):
                    verbs = [action.partition(":")[2] for action in actions]
                    looks = all(verb.startswith(("Describe", "List")) or verb in NO_NARROWER for verb in verbs)
                    found += [] if looks else [f"{name}: {statement.get('Sid')} is about every resource"]
    return found


def check_sizes(roles: Mapping[str, Role]) -> list[str]:
    """No role has more to it than AWS takes."""
    found = []
    for name, role in roles.items():
        for what, size, most in (("policies", sum(map(len, role.policies)), MOST_POLICY), ("trust", len(role.trust), MOST_TRUST)):
            found += [f"{name}: {what} of {size} letters, and AWS takes {most}"] if size > most else []
    return found


def read_matrix(names: Mapping[str, Any], arns: Mapping[str, str]) -> dict[str, Any]:
    """iam-matrix.yaml with every {entry} filled in."""
    host = "token.actions.githubusercontent.com"
    known = {**names, **arns, "github_host": host, "github_provider": f"arn:aws:iam::{names['account']}:oidc-provider/{host}"}
    return dict(filled(yaml.safe_load(MATRIX.read_text(encoding="utf-8")), known))


def check_matrix(roles: Mapping[str, Role], matrix: Mapping[str, Any], names: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """What does not hold, and every case for a second opinion."""
    found, cases = [], []
    defaults = matrix["defaults"]
    if missing := set(names["roles"]) - set(matrix["roles"]):
        found.append(f"iam-matrix.yaml has no cases of {', '.join(sorted(missing))}")
    for key, entry in matrix["roles"].items():
        role = roles.get(names["roles"][key])
        if role is None:
            found.append(f"{key}: Terraform makes no such role")
            continue
        if role.managed != set(entry["managed"]):
            found.append(f"{key}: has the policies {', '.join(sorted(role.managed)) or 'none'}, not those that `managed` lists")
        for word in ("may", "may_not"):
            for action, resource, *context in entry[word]:
                known = defaults | entry.get("as", {}) | (context[0] if context else {})
                answer = allowed(role.policies, Request(action, resource, known))
                cases.append(
                    {"role": key, "action": action, "resource": resource, "context": known, "policies": role.policies, "allowed": answer}
                )
                if answer != (word == "may"):
                    found.append(f"{key}: {action} on {resource} is {'allowed' if answer else 'not allowed'}")
    for word in ("may", "may_not"):
        for key, principal, action, context in matrix["trust"][word]:
            if trusted(roles[names["roles"][key]].trust, principal, action, defaults | context) != (word == "may"):
                found.append(f"{key}: {principal} {'cannot' if word == 'may' else 'can'} take it on with {context}")
    return found, cases


def check_github(roles: Mapping[str, Role], matrix: Mapping[str, Any], names: Mapping[str, Any]) -> list[str]:
    """Every role that a workflow takes on trusts one kind of token, word for word: that of an environment, or of pull requests."""
    host, found = "token.actions.githubusercontent.com", []
    for key, name in names["roles"].items():
        whose = matrix["github"].get(key)
        wanted = {"StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": [f"repo:{names['github']}:{whose}"]}}
        trusting = [one for one in json.loads(roles[name].trust)["Statement"] if host in json.dumps(one)] if name in roles else []
        if [one["Condition"] for one in trusting] != ([wanted] if whose else []):
            found.append(f"{key}: workflows take it on otherwise than by a token of {whose or 'none'}")
    return found


def second_opinion(cases: list[dict[str, Any]], account: str, home: Path) -> tuple[list[str], str]:
    """What iam-simulate says otherwise, and a line of what was asked of it."""
    if not shutil.which("npm") or not shutil.which("node"):
        return [], "second opinion left out: npm is not installed"
    folder = home / "tools" / "iam-simulate"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules" / "@cloud-copilot" / "iam-simulate").is_dir():
            command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--ignore-scripts", SIMULATE]
            try:
                subprocess.run(command, capture_output=True, check=True, timeout=180)
            except subprocess.SubprocessError:
                shutil.rmtree(folder / "node_modules", ignore_errors=True)
                return [], "second opinion left out: npm cannot fetch iam-simulate"
    simulations = [_simulation(case, account) for case in cases]
    command = ["node", str(Path(__file__).with_name("simulate.mjs")), str(folder)]
    done = subprocess.run(command, input=json.dumps(simulations), capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise CheckFailed(f"iam-simulate: {done.stderr.strip()[-500:]}")
    found = []
    for case, result in zip(cases, json.loads(done.stdout), strict=True):
        if "wrong" in result:
            found.append(f"{case['role']}: {case['action']} on {case['resource']}: {result['wrong']}")
        elif result["allowed"] != case["allowed"]:
            answer = "allowed" if result["allowed"] else "not allowed"
            found.append(f"{case['role']}: iam-simulate says that {case['action']} on {case['resource']} is {answer}")
    return found, f"iam-simulate agrees on {len(cases)} cases" if not found else ""


def _simulation(case: Mapping[str, Any], account: str) -> dict[str, Any]:
    simulation: dict[str, Any] = {
        "request": {
            "principal": f"arn:aws:iam::{account}:role/{case['role']}",
            "action": case["action"],
            "resource": {"resource": case["resource"], "accountId": account},
            "contextVariables": dict(case["context"]),
        },
        "identityPolicies": [{"name": str(number), "policy": json.loads(policy)} for number, policy in enumerate(case["policies"])],
        "serviceControlPolicies": [],
        "resourceControlPolicies": [],
    }
    if case["action"].startswith("kms:"):  # the key leaves it to the account's own policies
        statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": "kms:*", "Resource": "*"}
        simulation["resourcePolicy"] = {"Version": "2012-10-17", "Statement": [statement]}
    return simulation


def parliament(roles: Mapping[str, Role]) -> tuple[list[str], str]:
    """What parliament finds that is not meant, and a line of what it read."""
    uv = shutil.which("uv") or next((str(path) for path in [ROOT / ".touchstone" / "tools" / "bin" / "uv"] if path.is_file()), None)
    if uv is None:
        return [], "parliament left out: uv is not installed"
    with tempfile.TemporaryDirectory(prefix="policies-") as folder:
        for name, role in roles.items():
            for number, policy in enumerate(role.policies):
                (Path(folder) / f"{name}-{number}.json").write_text(re.sub(r"\$\{aws:[^}]+\}", "somebody", policy))  # it knows no variables
        command = [uv, "tool", "run", "--quiet", *PARLIAMENT, "parliament", "--directory", folder, "--json", "--minimum_severity", "LOW"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        except subprocess.TimeoutExpired:
            return [], "parliament left out: it was not fetched and run within ten minutes"
        number = len(list(Path(folder).iterdir()))
    if done.returncode and not done.stdout.strip():
        return [], f"parliament left out: it cannot be fetched or run ({(done.stderr.strip().splitlines() or ['?'])[-1]})"
    found = []
    for line in done.stdout.strip().splitlines():
        finding = json.loads(line)
        if not _meant(finding):
            policy = Path(finding["location"].get("filepath", "")).stem
            found.append(f"parliament: {policy}: {finding['issue']}: {str(finding['detail'] or finding['title'])[:DETAIL]}")
    return found, f"parliament read {number} policies"


def _meant(finding: Mapping[str, Any]) -> bool:
    if finding["issue"] == "UNKNOWN_ACTION":
        return str(finding["detail"]).startswith(MAY_BE_UNKNOWN)
    if finding["issue"] == "RESOURCE_MISMATCH":
        return {one["action"] for one in finding["detail"]} <= SEVERAL_KINDS
    return finding["issue"] in FINDINGS


def filled(value: Any, names: Mapping[str, Any]) -> Any:
    """Every {entry} filled in, that of keys too."""
    if isinstance(value, dict):
        return {filled(key, names): filled(inner, names) for key, inner in value.items()}
    if isinstance(value, list):
        return [filled(inner, names) for inner in value]
    return value.format_map(names) if isinstance(value, str) else value


def main() -> int:
    """Print what does not hold, or what was tried."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--terraform", type=Path, default=ROOT / "infra" / "terraform", help="another folder of layers")
    parser.add_argument("--quick", action="store_true", help="without parliament and the second opinion")
    chosen = parser.parse_args()
    try:
        with working_copy(chosen.terraform) as place:
            roles, arns = rendered_roles(place)
            names = json.loads((place.terraform / "persistent" / "names.auto.tfvars.json").read_text())["names"]
        matrix = read_matrix(names, arns)
        found, cases = check_matrix(roles, matrix, names)
        found += check_github(roles, matrix, names) + check_breadth(roles) + check_sizes(roles)
        said = [f"{len(cases)} cases of {len(roles)} roles, and {sum(map(len, matrix['trust'].values()))} of who takes them on"]
        if not chosen.quick:
            for more, line in (second_opinion(cases, names["account"], ROOT / ".touchstone"), parliament(roles)):
                found += more
                said.append(line)
    except CheckSkipped as reason:
        print(f"skipped: {reason}")
        return SKIPPED
    except (CheckFailed, UnknownPolicy) as error:
        print(error)
        return 1
    print("\n".join(found or [line for line in said if line]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
