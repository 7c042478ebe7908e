import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.guard_policy.bedrock import ENTITIES, PATTERNS, create_guardrail_request
from harness.guard_policy.policy import GuardPolicy, as_config, load_policy
from harness.guard_policy.terraform import terraform
from harness.sweep.experiment import load_experiment
from serving.pipeline.checks.pii import EVERY_KIND
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError
from tests.support.world import REPOSITORY, World

TECHCORP = REPOSITORY / "experiments" / "guards" / "techcorp.yaml"


def a_policy(**changes: object) -> GuardPolicy:
    return GuardPolicy.model_validate({"name": "small", "description": "A small one", "blocked_message": "No.", **changes})


EVERYTHING = {
    "content": {name: {"input": "LOW", "output": "HIGH"} for name in ("HATE", "SEXUAL", "MISCONDUCT", "PROMPT_ATTACK")},
    "personal_data": dict.fromkeys(EVERY_KIND, "mask"),
    "topics": {
        "Tax ${advice}".replace("${", "").replace("}", ""): {"definition": 'Says "${x}" and %{y}', "examples": ["Do I pay?", "x" * 200]}
    },
}


def valid(request: dict[str, object]) -> str:
    """What botocore's own model of the service says against a request; empty if nothing."""
    from botocore.session import Session
    from botocore.validate import ParamValidator

    shape: Any = Session().get_service_model("bedrock").operation_model("CreateGuardrail").input_shape
    return str(ParamValidator().validate(request, shape).generate_report())


def test_the_request_is_what_boto3_takes_and_says_what_the_policy_says() -> None:
    request = create_guardrail_request(load_policy(TECHCORP))
    assert valid(request) == ""
    assert request["contentPolicyConfig"]["filtersConfig"] == [
        {"type": "HATE", "inputStrength": "HIGH", "outputStrength": "HIGH"},
        {"type": "INSULTS", "inputStrength": "HIGH", "outputStrength": "HIGH"},
        {"type": "SEXUAL", "inputStrength": "HIGH", "outputStrength": "HIGH"},
        {"type": "VIOLENCE", "inputStrength": "MEDIUM", "outputStrength": "HIGH"},
    ]
    assert request["sensitiveInformationPolicyConfig"]["piiEntitiesConfig"] == [
        {"type": "EMAIL", "action": "ANONYMIZE"},
        {"type": "PHONE", "action": "ANONYMIZE"},
        {"type": "US_SOCIAL_SECURITY_NUMBER", "action": "BLOCK"},
        {"type": "CREDIT_DEBIT_CARD_NUMBER", "action": "BLOCK"},
    ]
    topics = {topic["name"]: topic for topic in request["topicPolicyConfig"]["topicsConfig"]}
    assert topics["Legal Advice"]["definition"] == "Providing specific legal recommendations or interpretations"
    assert {len(topic["examples"]) for topic in topics.values()} == {5}


def test_every_kind_filter_and_action_has_its_word_in_bedrock() -> None:
    request = create_guardrail_request(a_policy(**EVERYTHING))
    assert valid(request) == ""
    assert set(ENTITIES) | set(PATTERNS) == set(EVERY_KIND)
    assert all(len(pattern) <= 500 for pattern in PATTERNS.values())
    assert request["topicPolicyConfig"]["topicsConfig"][0]["examples"] == ["Do I pay?"]  # the other is longer than Bedrock takes


def test_a_request_that_the_service_would_refuse_is_seen_here() -> None:
    broken = create_guardrail_request(a_policy(**EVERYTHING))
    broken["contentPolicyConfig"]["filtersConfig"][0]["strength"] = "HIGH"
    assert "strength" in valid(broken)


@pytest.mark.parametrize("policy", [load_policy(TECHCORP), a_policy(**EVERYTHING)])
@pytest.mark.slow
def test_terraform_takes_what_is_rendered(policy: GuardPolicy, tmp_path: Path) -> None:
    (tmp_path / "main.tf").write_text(terraform(policy))
    if not shutil.which("terraform"):
        pytest.skip("terraform is not installed")
    formatted = subprocess.run(["terraform", "fmt", "-check", "-diff", str(tmp_path)], capture_output=True, text=True, check=False)
    assert formatted.returncode == 0, formatted.stdout + formatted.stderr
    setup = os.environ.get("TERRAFORM_OFFLINE_SETUP", "")  # prints the environment in which init needs no registry
    if not setup:
        return
    made = subprocess.run([setup, str(tmp_path / "cache")], capture_output=True, text=True, check=True).stdout
    (tmp_path / "versions.tf").write_text(
        'terraform {\n  required_providers {\n    aws = {\n      source = "hashicorp/aws"\n    }\n  }\n}\n'
    )
    script = f"{made}\ncd {tmp_path} && terraform init -no-color && terraform validate -no-color"
    checked = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_nothing_in_a_text_becomes_a_template_of_terraform() -> None:
    rendered = terraform(a_policy(**EVERYTHING))
    assert 'Says \\"$${x}\\" and %%{y}' in rendered


