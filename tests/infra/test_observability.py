"""Prometheus, Alertmanager, Grafana: what is there holds, and each thing that is broken is found."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from infra.checks.observability import ROOT, Observability, ToolMissing, main
from infra.observability.grafana.make import document
from infra.observability.grafana.pages import PAGES
from infra.observability.series import app_series, asked, families

tools = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("amtool") is None,
    reason="promtool or amtool is not installed: apt-get install prometheus prometheus-alertmanager",
)
NEEDS_NO_TOOL = [
    "tested", "alert_form", "runbooks", "thresholds", "dashboards", "provisioning", "metrics_exist", "cluster", "inhibitions", "cloudwatch",
]  # fmt: skip
STAGES = {"guard", "cache", "index", "retrieve", "route", "answer"}


@pytest.mark.parametrize("check", NEEDS_NO_TOOL)
def test_what_is_there_holds(check: str) -> None:
    assert list(getattr(Observability(), check)()) == []


@tools
@pytest.mark.parametrize("check", ["config", "rule_files", "routes", "parses"])
def test_what_is_there_holds_for_prometheus_own_tools(check: str) -> None:
    assert list(getattr(Observability(), check)()) == []


@tools
@pytest.mark.slow
def test_every_alert_fires_on_its_cause_and_keeps_quiet_on_what_looks_like_it() -> None:
    assert list(Observability().rule_tests()) == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "infra" / "observability", tmp_path / "infra" / "observability")
    shutil.copytree(ROOT / "infra" / "kubernetes", tmp_path / "infra" / "kubernetes")
    shutil.copytree(ROOT / "docs" / "runbooks", tmp_path / "docs" / "runbooks")
    return tmp_path


def change(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after, 1))


Breaking = Callable[[Path], object]
RULES = "infra/observability/prometheus/rules"
BOARDS = "infra/observability/grafana/dashboards"
BROKEN: list[tuple[str, str, Breaking, str]] = [
    (
        "a metric of a dashboard that does not exist",
        "metrics_exist",
        lambda root: change(root / BOARDS / "cost.json", "touchstone_unpriced_calls_total", "touchstone_unpriced_total"),
        "no metric 'touchstone_unpriced_total'",
    ),
    (
        "a metric of somebody else's in an alert",
        "metrics_exist",
        lambda root: change(root / RULES / "alerts.yml", "touchstone_keys_unreadable == 1", "http_requests_total > 1"),
        "no metric 'http_requests_total'",
    ),
    (
        "a label that a metric does not have",
        "metrics_exist",
        lambda root: change(root / RULES / "recording.yml", 'outcome="ungrounded"', 'verdict="ungrounded"'),
        "touchstone_role_answers_total has no label 'verdict'",
    ),
    (
        "a grouping by a label that is not there",
        "metrics_exist",
        lambda root: change(root / RULES / "recording.yml", "sum by (environment, role) (rate", "sum by (environment, model) (rate"),
        "grouped by 'model'",
    ),
    (
        "a dashboard changed by hand",
        "dashboards",
        lambda root: change(root / BOARDS / "safety.json", '"title": "guard"', '"title": "The guard"'),
        "safety.json is not what pages.py makes",
    ),
    ("a dashboard that no page makes", "dashboards", lambda root: (root / BOARDS / "mine.json").write_text("{}"), "mine.json is not what"),
    ("a dashboard that is gone", "dashboards", lambda root: (root / BOARDS / "cost.json").unlink(), "cost.json is not what"),
    (
        "another data source",
        "provisioning",
        lambda root: change(root / "infra/observability/grafana/provisioning/datasources/prometheus.yml", "uid: prometheus", "uid: prom"),
        "asks the data source 'prometheus'; provisioned: prom",
    ),
    ("a runbook that is missing", "runbooks", lambda root: (root / "docs/runbooks/NotReady.md").unlink(), "NotReady has no runbook"),
    ("a runbook of no alert", "runbooks", lambda root: (root / "docs/runbooks/Old.md").write_text("#"), "Old.md is of no alert"),
    (
        "a runbook that does not say how to roll back",
        "runbooks",
        lambda root: change(root / "docs/runbooks/NotReady.md", "## How to roll back", "## Other"),
        "NotReady.md: its sections are not",
    ),
    (
        "an alert without a test that it keeps quiet",
        "tested",
        lambda root: change(root / "infra/observability/prometheus/tests/alerts_test.yml", '- name: "NotReady quiet:', '- name: "x:'),
        "NotReady has no test in which it keeps quiet",
    ),
    (
        "an alert that links another's runbook",
        "alert_form",
        lambda root: change(root / RULES / "alerts.yml", "docs/runbooks/NotReady.md", "docs/runbooks/Other.md"),
        "expected: docs/runbooks/NotReady.md",
    ),
    (
        "an urgency that routes do not know",
        "alert_form",
        lambda root: change(root / RULES / "alerts.yml", "severity: page", "severity: critical"),
        "severity 'critical'; known",
    ),
]
BROKEN += [
    (
        "a metric of a runbook that does not exist",
        "metrics_exist",
        lambda root: change(root / "docs/runbooks/TracesWait.md", "    touchstone_traces_waiting", "    touchstone_traces_queued"),
        "docs/runbooks/TracesWait.md: no metric 'touchstone_traces_queued'",
    ),
    (
        "a threshold moved away from its runbook",
        "thresholds",
        lambda root: change(root / RULES / "alerts.yml", "ratio_rate15m > 0.05", "ratio_rate15m > 0.5"),
        "QuestionsFail begins at 0.5, which docs/runbooks/QuestionsFail.md does not tell",
    ),
    (
        "a burn rate over another window",
        "thresholds",
        lambda root: change(root / RULES / "alerts.yml", "errors:ratio_rate5m > 14.4", "errors:ratio_rate30m > 14.4"),
        "AvailabilityBurnsFast: [('1h', 14.4, 0.005), ('30m', 14.4, 0.005)",
    ),
    (
        "a burn rate that is none",
        "thresholds",
        lambda root: change(root / RULES / "alerts.yml", "slow:ratio_rate1d > 3 *", "slow:ratio_rate1d > 2 *"),
        "LatencyBurnsSlowly: [('1d', 2.0, 0.05)",
    ),
]
BROKEN.append(
    (
        "an alert that is kept quiet under a name of before",
        "inhibitions",
        lambda root: change(root / "infra/observability/alertmanager/alertmanager.yml", "[alertname = JobMissed]", "[alertname = JobLate]"),
        "no alert 'JobLate'",
    )
)
MONITORING, JOBS = "infra/kubernetes/monitoring", "infra/kubernetes/base/jobs"
BROKEN += [
    (
        "a label that kube-state-metrics does not give",
        "metrics_exist",
        lambda root: change(root / RULES / "recording.yml", 'kube_job_failed{condition="true"}', 'kube_job_failed{state="true"}'),
        "kube_job_failed has no label 'state'",
    ),
    (
        "a grouping by a label that nobody makes",
        "metrics_exist",
        lambda root: change(root / RULES / "recording.yml", '"cronjob", "$1", "owner_name"', '"job", "$1", "owner_name"'),
        "environment_cronjob:kube_job_failed:start_max: grouped by 'cronjob'",
    ),
    (
        "a metric of the cluster that is not listed",
        "metrics_exist",
        lambda root: change(root / "docs/runbooks/PodNotReady.md", "> 0 unless", "> 0 unless kube_node_info unless"),
        "docs/runbooks/PodNotReady.md: no metric 'kube_node_info'",
    ),
    (
        "a metric that kube-state-metrics is not told to show",
        "cluster",
        lambda root: change(root / MONITORING / "kube-state-metrics.yaml", "              kube_job_failed,\\\n", ""),
        "kube_job_failed is listed in series.py, and not shown by kube-state-metrics",
    ),
    (
        "a metric that nobody asks for",
        "cluster",
        lambda root: change(root / MONITORING / "kube-state-metrics.yaml", "kube_job_owner,", "kube_job_owner,kube_job_info,"),
        "kube_job_info is shown by kube-state-metrics, and not listed",
    ),
    (
        "a metric that is listed for nothing",
        "cluster",
        lambda root: change(root / RULES / "alerts.yml", "(kube_cronjob_created)", "(kube_cronjob_spec_suspend)"),
        "kube_cronjob_created is listed in series.py, and nobody asks for it",
    ),
    (
        "a kind that kube-state-metrics does not follow",
        "cluster",
        lambda root: change(root / MONITORING / "kube-state-metrics.yaml", "cronjobs,deployments,jobs", "cronjobs,deployments,nodes"),
        "kube-state-metrics does not follow jobs, of which a metric is listed",
    ),
    (
        "a right that is missing",
        "cluster",
        lambda root: change(root / MONITORING / "access.yaml", "resources: [cronjobs, jobs]", "resources: [cronjobs]"),
        "kube-state-metrics may not list jobs, and has to",
    ),
    (
        "a right that is of no use",
        "cluster",
        lambda root: change(root / MONITORING / "access.yaml", "resources: [cronjobs, jobs]", "resources: [cronjobs, jobs, nodes]"),
        "kube-state-metrics may watch nodes, and need not",
    ),
    (
        "a target that is not there",
        "cluster",
        lambda root: change(
            root / "infra/observability/prometheus/prometheus.kubernetes.yml", "kube-state-metrics:8080", "kube-state-metrics:8081"
        ),
        "Prometheus looks for kube-state-metrics at kube-state-metrics:8081; it is kube-state-metrics:8080",
    ),
    (
        "a job that runs at other times than its alert expects",
        "cluster",
        lambda root: change(root / JOBS / "ingest.yaml", "*/15 * * * *", "*/5 * * * *"),
        "CronJob ingest runs every 300 s; cronjob:touchstone_schedule:seconds has vector(900) for it",
    ),
    (
        "a job whose runs are not evenly apart",
        "cluster",
        lambda root: change(root / JOBS / "evaluate.yaml", "30 6 * * *", "30 6 * * 1-5"),
        "CronJob evaluate: of '30 6 * * 1-5' no rule knows how long it is",
    ),
    (
        "a job that no alert knows",
        "cluster",
        lambda root: change(root / JOBS / "store-gc.yaml", "  name: store-gc\n", "  name: tidy\n"),
        "cronjob:touchstone_schedule:seconds expects a job store-gc, of which there is none",
    ),
    (
        "a failed run that is forgotten too soon",
        "cluster",
        lambda root: change(root / JOBS / "evaluate.yaml", "ttlSecondsAfterFinished: 345600", "ttlSecondsAfterFinished: 86400"),
        "CronJob evaluate: a failed run is removed before the next one has ended",
    ),
]
ALARMS = "infra/observability/cloudwatch/alarms.tf.json"
BROKEN += [
    (
        "an alarm on a number that the server does not log",
        "cloudwatch",
        lambda root: change(root / ALARMS, '"metric_name": "FastRequests"', '"metric_name": "QuickRequests"'),
        "alarm slow: no metric 'QuickRequests' is logged",
    ),
    (
        "an alarm that computes with what it does not ask for",
        "cloudwatch",
        lambda root: change(root / ALARMS, "IF(all > 0, bad / all, 0)", "IF(all > 0, worse / all, 0)"),
        "alarm errors: no query 'worse'",
    ),
    (
        "an alarm without a runbook",
        "cloudwatch",
        lambda root: change(root / ALARMS, "docs/runbooks/NotReady.md", "docs/runbooks/Other.md"),
        "alarm not_ready names no runbook",
    ),
]
BROKEN_FOR_TOOLS: list[tuple[str, str, Breaking, str]] = [
    (
        "PromQL of a dashboard that does not parse",
        "parses",
        lambda root: change(root / BOARDS / "cost.json", "3600 * sum by (model) (rate", "3600 * sum by (model) rate(("),
        "cost.json: Dollars an hour, by model: 3600 * sum by (model) rate((",
    ),
    (
        "PromQL of a runbook that does not parse",
        "parses",
        lambda root: change(root / "docs/runbooks/TracesWait.md", "    touchstone_traces_waiting", "    touchstone_traces_waiting, up"),
        "docs/runbooks/TracesWait.md: touchstone_traces_waiting, up:",
    ),
    (
        "PromQL of an alert that does not parse",
        "rule_files",
        lambda root: change(root / RULES / "alerts.yml", "touchstone_ready == 0", "touchstone_ready = 0"),
        "could not parse expression",
    ),
    (
        "an unknown field of the scrape",
        "config",
        lambda root: change(root / "infra/observability/prometheus/prometheus.kubernetes.yml", "sample_limit", "sample_limits"),
        "sample_limits not found",
    ),
    (
        "pages that go to tickets",
        "routes",
        lambda root: change(root / "infra/observability/alertmanager/alertmanager.yml", "receiver: pager", "receiver: tickets"),
        "an alert with severity=page environment=prod does not go to pager",
    ),
    (
        "a receiver that does not exist",
        "routes",
        lambda root: change(root / "infra/observability/alertmanager/alertmanager.yml", "receiver: pager", "receiver: nobody"),
        "undefined receiver",
    ),
]


def broken(checkout: Path, check: str, breaking: Breaking) -> str:
    assert list(getattr(Observability(checkout), check)()) == []
    breaking(checkout)
    return "\n".join(getattr(Observability(checkout), check)())


@pytest.mark.parametrize(("what", "check", "breaking", "complaint"), BROKEN, ids=[row[0] for row in BROKEN])
def test_what_is_broken_is_found(checkout: Path, what: str, check: str, breaking: Breaking, complaint: str) -> None:
    assert complaint in broken(checkout, check, breaking)


@tools
@pytest.mark.parametrize(("what", "check", "breaking", "complaint"), BROKEN_FOR_TOOLS, ids=[row[0] for row in BROKEN_FOR_TOOLS])
def test_what_is_broken_is_found_by_prometheus_own_tools(checkout: Path, what: str, check: str, breaking: Breaking, complaint: str) -> None:
    assert complaint in broken(checkout, check, breaking)


@tools
def test_a_threshold_that_was_moved_is_found_by_the_tests_of_the_alerts(checkout: Path) -> None:
    folder = checkout / "infra/observability/prometheus/tests"
    for name in ("days_test.yml", "index_test.yml"):
        (folder / name).unlink()
    tests = yaml.safe_load((folder / "alerts_test.yml").read_text())
    tests["tests"] = [test for test in tests["tests"] if test["name"].startswith("EmptyRetrieval")]
    (folder / "alerts_test.yml").write_text(yaml.safe_dump(tests))
    assert list(Observability(checkout).rule_tests()) == []
    change(
        checkout / RULES / "alerts.yml", "touchstone_empty_retrieval:ratio_rate30m > 0.2", "touchstone_empty_retrieval:ratio_rate30m > 0.6"
    )
    [complaint] = Observability(checkout).rule_tests()
    assert 'alertname=\\"EmptyRetrieval\\"' in complaint
    assert "got: nil" in complaint


def test_a_tool_that_is_missing_is_said_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ToolMissing, match=r"promtool is not installed: apt-get install prometheus prometheus-alertmanager"):
        list(Observability().rule_files())


@tools
def test_the_command_says_what_it_checked_and_what_it_could_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Observability, "rule_tests", lambda self: iter(()))  # they take long, and have a test of their own
    assert main([]) == 0
    assert all(line.startswith("ok ") for line in capsys.readouterr().out.splitlines())
    monkeypatch.setenv("PATH", "/nowhere")
    assert main([]) == 77
    *_, last = capsys.readouterr().out.splitlines()
    assert last == "skipped: promtool is not installed: apt-get install prometheus prometheus-alertmanager"
    monkeypatch.setattr(Observability, "runbooks", lambda self: iter(["X has no runbook"]))
    assert main([]) == 1
    assert "         X has no runbook" in capsys.readouterr().out.splitlines()


def test_dashboards_are_the_same_bytes_each_time_with_an_id_for_every_panel() -> None:
    import json

    for page in PAGES:
        assert document(page) == document(page)
        panels = json.loads(document(page))["panels"]
        assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
        taken = [
            (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
            for panel in panels
            for x in range(panel["gridPos"]["w"])
            for y in range(panel["gridPos"]["h"])
        ]
        assert len(taken) == len(set(taken)), "panels overlap"
    assert len({page.uid for page in PAGES}) == len(PAGES) == 6


def test_the_rows_are_named_by_the_stages() -> None:
    titles = {row.title for page in PAGES for row in page.rows}
    assert titles >= STAGES


def test_names_and_labels_are_read_from_promql() -> None:
    found = asked(
        'sum by (role) (rate(a_total{x="y", z=~"b{c}"}[5m] offset 1h)) / on (q) group_left b:c:d and 0.5 * max_over_time(e[1h]) > bool 3'
    )
    assert found.names == {"a_total", "b:c:d", "e"}
    assert found.matched == {("a_total", "x"), ("a_total", "z")}
    assert found.grouped == {"role", "q"}
    assert asked('max by (b) (label_replace(x{y="z"}, "b", "$1", "y", "(.+)"))').made == {"b"}


def test_every_metric_of_the_server_is_known_with_its_labels() -> None:
    series = app_series()
    assert series["touchstone_requests_total"] == {"route", "status"}
    assert series["touchstone_request_seconds_bucket"] == {"route", "le"}
    assert series["touchstone_cache_reach"] == {"reach"}
    assert series["touchstone_ready"] == series["process_resident_memory_bytes"] == set()
    assert all(family.about for family in families())
