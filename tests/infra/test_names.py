"""One file names everything: Terraform's resources and the application's settings cannot drift apart."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from serving.app.settings import AppSettings
from serving.pipeline.settings import variables
from tests.infra.scripts import ROOT, script

make_names = script("make_names.py")
NAMES = make_names.read_names(ROOT / "infra/names.yaml")
SCRAPED = "infra/observability/prometheus/prometheus.kubernetes.yml"
SETTINGS = ROOT / "infra/kubernetes/base/settings.env"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that are made, and what they are made of."""
    for path in make_names.rendered(ROOT):
        target = tmp_path / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    shutil.copy(ROOT / "infra/names.yaml", tmp_path / "infra/names.yaml")  # with whatever account and prefix somebody wrote into it
    (tmp_path / make_names.POLICY).parent.mkdir(parents=True)
    shutil.copy(ROOT / make_names.POLICY, tmp_path / make_names.POLICY)
    return tmp_path


def edited(copy: Path, before: str, after: str) -> Path:
    path = copy / "infra/names.yaml"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    return path


def changed(copy: Path, **entries: str) -> Path:
    path = copy / "infra/names.yaml"
    text = path.read_text()
    for name, value in entries.items():
        text, number = re.subn(rf"^{name}: .*$", f"{name}: {value}", text, count=1, flags=re.MULTILINE)
        assert number == 1
    path.write_text(text)
    return path


def test_what_is_made_is_as_names_yaml_has_it(copy: Path) -> None:
    assert make_names.drifted(ROOT) == []
    assert make_names.drifted(copy) == []


def test_a_name_that_is_changed_on_one_side_only_is_told(copy: Path) -> None:
    path = copy / "infra/kubernetes/base/settings.env"
    path.write_text(path.read_text().replace("/indexes", "/index"))
    assert [line for line in make_names.drifted(copy) if "settings.env is not what" in line]


def test_a_new_name_reaches_terraform_and_the_application(copy: Path) -> None:
    changed(copy, prefix="tech", account='"000000000000"')
    made = {path.relative_to(copy / "infra").as_posix(): text for path, text in make_names.rendered(copy).items()}
    assert "s3://tech-indexes-000000000000/indexes" in made["kubernetes/base/settings.env"]
    assert '"tech-indexes-000000000000"' in made["terraform/cluster/names.auto.tfvars.json"]


def test_other_names_reach_every_manifest_and_leave_none_of_the_old_behind(copy: Path) -> None:
    changed(copy, prefix="tech", account='"123456789012"', region="eu-central-1", cidr="10.99.0.0/16", github="a@1/b@2")
    for path, text in make_names.rendered(copy).items():
        if "kubernetes" in path.parts:
            assert not re.search(r"touchstone-(dev|staging|prod|sweeps|documents|indexes|releases|stages|mlflow)\b", text), path
            assert not re.search(r"\d{12}\.dkr\.ecr\.us|us-east-1|10\.40\.", text), path
    made = {
        str(path.relative_to(copy / "infra/kubernetes")): text
        for path, text in make_names.rendered(copy).items()
        if "kubernetes" in path.parts
    }
    assert "newName: 123456789012.dkr.ecr.eu-central-1.amazonaws.com/tech-serving\n" in made["overlays/prod/kustomization.yaml"]
    assert "objectName: tech-prod/api-keys\n" in made["overlays/prod/kustomization.yaml"]
    assert "namespace: tech-dev\n" in made["overlays/dev/kustomization.yaml"]
    assert made["base/networkpolicy.yaml"].count("10.99.0.0/16") == 2
    assert "cidr: 169.254.170.23/32" in made["base/networkpolicy.yaml"]  # of Pod Identity's agent, and none of ours


