"""The manifests fit their schemas and our rules; what breaks one of them is found."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")]


@pytest.fixture(scope="module")
def checks() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kubernetes_checks", ROOT / "infra/checks/kubernetes.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    """A copy of the manifests, to break."""
    for name in ("kubernetes", "observability"):
        shutil.copytree(ROOT / "infra" / name, tmp_path / "infra" / name)
    return tmp_path / "infra" / "kubernetes"


@pytest.mark.parametrize("name", ["overlays/dev", "overlays/staging", "overlays/prod", "ray", "ray-index", "mlflow", "monitoring"])
def test_a_kustomization_renders_fits_its_schemas_and_keeps_the_rules(checks: ModuleType, name: str) -> None:
    assert checks.check(ROOT / "infra/kubernetes" / name, by_digest=name.endswith("prod")) == []


DEPLOYMENT = "base/api/deployment.yaml"
UNKNOWN = "            - {name: TOUCHSTONE_CHANEL, value: x}\n            - name: TOUCHSTONE_REDIS"
IN_PLAIN_TEXT = "            - {name: MY_PASSWORD, value: hunter2}\n            - name: TOUCHSTONE_REDIS"


@pytest.mark.parametrize(
    ("file", "was", "becomes", "found"),
    [
        (DEPLOYMENT, "runAsNonRoot: true", "runAsNonRoot: false", "runs as root"),
        (DEPLOYMENT, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "may write to its root"),
        (DEPLOYMENT, "drop: [ALL]", "drop: [NET_RAW]", "keeps capabilities"),
        (DEPLOYMENT, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "may gain privileges"),
        (DEPLOYMENT, "      automountServiceAccountToken: false\n", "", "mounts a token"),
        (DEPLOYMENT, "              memory: 2Gi\n", "", "no limit of memory"),
        (DEPLOYMENT, "sleep: {seconds: 10}", "sleep: {seconds: 2}", "is ended before its longest question"),
        (DEPLOYMENT, "maxUnavailable: 0", "maxUnavailable: 1", "takes pods away"),
        (DEPLOYMENT, "          livenessProbe:", "          liveProbe:", "liveProbe"),
        (DEPLOYMENT, "            - name: TOUCHSTONE_REDIS", UNKNOWN, "no setting"),
        (DEPLOYMENT, "            - name: TOUCHSTONE_REDIS", IN_PLAIN_TEXT, "plain text"),
        ("base/settings.env", "TOUCHSTONE_STAGES=", "TOUCHSTONE_STAGEZ=", "is no setting"),
        ("base/api/disruption.yaml", "app.kubernetes.io/name: touchstone-api", "app.kubernetes.io/name: other", "no disruption budget"),
        ("base/api/autoscaling.yaml", "    name: touchstone-api\n  min", "    name: other\n  min", "one autoscaler"),
        ("base/networkpolicy.yaml", "  podSelector: {}", "  podSelector: {matchLabels: {a: b}}", None),
        ("base/api/service.yaml", "name: touchstone-api\n  ports", "name: other\n  ports", "no service finds it"),
        ("overlays/prod/kustomization.yaml", "    digest: sha256:" + "0" * 64, "    newTag: '1.0'", "not named by its digest"),
    ],
)  # fmt: skip
def test_what_is_broken_is_found(checks: ModuleType, infra: Path, file: str, was: str, becomes: str, found: str | None) -> None:
    text = (infra / file).read_text()
    assert was in text
    (infra / file).write_text(text.replace(was, becomes, 1))
    mistakes = checks.check(infra / "overlays" / "prod", by_digest=True)
    if found is None:
        assert mistakes == []  # another policy still covers every pod
    else:
        assert any(found in mistake for mistake in mistakes), mistakes


def test_an_unknown_field_of_a_kind_of_others_is_found(checks: ModuleType, infra: Path) -> None:
    if not checks.SCHEMAS.is_dir():
        pytest.skip(f"no schemas in {checks.SCHEMAS}")
    file = infra / "components/off-hours/scaledobject.yaml"
    file.write_text(file.read_text().replace("cooldownPeriod", "coolDownPeriod"))
    assert any("coolDownPeriod" in mistake for mistake in checks.check(infra / "overlays" / "dev"))


def test_an_image_that_may_be_another_tomorrow_is_found(checks: ModuleType, infra: Path) -> None:
    file = infra / "overlays/staging/kustomization.yaml"
    file.write_text(file.read_text().replace("newTag: 0.1.0", "newTag: latest", 1))
    assert any("may be another one tomorrow" in mistake for mistake in checks.check(infra / "overlays" / "staging"))


ANALYSIS = "components/rollouts/analysis.yaml"


@pytest.mark.parametrize("overlay", ["overlays/dev", "overlays/staging", "overlays/prod"])
def test_the_analysis_of_argo_rollouts_asks_what_is_there_in_every_overlay(checks: ModuleType, overlay: str) -> None:
    assert checks.check_rollouts(ROOT / "infra/kubernetes", overlay) == []


@pytest.mark.parametrize(
    ("was", "becomes", "found"),
    [
        ("value: touchstone-api", "value: touchstone", "there is no such service"),
        ("{{args.namespace}}.svc.cluster.local/readyz", "touchstone.svc.cluster.local/readyz", "there is no such service"),
        ("prometheus.touchstone-monitoring", "prometheus.monitoring", "there is no such service"),
        ("channels/{{args.channel}}", "channels/{{args.name}}", "'name'"),
        ("Bearer {{args.key}}", "Bearer tsk_1234", "a key that comes from no secret"),
        ('      failureCondition: result == "worse"\n', "", "both conditions have to say so"),
        ('result == "no worse" ||', 'result == "no-worse" ||', "both conditions have to say so"),
        ("inconclusiveLimit: 59", "inconclusiveLimit: 60", "undecided to the end"),
    ],
)  # fmt: skip
def test_an_analysis_that_errs_is_found(checks: ModuleType, infra: Path, was: str, becomes: str, found: str) -> None:
    text = (infra / ANALYSIS).read_text()
    assert was in text
    (infra / ANALYSIS).write_text(text.replace(was, becomes, 1))
    mistakes = checks.check_rollouts(infra, "overlays/staging")
    assert any(found in mistake for mistake in mistakes), mistakes