def test_as_a_configuration_the_policy_is_named_checks_that_a_sweep_can_turn() -> None:
    config = RagConfig.parse(as_config(load_policy(TECHCORP)))
    assert config.at("guard.input.content.violence") == "MEDIUM"
    assert config.at("guard.output.content.violence") == "HIGH"
    assert config.at("guard.input.pii.kinds.US_SSN") == "block"
    changed = config.replace({"guard.input.topics.threshold": 0.5, "guard.input.pii.kinds.US_SSN": "mask"})
    assert changed.digest("guard") != config.digest("guard")
    assert list(config.guard.input)[:2] == ["bounds", "characters"]  # size and characters are looked at before words are


def test_a_change_of_an_example_is_another_configuration() -> None:
    policy = load_policy(TECHCORP)
    topic = policy.topics["Legal Advice"]
    other = policy.model_copy(update={"topics": {**policy.topics, "Legal Advice": topic.model_copy(update={"examples": ("Other?",)})}})
    assert RagConfig.parse(as_config(policy)).digest() != RagConfig.parse(as_config(other)).digest()


def test_the_experiment_of_guards_is_based_on_the_policy_that_ships() -> None:
    base = load_experiment(REPOSITORY / "experiments" / "guard.yaml").config
    assert base.guard == RagConfig.parse(as_config(load_policy(TECHCORP))).guard


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"content": {"HATRED": {"input": "HIGH"}}}, "content.HATRED"),
        ({"personal_data": {"US_SSN": "burn"}}, "personal_data.US_SSN"),
        ({"topic": {}}, "unknown key 'topic'. Did you mean 'topics'?"),
        ({"name": "a name"}, "name"),
        ({"topics": {"A.b": {"definition": "x", "examples": ["y"]}}}, "topics.A.b"),
    ],
)
def test_a_mistake_in_a_policy_is_one_line_with_its_place(change: dict[str, object], says: str, tmp_path: Path) -> None:
    data = {"name": "small", "description": "A small one", "blocked_message": "No.", **change}
    (tmp_path / "policy.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match="policy.yaml") as caught:
        load_policy(tmp_path / "policy.yaml")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_policy_that_asks_bedrock_for_nothing_is_not_rendered() -> None:
    with pytest.raises(ConfigError, match="asks Bedrock for nothing"):
        create_guardrail_request(a_policy())


def test_the_command_renders_and_checks(world: World) -> None:
    shutil.copy(TECHCORP, world.root / "policy.yaml")
    assert valid(json.loads(world.touchstone("guard", "render", "policy.yaml").out)) == ""
    assert 'resource "aws_bedrock_guardrail_version"' in world.touchstone("guard", "render", "policy.yaml", "--to", "terraform").out
    (world.root / "config.yaml").write_text(world.touchstone("guard", "render", "policy.yaml", "--to", "config").out)
    plain = ["-s", "index.embedder.name=local:hashing"]
    blocked = world.touchstone("guard", "check", "My SSN is 536-90-4399", "-c", "config.yaml", *plain, "--json")
    assert (blocked.code, blocked.json["action"]) == (1, "block")  # type: ignore[index]
    assert "536-90" not in blocked.out
    masked = world.touchstone("guard", "check", "Write to jane.roe@example.com", "--policy", "policy.yaml", *plain)
    assert masked.code == 0
    assert "Write to <EMAIL_1>" in masked.out
    none = [word for name in ("encoding", "injection", "pii", "size") for word in ("-s", f"guard.input.{name}.name=none")]
    assert "No check runs" in world.touchstone("guard", "check", "hello", *plain, *none).out
    assert "encoding: allow" in world.touchstone("guard", "check", "hello", *plain).out  # the defaults
    both = world.touchstone("guard", "check", "hello", "--policy", "policy.yaml", "-c", "config.yaml")
    assert (both.code, "Give one of them" in both.err) == (2, True)
    assert world.touchstone("guard", "render", "nothing.yaml").code == 2