def test_prometheus_looks_in_the_namespaces_of_another_prefix(copy: Path) -> None:
    changed(copy, prefix="tech")
    names = make_names.read_names(copy / "infra/names.yaml")
    config = yaml.safe_load(make_names.rendered(copy)[copy / SCRAPED])
    kept = [
        rule["regex"]
        for job in config["scrape_configs"]
        for rule in [*job.get("relabel_configs", []), *job.get("metric_relabel_configs", [])]
        if rule.get("action") == "keep" and rule["source_labels"] in (["__meta_kubernetes_namespace"], ["namespace"])
    ]
    assert len(kept) == 2
    ours = {one["namespace"] for one in names["service_accounts"]} - {"mlflow"}
    assert ours >= {"tech-dev", "tech-staging", "tech-prod"}
    for pattern in kept:
        assert all(re.fullmatch(pattern, namespace) for namespace in ours)
        assert not any(re.fullmatch(pattern, namespace) for namespace in ("touchstone-dev", "technical-dev", "kube-system"))
    assert all(re.fullmatch(kept[1], namespace) for namespace in ("mlflow", "touchstone-monitoring"))


def test_a_namespace_that_prometheus_would_not_look_in_is_refused(copy: Path) -> None:
    edited(copy, 'prod: "{prefix}-prod"', "prod: acme-prod")
    with pytest.raises(make_names.NamesError, match="'acme-prod' has to begin with "):
        make_names.rendered(copy)


def test_what_prometheus_scrapes_is_held_to_the_prefix(copy: Path) -> None:
    path = copy / SCRAPED
    path.write_text(path.read_text().replace(f"regex: {NAMES['prefix']}-.+,", "regex: other-.+,"))
    assert [line for line in make_names.drifted(copy) if "prometheus.kubernetes.yml is not what" in line]


def test_a_name_that_is_changed_in_a_manifest_by_hand_is_told(copy: Path) -> None:
    path = copy / "infra/kubernetes/overlays/prod/kustomization.yaml"
    path.write_text(path.read_text().replace(f"namespace: {NAMES['namespaces']['prod']}", f"namespace: {NAMES['namespaces']['dev']}"))
    assert [line for line in make_names.drifted(copy) if "overlays/prod/kustomization.yaml is not what" in line]


def test_a_manifest_that_has_lost_the_place_of_a_name_is_told(copy: Path) -> None:
    path = copy / "infra/kubernetes/mlflow/secrets.yaml"
    path.write_text(path.read_text().replace("- objectName:", "- object:"))
    with pytest.raises(make_names.NamesError, match="objectName"):
        make_names.rendered(copy)


def test_the_network_policies_let_the_networks_addresses_in_and_any_resolver_be_asked() -> None:
    for name in ("base", "mlflow"):
        policies = list(yaml.safe_load_all((ROOT / f"infra/kubernetes/{name}/networkpolicy.yaml").read_text()))
        rules = [
            rule for policy in policies for rule in policy["spec"].get("egress", []) if {"port": 53, "protocol": "UDP"} in rule["ports"]
        ]
        assert [rule for rule in rules if "to" not in rule], name  # in Auto Mode a process of the node answers, and no pod


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("TOUCHSTONE_STAGES:", "TOUCHSTONE_STAGE:", "TOUCHSTONE_STAGE is no setting"),
        ("{buckets[indexes]}/indexes", "{buckets[index]}/indexes", "names an entry that is not there"),
        ('"{prefix}-documents-{account}"', '"{prefix}_documents"', "cannot name a bucket"),
        ('prod: "{namespaces[prod]}-traces"', 'prod: "{prefix}-prod-answers"', "<namespace>-traces"),
        ('prod: "{namespaces[prod]}"\nsecrets:', 'prod: "{prefix}-p"\nsecrets:', "cache_users.prod has to be the namespace"),
        ("mlflow_database: mlflow/database", "mlflow_database: database", "namespace that reads it"),
        ("{role: mlflow,", "{role: mlflows,", "mlflows"),
    ],
)
def test_a_mistake_is_one_line_that_names_it(copy: Path, before: str, after: str, says: str) -> None:
    with pytest.raises(make_names.NamesError, match=re.escape(says)):
        make_names.read_names(edited(copy, before, after))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("account", "17", "twelve digits"),
        ("account", "012345670123", "between quotes"),  # YAML reads it as a number to the base of 8
        ("github", "example", "owner/repository"),
        ("region", "'{region}x'", "circle"),
        ("region", "us-gov-west-1", "GovCloud"),
        ("region", "US-EAST-1", "eu-central-1"),
        ("region", "", "region is None"),
        ("workspace", "", "workspace is None"),
        ("prefix", "TechCorp", "a small letter"),
        ("prefix", '""', "a small letter"),
        ("prefix", "a--b", "single hyphens"),
        ("prefix", "a" * 33, "32 at most"),
        ("cache", "c" * 41, "40 at most"),
        ("state_bucket", "b" * 64, "cannot name a bucket"),
        ("cidr", "10.0.0.0/8", "of a /16 to a /19"),
        ("cidr", "10.1.2.3/16", "host bits"),
        ("cidr", "172.20.0.0/16", "own services"),
    ],
)
def test_an_entry_that_cannot_be_is_named(copy: Path, name: str, value: str, says: str) -> None:
    with pytest.raises(make_names.NamesError, match=re.escape(says)):
        make_names.read_names(changed(copy, **{name: value}))


