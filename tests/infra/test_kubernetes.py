"""The manifests fit their schemas and our rules; what breaks one of them is found."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from fastapi.routing import APIRoute

from infra.checks import custom_kinds
from infra.checks import kubernetes as checks
from infra.checks.kubernetes_agreement import command_mistake
from infra.observability.series import families
from serving.app.admin.routes import router
from serving.app.release.wire import ReadyOut

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")]


@pytest.fixture
def infra(tmp_path: Path) -> Path:
    """A copy of the manifests, to break."""
    for name in ("kubernetes", "observability"):
        shutil.copytree(ROOT / "infra" / name, tmp_path / "infra" / name)
    return tmp_path / "infra" / "kubernetes"


@pytest.mark.parametrize("name", [*checks.OVERLAYS, *checks.ALONE])
def test_a_kustomization_renders_fits_its_schemas_and_keeps_the_rules(name: str) -> None:
    assert checks.check(ROOT / "infra/kubernetes" / name, by_digest=name.endswith("prod")) == []


def test_every_address_that_alerts_go_to_is_a_file_that_a_secret_brings() -> None:
    config = yaml.safe_load((ROOT / "infra/observability/alertmanager/alertmanager.yml").read_text())
    asked = {hook["url_file"] for receiver in config["receivers"] for hook in receiver.get("webhook_configs", [])}
    docs = checks.render(ROOT / "infra/kubernetes/monitoring")
    [pod] = [doc["spec"]["template"]["spec"] for doc in docs if doc["kind"] == "Deployment" and doc["metadata"]["name"] == "alertmanager"]
    [config_map, secret] = next(volume["projected"]["sources"] for volume in pod["volumes"] if volume["name"] == "config")
    assert {f"/etc/alertmanager/{item['path']}" for item in secret["secret"]["items"]} == asked
    assert config_map["configMap"]["name"].startswith("alertmanager-config-")  # the one with its hash


def test_every_claim_has_a_class_and_every_policy_is_kept() -> None:
    docs = checks.render(ROOT / "infra/kubernetes/cluster")
    [storage] = [doc for doc in docs if doc["kind"] == "StorageClass"]
    assert storage["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"] == "true"
    assert storage["provisioner"] == "ebs.csi.eks.amazonaws.com"
    [policies] = [doc for doc in docs if doc["kind"] == "ConfigMap"]
    assert policies["data"] == {"enable-network-policy-controller": "true"}


def _fewest(docs: list[dict[str, Any]]) -> int:
    """How many pods an autoscaler leaves of what says no number itself."""
    return next((doc["spec"]["minReplicas"] for doc in docs if doc["kind"] == "HorizontalPodAutoscaler"), 1)


def test_the_nodes_of_the_bill_hold_what_asks_for_them() -> None:
    """Cores of deployments, at work and while those that KEDA scales to nothing sleep; m6i.large has two, and the system takes some."""
    awake = asleep = 0.0
    for name in ("overlays/dev", "overlays/staging", "overlays/prod", "mlflow", "monitoring"):
        docs = checks.render(ROOT / "infra/kubernetes" / name)
        asked = sum(
            doc["spec"].get("replicas", _fewest(docs)) * float(str(container["resources"]["requests"]["cpu"]).replace("m", "e-3"))
            for doc in docs
            if doc["kind"] == "Deployment"
            for container in doc["spec"]["template"]["spec"]["containers"]
        )
        awake += asked
        asleep += 0.0 if any(doc["kind"] == "ScaledObject" and doc["spec"]["minReplicaCount"] == 0 for doc in docs) else asked
    nodes = yaml.safe_load((ROOT / "infra/costs/usage.yaml").read_text())["nodes"]
    assert nodes["type"] == "m6i.large"
    assert awake <= nodes["working"] * 1.9
    assert asleep <= nodes["off_hours"] * 1.9


DEPLOYMENT = "base/api/deployment.yaml"
REDIS = "            - name: TOUCHSTONE_REDIS"
UNKNOWN = f"            - {{name: TOUCHSTONE_CHANEL, value: x}}\n{REDIS}"
IN_PLAIN_TEXT = f"            - {{name: MY_PASSWORD, value: hunter2}}\n{REDIS}"
IN_AN_ADDRESS = f"            - {{name: BROKER, value: 'amqp://me:hunter2@queue'}}\n{REDIS}"
OF_ITS_HOST = "      volumes:\n        - {name: host, hostPath: {path: /}}\n"
UNBOUNDED = "        - name: scratch\n          emptyDir: {}\n"
AS_ROOT = "          securityContext:\n            runAsUser: 0\n"
INGEST, EVALUATE, POLICY, BUDGET = "base/jobs/ingest.yaml", "base/jobs/evaluate.yaml", "base/networkpolicy.yaml", "base/api/disruption.yaml"
BLOCK = "        - ipBlock: {cidr: 10.40.0.0/16}"
OURS = "000000000000.dkr.ecr.us-east-1.amazonaws.com/touchstone"
SECRETS, OVERLAY = "base/secrets.yaml", "overlays/prod/kustomization.yaml"


@pytest.mark.parametrize(
    ("file", "was", "becomes", "found"),
    [
        (DEPLOYMENT, "runAsNonRoot: true", "runAsNonRoot: false", "runs as root"),
        (DEPLOYMENT, "          securityContext:\n", AS_ROOT, "api runs as root"),
        (DEPLOYMENT, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "may write to its root"),
        (DEPLOYMENT, "drop: [ALL]", "drop: [NET_RAW]", "keeps capabilities"),
        (DEPLOYMENT, "              drop: [ALL]", "              drop: [ALL]\n              add: [SYS_ADMIN]", "keeps capabilities"),
        (DEPLOYMENT, "allowPrivilegeEscalation: false", "allowPrivilegeEscalation: true", "may gain privileges"),
        (DEPLOYMENT, "      automountServiceAccountToken: false\n", "", "mounts a token"),
        (DEPLOYMENT, "              memory: 2Gi\n", "", "no limit of memory"),
        (DEPLOYMENT, "      volumes:\n", OF_ITS_HOST, "reaches into its host"),
        (DEPLOYMENT, "      enableServiceLinks: false\n", "      hostNetwork: true\n", "reaches into its host"),
        (DEPLOYMENT, "containerPort: 8080", "containerPort: 8080\n              hostPort: 8080", "takes a port of its host"),
        (DEPLOYMENT, "        - name: scratch\n          emptyDir: {sizeLimit: 1Gi}\n", UNBOUNDED, "may fill its node"),
        (DEPLOYMENT, "sleep: {seconds: 10}", "sleep: {seconds: 2}", "is ended before its longest question"),
        (DEPLOYMENT, "maxUnavailable: 0", "maxUnavailable: 1", "takes pods away"),
        (DEPLOYMENT, "          livenessProbe:", "          liveProbe:", "liveProbe"),
        (DEPLOYMENT, "{path: /readyz, port: http}", "{path: /readyz, port: https}", "readinessProbe: api has no port 'https'"),
        (DEPLOYMENT, "  revisionHistoryLimit: 3", "  replicas: 3", "as its autoscaler does"),
        (DEPLOYMENT, REDIS, UNKNOWN, "no setting"),
        (DEPLOYMENT, REDIS, IN_PLAIN_TEXT, "plain text"),
        (DEPLOYMENT, REDIS, IN_AN_ADDRESS, "BROKER has a password in it"),
        (DEPLOYMENT, "key: redis-url", "key: redis", "no volume of the pod brings the secret touchstone-api with redis"),
        (DEPLOYMENT, "secretProviderClass: touchstone-api", "secretProviderClass: keys", "there is no SecretProviderClass keys"),
        (DEPLOYMENT, "serviceAccountName: api", "serviceAccountName: apis", "there is no ServiceAccount apis"),
        ("base/settings.env", "TOUCHSTONE_STAGES=", "TOUCHSTONE_STAGEZ=", "is no setting"),
        ("base/settings.env", "TOUCHSTONE_STAGES=", "password=hunter2\nTOUCHSTONE_STAGES=", "password has a password in it"),
        (BUDGET, "app.kubernetes.io/name: touchstone-api", "app.kubernetes.io/name: other", "no disruption budget"),
        (BUDGET, "maxUnavailable: 1", "maxUnavailable: 0", "lets no pod go"),
        (BUDGET, "maxUnavailable: 1", "minAvailable: 3", "lets no pod go"),
        ("base/api/autoscaling.yaml", "    name: touchstone-api\n  min", "    name: other\n  min", "one autoscaler"),
        (POLICY, "  podSelector: {}", "  podSelector: {matchLabels: {a: b}}", "CronJob ingest: no network policy covers it"),
        (POLICY, "        - {port: 53, protocol: UDP}", "        - {port: 54, protocol: UDP}", None),
        (POLICY, "{cidr: 169.254.170.23/32}", "{cidr: 169.254.170.2/32}", "gets no rights of AWS"),
        (POLICY, "{port: 6379, protocol: TCP}", "{port: 6378, protocol: TCP}", "cannot reach the cache: port 6379 is closed"),
        (POLICY, "{port: 5000, protocol: TCP}", "{port: 5001, protocol: TCP}", "cannot reach MLflow: port 5000 is closed"),
        (POLICY, "{port: 443, protocol: TCP}", "{port: 444, protocol: TCP}", "cannot reach AWS: port 443 is closed"),
        (POLICY, "  egress:\n", "  egress:\n    - {}\n", "lets everything out"),
        (POLICY, "            except: [169.254.0.0/16]\n", "", "lets pods ask their node for its rights"),
        ("base/api/ingress.yaml", "deregistration_delay.timeout_seconds=70", "deregistration_delay.timeout_seconds=5", "balancer cuts off"),
        (DEPLOYMENT, "httpGet: {path: /readyz", "httpGet: {path: /livez", "is ready by /readyz"),
        (POLICY, "metadata.name: touchstone-monitoring\n---", "metadata.name: monitoring\n---", "lets touchstone-monitoring in"),
        ("base/api/ingress.yaml", "scheme: internal", "scheme: internet-facing", "its balancer is open to the world"),
        ("base/api/ingress.yaml", '{"HTTPS": 443}', '{"HTTP": 80}', "its balancer answers without TLS"),
        ("base/api/ingress.yaml", "healthcheck-path: /readyz", "healthcheck-path: /livez", "pods that are not ready"),
        (DEPLOYMENT, "topologyKey: kubernetes.io/hostname", "topologyKey: kubernetes.io/arch", "all be in one hostname"),
        (SECRETS, '    usePodIdentity: "true"\n', "", "asks by the rights of no pod"),
        (POLICY, f"      from:\n{BLOCK}", f"      to:\n{BLOCK}", "'to' was unexpected"),
        ("base/namespace.yaml", "enforce: restricted", "enforce: baseline", "lets any pod in"),
        ("base/api/service.yaml", "name: touchstone-api\n  ports", "name: other\n  ports", "no service finds it"),
        ("base/api/service.yaml", "targetPort: http", "targetPort: web", "a port 'web' that it does not have"),
        ("base/api/ingress.yaml", "    name: http", "    name: web", "no service touchstone-api with a port 'web'"),
        (INGEST, "--channel=", "--chanel=", "No such option: --chanel"),
        (INGEST, "$(TOUCHSTONE_CHANNEL)", "$(CHANNEL)", "job: nobody tells it CHANNEL"),
        (EVALUATE, "channel, evaluate", "channel, measure", "no command measure"),
        (EVALUATE, "      activeDeadlineSeconds: 14400\n", "", "may run for ever"),
        (EVALUATE, "concurrencyPolicy: Forbid", "concurrencyPolicy: Allow", "may run twice"),
        (SECRETS, "{objectName: redis-url, key: redis-url}", "{objectName: redis, key: redis-url}", "'redis' is nothing that it fetches"),
        (SECRETS, "  provider: aws", "  provder: aws", "'provder' is no field of it"),
        (OVERLAY, "objectAlias: keys.yaml", "objectAllias: keys.yaml", "'objectAllias' is no field of it"),
        (OVERLAY, "    digest: sha256:" + "0" * 64, "    newTag: '1.0'", "touchstone-serving:1.0', which is not named by its digest"),
        (OVERLAY, f"{OURS}-harness\n    digest: sha256:{'0' * 64}", f"{OURS}-harness\n    newTag: '1.0'", "CronJob ingest: job runs"),
        (OVERLAY, f"{OURS}-harness\n    digest: sha256:{'0' * 64}", f"{OURS}-harness\n    newTag: latest", "CronJob evaluate: job runs"),
    ],
)  # fmt: skip
def test_what_is_broken_is_found(infra: Path, file: str, was: str, becomes: str, found: str | None) -> None:
    text = (infra / file).read_text()
    assert was in text
    (infra / file).write_text(text.replace(was, becomes, 1))
    mistakes = checks.check(infra / "overlays" / "prod", by_digest=True)
    if found is None:
        assert mistakes == []  # names may still be asked for over TCP
    else:
        assert any(found in mistake for mistake in mistakes), mistakes


RAYJOB = "ray/rayjob.yaml"
ACCESS, MONITORED, TELLER = "monitoring/access.yaml", "monitoring/networkpolicy.yaml", "monitoring/kube-state-metrics.yaml"
MLFLOW = "mlflow/deployment.yaml"
SECRET = "\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: hunter2}\n"


@pytest.mark.parametrize(
    ("folder", "file", "was", "becomes", "found"),
    [
        ("overlays/dev", POLICY, "    - ports: # names", "    - to: [{podSelector: {}}]\n      ports: # names", "cannot ask for names"),
        ("overlays/staging", "overlays/staging/kustomization.yaml", "newTag: 0.1.0", "newTag: latest", "may be another one"),
        ("ray", RAYJOB, "shutdownAfterJobFinishes", "shutDownAfterJobFinishes", "'shutDownAfterJobFinishes' is no field of it"),
        ("ray", RAYJOB, "submissionMode: HTTPMode", "submissionMode: HTTP", "'HTTP' is none of K8sJobMode"),
        ("ray", RAYJOB, "dashboard-host: \"0.0.0.0\"", "dashboard-host: 0", "has to be a text"),
        ("ray", RAYJOB, "                readOnlyRootFilesystem: true", "                readOnlyRoot: true", "readOnlyRoot"),
        ("ray", RAYJOB, "rayVersion: \"2.60.0\"", "rayVersion: \"2.9.0\"", "rayVersion is '2.9.0', and the image has"),
        ("ray", RAYJOB, "        replicas: 4", "        replicas: 3", "counts on 8 workers, and the cluster has 6 cores"),
        ("ray", RAYJOB, "--engine ray", "--enginge ray", "No such option: --enginge"),
        ("ray", RAYJOB, "                livenessProbe: *alive\n", "", "no livenessProbe"),
        ("ray", RAYJOB, "claimName: sweep-reports", "claimName: sweep-report", "there is no PersistentVolumeClaim sweep-report"),
        ("ray-index", "ray-index/networkpolicy.yaml", "  ingress:\n    - from:", "  ingress:\n    - {}\n    - from:", "lets everybody in"),
        ("ray", "ray/networkpolicy.yaml", "policyTypes: [Egress]", "policyTypes: [Ingress]", "may reach anything"),
        ("ray", "ray/networkpolicy.yaml", "{port: 5000, protocol: TCP}", "{port: 5001, protocol: TCP}", "cannot reach MLflow"),
        ("mlflow", "mlflow/networkpolicy.yaml", ", {port: 5432, protocol: TCP}", "", "cannot reach its database"),
        ("mlflow", MLFLOW, "                name: settings", "                name: other", "there is no ConfigMap other"),
        ("mlflow", "mlflow/secrets.yaml", "  secretObjects:", SECRET + "x: {y:", "does not render"),
        ("monitoring", ACCESS, "prometheus\n---", f"prometheus{SECRET}---", "a secret stands in plain text"),
        ("monitoring", MONITORED, "policyTypes: [Ingress]", "policyTypes: [Egress]", "no network policy covers it"),
        ("monitoring", MONITORED, "values: [kube-state-metrics]", "values: [grafana]", "Deployment grafana: no network policy covers it"),
        ("monitoring", MONITORED, "operator: NotIn", "operator: In", "Deployment prometheus: no network policy covers it"),
        ("monitoring", MONITORED, "{port: 53, protocol: UDP}", "{port: 54, protocol: UDP}", None),
        ("monitoring", MONITORED, "    - ports: [{port: 53", "    - to: [{podSelector: {}}]\n      ports: [{port: 53", "ask for names"),
        ("monitoring", ACCESS, "resources: [deployments]", "resources: [deployments, secrets]", "may read 'secrets'"),
        ("monitoring", ACCESS, "resources: [cronjobs, jobs]", 'resources: ["*"]', "may read '*'"),
        ("monitoring", ACCESS, "[cronjobs, jobs]\n    verbs: [list,", "[jobs]\n    verbs: [delete,", "may delete jobs"),
        ("monitoring", TELLER, "serviceAccountName: kube-state-metrics", "serviceAccountName: ksm", "there is no ServiceAccount ksm"),
        ("monitoring", TELLER, "kube-state-metrics:v2.19.1", "kube-state-metrics:latest", "may be another one tomorrow"),
        ("monitoring", TELLER, "{path: /readyz, port: telemetry}", "{path: /readyz, port: status}", "has no port 'status'"),
        ("monitoring", "monitoring/grafana.yaml", "      automountServiceAccountToken: false\n", "", "grafana: mounts a token"),
    ],
)  # fmt: skip
def test_what_is_broken_elsewhere_is_found(infra: Path, folder: str, file: str, was: str, becomes: str, found: str | None) -> None:
    text = (infra / file).read_text()
    assert was in text
    (infra / file).write_text(text.replace(was, becomes, 1))
    mistakes = checks.check(infra / folder)
    if found is None:
        assert mistakes == []  # names may still be asked for over TCP
        return
    assert any(found in mistake for mistake in mistakes), mistakes


@pytest.mark.parametrize(("overlay", "component"), checks.COMPONENTS)
def test_an_overlay_may_take_a_component_up(overlay: str, component: str) -> None:
    with checks.taken_up(overlay, component) as folder:
        assert checks.check(folder, by_digest=overlay.endswith("prod")) == []


def test_an_unknown_field_of_a_component_is_found_with_and_without_its_schema(infra: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = infra / "components/off-hours/scaledobject.yaml"
    file.write_text(file.read_text().replace("cooldownPeriod", "coolPeriod"))
    with checks.taken_up("overlays/staging", "off-hours", infra) as folder:
        assert any("coolPeriod" in mistake for mistake in checks.check(folder))
        monkeypatch.setattr(checks, "SCHEMAS", infra / "nowhere")
        assert any("'coolPeriod' is no field of it" in mistake for mistake in checks.check(folder))


def test_a_channel_without_network_policies_is_found(infra: Path) -> None:
    file = infra / "base/kustomization.yaml"
    file.write_text(file.read_text().replace("  - networkpolicy.yaml\n", ""))
    mistakes = checks.check(infra / "overlays" / "dev")
    assert "Deployment touchstone-api: no network policy covers it" in mistakes


def test_a_document_that_kubectl_could_not_apply_is_found(infra: Path) -> None:
    file = infra.parent / "observability/grafana/dashboards/cost.json"
    file.write_text(file.read_text() + " " * 300_000)
    assert any("is too long for kubectl apply" in mistake for mistake in checks.check(infra / "monitoring"))


def test_every_kind_has_a_schema_or_fields_that_are_known(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checks, "SCHEMAS", tmp_path)  # no folder of anybody's
    docs = [doc for name in (*checks.OVERLAYS, *checks.ALONE) for doc in checks.render(ROOT / "infra/kubernetes" / name)]
    with checks.taken_up("overlays/staging", "off-hours") as folder:
        docs += checks.render(folder)
    assert checks.unchecked(docs) == set()
    assert {"RayJob", "SecretProviderClass", "ScaledObject"} <= {doc["kind"] for doc in docs if custom_kinds.known(doc)}


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (["touchstone", "store", "gc", "--indexes", "--unused-days", "30"], ""),
        (["touchstone", "store", "gc", "--indexes", "--unused-days", "many"], "many"),
        (["touchstone", "store", "gx"], "no command gx"),
        (["touchstone"], "no command is named"),
    ],
)
def test_a_command_is_read_without_being_carried_out(words: list[str], mistake: str) -> None:
    assert command_mistake(words) == "" if not mistake else mistake in command_mistake(words)


def test_every_channels_jobs_work_for_it() -> None:
    for channel in ("dev", "staging", "prod"):
        docs = checks.render(ROOT / "infra/kubernetes/overlays" / channel)
        told = next(doc["data"] for doc in docs if doc["kind"] == "ConfigMap" and doc["metadata"]["name"].startswith("settings"))
        assert told["TOUCHSTONE_CHANNEL"] == channel
        jobs = {doc["metadata"]["name"]: doc["spec"]["jobTemplate"]["spec"]["template"]["spec"] for doc in docs if doc["kind"] == "CronJob"}
        for name in ("ingest", "evaluate"):
            assert "$(TOUCHSTONE_CHANNEL)" in " ".join(jobs[name]["containers"][0]["command"])


def test_the_cluster_has_what_auto_mode_does_not_bring() -> None:
    docs = {doc["kind"]: doc for doc in checks.render(ROOT / "infra/kubernetes/cluster")}
    assert docs["ConfigMap"]["data"] == {"enable-network-policy-controller": "true"}
    assert docs["StorageClass"]["metadata"]["annotations"] == {"storageclass.kubernetes.io/is-default-class": "true"}
    ingress = next(doc for doc in checks.render(ROOT / "infra/kubernetes/overlays/prod") if doc["kind"] == "Ingress")
    assert ingress["spec"]["ingressClassName"] == docs["IngressClass"]["metadata"]["name"]


def test_the_adapter_answers_for_the_metric_that_the_component_asks_for(infra: Path) -> None:
    with checks.taken_up("overlays/prod", "by-traffic") as folder:
        scaler = next(doc for doc in checks.render(folder) if doc["kind"] == "HorizontalPodAutoscaler")
    asked = {one["pods"]["metric"]["name"] for one in scaler["spec"]["metrics"] if one["type"] == "Pods"}
    rules = yaml.safe_load((infra / "components/by-traffic/adapter.yaml").read_text())["rules"]["custom"]
    assert {rule["name"]["as"] for rule in rules} == asked
    known = {family.name for family in families()}
    for rule in rules:
        assert set(re.findall(r"touchstone_\w+", rule["metricsQuery"])) <= known
        query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>", 'environment="touchstone-prod"')
        if shutil.which("promtool"):
            file = infra / "rule.yml"
            file.write_text(yaml.safe_dump({"groups": [{"name": "adapter", "rules": [{"record": "a:b", "expr": query}]}]}))
            assert subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True).returncode == 0


def test_network_policies_mean_the_network_that_terraform_makes() -> None:
    network = yaml.safe_load((ROOT / "infra/names.yaml").read_text())["cidr"]
    policies = (ROOT / "infra/kubernetes/base/networkpolicy.yaml").read_text()
    assert set(re.findall(r"cidr: (10\.[\d./]+)", policies)) == {network}


ANALYSIS = "components/rollouts/analysis.yaml"


@pytest.mark.parametrize("overlay", ["overlays/dev", "overlays/staging", "overlays/prod"])
def test_the_analysis_of_argo_rollouts_asks_what_is_there_in_every_overlay(overlay: str) -> None:
    assert checks.check_rollouts(overlay) == []


def test_the_analysis_reads_what_the_api_answers() -> None:
    template = yaml.safe_load((ROOT / "infra/kubernetes" / ANALYSIS).read_text())
    web = {metric["name"]: metric["provider"].get("web", {}) for metric in template["spec"]["metrics"]}
    routes = {route.path: route for route in router.routes if isinstance(route, APIRoute)}
    path = web["no-worse"]["url"].partition(".local")[2].replace("{{args.channel}}", "{name}")
    answer = routes[path].response_model
    field = web["no-worse"]["jsonPath"].removeprefix("{$.").removesuffix("}")
    words = set(get_args(answer.model_fields[field].annotation))
    assert {"worse", "no worse", "better"} < words
    ready = web["serves-what-is-promoted"]
    assert ready["jsonPath"] == "{$}"
    [metric] = [one for one in template["spec"]["metrics"] if one["name"] == "serves-what-is-promoted"]
    assert set(re.findall(r"result\.(\w+)", metric["successCondition"])) <= set(ReadyOut.model_fields)


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
def test_an_analysis_that_errs_is_found(infra: Path, was: str, becomes: str, found: str) -> None:
    text = (infra / ANALYSIS).read_text()
    assert was in text
    (infra / ANALYSIS).write_text(text.replace(was, becomes, 1))
    mistakes = checks.check_rollouts("overlays/staging", infra)
    assert any(found in mistake for mistake in mistakes), mistakes
