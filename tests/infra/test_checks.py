"""The checks of infra/ find what is broken: one thing is broken in each area."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.infra.scripts import ROOT, script

check = script("check.py")
delivery = script("checks/delivery.py")
decision = script("checks/policy_decision.py")
iam = script("checks/iam.py")
made = script("checks/made.py")
stand_in = sys.modules["stand_in"]
needs_terraform = pytest.mark.skipif(
    not shutil.which("terraform") or stand_in.offline_folder() is None, reason="terraform or its offline schema is not here"
)


def broken(tmp_path: Path, file: str, before: str, after: str) -> Path:
    """A copy of the layers with one thing changed."""
    folder = tmp_path / "terraform"
    if not folder.exists():
        shutil.copytree(ROOT / "infra/terraform", folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
    text = (folder / file).read_text()
    assert before in text
    (folder / file).write_text(text.replace(before, after, 1))
    return folder


@needs_terraform
@pytest.mark.slow
def test_an_argument_that_aws_does_not_know_is_found(tmp_path: Path) -> None:
    folder = broken(tmp_path, "modules/bucket/main.tf", "force_destroy = false", "force_destroi = false")
    done = subprocess.run(
        [sys.executable, "infra/checks/terraform.py", "--terraform", str(folder), "--only", "bootstrap"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "force_destroi" in done.stdout


@needs_terraform
@pytest.mark.slow
def test_an_open_bucket_a_name_that_drifts_and_a_right_too_many_are_found(tmp_path: Path) -> None:
    broken(tmp_path, "modules/bucket/main.tf", "block_public_policy     = true", "block_public_policy     = false")
    broken(
        tmp_path, "persistent/storage.tf", "name                        = each.value", 'name                        = "${each.value}-new"'
    )
    broken(tmp_path, "persistent/roles.tf", 'Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]', 'Action   = ["s3:*"]')
    folder = broken(
        tmp_path,
        "persistent/roles.tf",
        'Resource = "${local.arn.bucket.documents}/$${aws:PrincipalTag/kubernetes-namespace}/*"',
        'Resource = "${local.arn.bucket.documents}/*"',
    )
    with stand_in.working_copy(folder) as place:
        roles, arns = iam.rendered_roles(place)
        resources = place.resources("persistent")
        names = json.loads((folder / "persistent/names.auto.tfvars.json").read_text())["names"]
    assert f"{names['buckets']['documents']}: block_public_policy is not on" in made.open_buckets(resources)
    assert [line for line in made.names_that_drift(resources, names) if f"{names['tables']['prod']}-new" in line]
    assert f"{names['roles']['api']}: s3:* is too broad" in iam.check_breadth(roles)
    wrong, _ = iam.check_matrix(roles, iam.read_matrix(names, arns), names)
    assert f"api: s3:GetObject on arn:aws:s3:::{names['buckets']['documents']}/{names['namespaces']['prod']}/a.pdf is allowed" in wrong


def test_a_bucket_without_its_lifecycle_or_tls_is_found() -> None:
    bucket = {"address": "module.x.aws_s3_bucket.this", "type": "aws_s3_bucket", "values": {"bucket": "b"}}
    assert {line.partition(": ")[2] for line in made.open_buckets([bucket])} >= {
        "it is reached without TLS",
        "it has no lifecycle",
        "it has no encryption",
        "it has no versions",
    }


@needs_terraform
@pytest.mark.slow
def test_who_is_not_told_what_is_read_late_and_what_is_not_reached_are_found(tmp_path: Path) -> None:
    both = '["cloudwatch.amazonaws.com", "budgets.amazonaws.com"]'
    broken(tmp_path, "persistent/key.tf", both, '"cloudwatch.amazonaws.com"')
    broken(tmp_path, "persistent/key.tf", '"logs.${var.names.region}', '"logs.elsewhere')
    broken(tmp_path, "persistent/alarms.tf", both, '["budgets.amazonaws.com"]')
    broken(tmp_path, "persistent/alarms.tf", "[aws_sns_topic.alarms.arn]\n    }", "[]\n    }")
    broken(
        tmp_path,
        "modules/bucket/main.tf",
        'rule.value\n        storage_class = "GLACIER_IR"',
        'rule.value\n        storage_class = "GLACIER"',
    )
    folder = broken(tmp_path, "modules/network/main.tf", 'toset(["s3", "dynamodb"])', 'toset(["s3"])')
    with stand_in.working_copy(folder) as place:
        place.init("persistent")
        place.run("persistent", "apply", "-auto-approve", "-input=false", "-no-color")
        resources = place.resources("persistent")
    region = json.loads((folder / "persistent/names.auto.tfvars.json").read_text())["names"]["region"]
    assert delivery.undelivered_alarms(resources, region) == [
        "aws_budgets_budget.month: tells nobody",
        "budgets.amazonaws.com may not use the key that the topic is encrypted with: what it says is dropped",
        "cloudwatch.amazonaws.com may not publish to the topic",
        f"logs.{region}.amazonaws.com may not use the key that logs are encrypted with: no group of logs can be made",
    ]
    late = 'module.bucket["documents"].aws_s3_bucket_lifecycle_configuration.this: moves objects to GLACIER, and not to GLACIER_IR'
    assert late in delivery.unreadable_archives(resources)
    assert delivery.missing_endpoints(resources, region) == ["the network has no endpoint of dynamodb"]


def test_what_is_found_by_a_tag_has_it() -> None:
    subnet = {"address": "module.network.aws_subnet.private", "type": "aws_subnet", "values": {"tags": {"Network": "n", "Tier": "private"}}}
    vpc = {"address": "module.network.aws_vpc.this", "type": "aws_vpc", "values": {"tags": None}}
    assert made.tags_that_are_missing([subnet, vpc]) == [
        "module.network.aws_subnet.private: has no tag kubernetes.io/role/internal-elb, by which it is found",
        "module.network.aws_vpc.this: has no tag Name, by which it is found",
    ]


def test_a_layer_that_does_not_tag_what_it_makes_is_found(tmp_path: Path) -> None:
    layers = ("bootstrap", "persistent", "cluster")
    assert made.layers_without_tags(ROOT / "infra/terraform", layers) == []
    folder = broken(tmp_path, "cluster/versions.tf", 'Layer = "cluster"', 'Layer = "persistent"')
    [found] = made.layers_without_tags(folder, layers)
    assert found.startswith("cluster: its provider needs default_tags")


@needs_terraform
@pytest.mark.slow
def test_the_layer_is_tried_whatever_an_account_has_chosen(tmp_path: Path) -> None:
    folder = broken(tmp_path, "cluster/names.auto.tfvars.json", '"us-east-1"', '"eu-central-1"')
    chosen = 'api_cidrs = ["203.0.113.0/24"]\nadmins    = ["arn:aws:iam::123456789012:role/Me"]\ndatabase  = false\n'
    (folder / "cluster/terraform.tfvars").write_text(chosen)
    done = subprocess.run(
        [sys.executable, "infra/checks/terraform.py", "--terraform", str(folder), "--only", "cluster"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


@needs_terraform
@pytest.mark.slow
def test_models_are_asked_through_the_profiles_of_the_part_of_the_world_that_one_is_in(tmp_path: Path) -> None:
    folder = broken(tmp_path, "persistent/names.auto.tfvars.json", '"region": "us-east-1"', '"region": "eu-central-1"')
    with stand_in.working_copy(folder) as place:
        roles, _ = iam.rendered_roles(place)
        names = json.loads((folder / "persistent/names.auto.tfvars.json").read_text())["names"]
    [policy] = roles[names["roles"]["api"]].policies
    assert "inference-profile/eu.amazon.nova-lite-v1:0" in policy
    assert "inference-profile/us." not in policy


POLICY = {
    "Statement": [
        {"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/${aws:PrincipalTag/team}/*"},
        {"Effect": "Deny", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/red/secret*"},
        {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*", "Condition": {"StringEquals": {"kms:ViaService": ["s3", "sqs"]}}},
        {
            "Effect": "Allow",
            "Action": "ec2:RunInstances",
            "Resource": "*",
            "Condition": {"StringEqualsIfExists": {"x": "1"}, "Bool": {"aws:SecureTransport": "true"}},
        },
    ]
}


@pytest.mark.parametrize(
    ("action", "resource", "context", "expected"),
    [
        ("s3:GetObject", "arn:aws:s3:::b/red/a", {"aws:PrincipalTag/team": "red"}, True),
        ("S3:getobject", "arn:aws:s3:::b/red/a", {"aws:principaltag/TEAM": "red"}, True),
        ("s3:GetObject", "arn:aws:s3:::b/blue/a", {"aws:PrincipalTag/team": "red"}, False),
        ("s3:GetObject", "arn:aws:s3:::b//a", {}, False),
        ("s3:GetObject", "arn:aws:s3:::b/red/secret1", {"aws:PrincipalTag/team": "red"}, False),
        ("s3:PutObject", "arn:aws:s3:::b/red/a", {"aws:PrincipalTag/team": "red"}, False),
        ("kms:Decrypt", "key", {"kms:ViaService": "sqs"}, True),
        ("kms:Decrypt", "key", {"kms:ViaService": "sns"}, False),
        ("kms:Decrypt", "key", {}, False),
        ("ec2:RunInstances", "i", {"aws:SecureTransport": "true"}, True),
        ("ec2:RunInstances", "i", {"aws:SecureTransport": "true", "x": "2"}, False),
        ("ec2:RunInstances", "i", {"x": "1"}, False),
    ],
)
def test_a_request_is_decided_as_iam_does(action: str, resource: str, context: dict[str, str], expected: bool) -> None:
    assert decision.allowed([POLICY], decision.Request(action, resource, context)) is expected


def test_what_is_not_known_is_an_error_and_never_a_guess() -> None:
    odd = {"Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"NumericLessThan": {"x": "1"}}}]}
    with pytest.raises(decision.UnknownPolicy):
        decision.allowed([odd], decision.Request("a:b", "c", {"x": "0"}))
    with pytest.raises(decision.UnknownPolicy):
        decision.allowed([POLICY], decision.Request("s3:GetObject", "arn", {"aws:PrincipalTag/team": "*"}))


def test_a_role_without_cases_and_a_policy_of_aws_that_is_not_listed_are_found() -> None:
    names = {"roles": {"api": "r-api", "new": "r-new"}}
    roles = {"r-api": iam.Role('{"Statement": []}', managed={"arn:aws:iam::aws:policy/AdministratorAccess"})}
    matrix = {
        "defaults": {},
        "roles": {"api": {"managed": [], "may": [["s3:GetObject", "arn"]], "may_not": []}},
        "trust": {"may": [], "may_not": []},
    }
    found, _ = iam.check_matrix(roles, matrix, names)
    assert [line.split(":")[0] for line in found] == ["iam-matrix.yaml has no cases of new", "api", "api"]


def test_a_role_that_trusts_more_tokens_of_github_than_its_own_is_found() -> None:
    host = "token.actions.githubusercontent.com"

    def role(subjects: list[str], operator: str = "StringEquals") -> object:
        condition = {operator: {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": [f"repo:o/r:{one}" for one in subjects]}}
        return iam.Role(json.dumps({"Statement": [{"Principal": {"Federated": f"arn:{host}"}, "Condition": condition}]}))

    roles = {"own": role(["environment:prod"]), "more": role(["environment:prod", "ref:refs/heads/x"]), "like": role(["*"], "StringLike")}
    names = {"github": "o/r", "roles": {name: name for name in roles}}
    matrix = {"github": {"own": "environment:prod", "more": "environment:prod"}}
    found = iam.check_github(roles, matrix, names)
    assert [line.split(":")[0] for line in found] == ["more", "like"]


def test_a_role_with_more_to_it_than_aws_takes_is_found() -> None:
    roles = {"large": iam.Role("{}", ["x" * 6000, "x" * 6000]), "trusting": iam.Role("x" * 3000), "small": iam.Role("{}", ["x"])}
    assert iam.check_sizes(roles) == [
        "large: policies of 12000 letters, and AWS takes 10240",
        "trusting: trust of 3000 letters, and AWS takes 2048",
    ]


def test_what_is_missing_for_terraform_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERRAFORM_OFFLINE", "/nowhere")
    monkeypatch.setattr(stand_in, "_registry_answers", lambda: False)  # on no account over the network
    monkeypatch.setattr(stand_in.shutil, "which", lambda name: name)
    with pytest.raises(stand_in.CheckSkipped, match="terraform-offline"), stand_in.working_copy():
        pass
    monkeypatch.setattr(stand_in.shutil, "which", lambda name: None)
    with pytest.raises(stand_in.CheckSkipped, match="not installed"), stand_in.working_copy():
        pass


def test_an_area_that_fails_cannot_start_or_is_skipped_is_told_apart(tmp_path: Path) -> None:
    words = {name: check.run(name, command, tmp_path) for name, command in {
        "good": "python -c 'print(1)'", "bad": "python -c 'raise SystemExit(3)'", "none": "no-such-program",
        "left": "python -c 'print(\"skipped: no tool\"); raise SystemExit(77)'",
    }.items()}  # fmt: skip
    assert {name: outcome.state for name, outcome in words.items()} == {"good": "ok", "bad": "FAILED", "none": "FAILED", "left": "skipped"}
    assert check.shown(words["left"]).endswith("no tool")
    assert "no-such-program" in check.shown(words["none"])