@pytest.mark.parametrize("github", ["example/touchstone", "example@123456/touchstone@456789"])
def test_a_repository_is_named_as_its_tokens_name_it(copy: Path, github: str) -> None:
    assert make_names.read_names(changed(copy, github=github))["github"] == github


def test_an_entry_that_is_gone_is_one_line(copy: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    edited(copy, "state_bucket:", "state_buckets:")
    monkeypatch.setattr("sys.argv", ["make_names.py", "--root", str(copy)])
    assert make_names.main() == 2
    assert capsys.readouterr().err == "infra/names.yaml: the entry 'state_bucket' is missing. What it was: git diff infra/names.yaml\n"


def test_the_application_reads_every_channels_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for channel in ("dev", "staging", "prod"):
        for file in (SETTINGS, ROOT / f"infra/kubernetes/overlays/{channel}/channel.env"):
            for line in file.read_text().splitlines():
                name, equals, value = line.partition("=")
                if equals and not line.startswith("#"):
                    monkeypatch.setenv(name, value)
        settings = AppSettings(_env_file=None)
        assert settings.channel == channel
        assert settings.traces == f"dynamodb:{NAMES['tables'][channel]}"
        assert settings.audit_place == f"dynamodb:{NAMES['audit_tables'][channel]}"
        assert settings.releases.startswith("s3://")


def test_no_terraform_file_names_anything_by_itself() -> None:
    for path in (ROOT / "infra/terraform").rglob("*.tf"):
        if path.parent.name == "guardrail":
            continue
        assert not re.search(rf'"[^"]*{NAMES["prefix"]}', path.read_text()), path


def test_every_setting_that_terraform_speaks_of_is_one() -> None:
    known = variables(AppSettings)
    for path in (ROOT / "infra/terraform").rglob("*.tf"):
        for name in re.findall(r"TOUCHSTONE_\w+", path.read_text()):
            assert name in known, path


def test_overlays_and_terraform_mean_the_same_namespaces() -> None:
    for channel, namespace in NAMES["namespaces"].items():
        overlay = ROOT / f"infra/kubernetes/overlays/{channel}/kustomization.yaml"
        if overlay.is_file():
            assert yaml.safe_load(overlay.read_text())["namespace"] == namespace


def test_an_account_reaches_images_artefacts_and_jobs(copy: Path) -> None:
    changed(copy, account='"123456789012"', region="eu-central-1", prefix="tech")
    made = {path.relative_to(copy).as_posix(): text for path, text in make_names.rendered(copy).items()}
    assert not re.search(r"\b0{12}\b", "".join(text for path, text in made.items() if "kubernetes" in path))
    registry = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
    for folder in ("overlays/dev", "overlays/staging", "overlays/prod", "mlflow", "ray", "ray-index"):
        kustomization = yaml.safe_load(made[f"infra/kubernetes/{folder}/kustomization.yaml"])
        assert {image["newName"].partition("/")[0] for image in kustomization["images"]} == {registry}
    assert "s3://tech-mlflow-123456789012/artifacts" in made["infra/kubernetes/mlflow/settings.env"]
    assert "s3://tech-stages-123456789012/stages" in made["infra/kubernetes/ray/settings.env"]
    assert "s3://tech-documents-123456789012/corpora" in made["infra/kubernetes/ray-index/settings.env"]
