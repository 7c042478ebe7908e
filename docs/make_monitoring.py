"""Writes docs/monitoring.md from the metrics, the alerts and the dashboards themselves: `make docs`."""

from pathlib import Path

from infra.checks.observability import Observability
from infra.observability.grafana.pages import PAGES
from infra.observability.series import FROM_KUBERNETES, Family, families
from serving.app.core.emf import CLOUDWATCH

PAGE = Path(__file__).with_name("monitoring.md")
HEAD = """# Monitoring

What a running server shows of itself: `/metrics` for Prometheus, a line a minute for CloudWatch, spans by OTLP
([serving](serving.md#spans)), one line of JSON a request in the log. Made by `make docs` from `infra/observability/`.

## Prometheus, Alertmanager, Grafana

| file below `infra/observability/` | what it is | where it is mounted |
|---|---|---|
| `prometheus/prometheus.yml`, `targets.yml` | scrape of one machine or a compose project | `/etc/prometheus/` |
| `prometheus/prometheus.kubernetes.yml` | scrape in a cluster: its pods, kube-state-metrics | `/etc/prometheus/prometheus.yml` |
| `prometheus/rules/` | recording rules and alerts | `/etc/prometheus/rules/` |
| `alertmanager/alertmanager.yml` | who hears of what; addresses are files in `/etc/alertmanager/secrets/` | `/etc/alertmanager/` |
| `grafana/provisioning/` | data source (`PROMETHEUS_URL`) and the folder of dashboards | `/etc/grafana/provisioning/` |
| `grafana/dashboards/` | the dashboards, made by `python -m infra.observability.grafana.make` | `/var/lib/grafana/dashboards/touchstone/` |
| `cloudwatch/` | a Terraform module: alarms for one channel | |

The scrape gives every series the label `environment`, by which rules, alerts and dashboards tell deployments apart. Everything is checked
by `python -m infra.checks.observability`: syntax, PromQL, the tests of the alerts, routes, runbooks, and that each metric that is asked
for exists. The objectives: 99.5 % of the questions are answered without an error of the server's, 95 % within 2.5 s, both over 30 days;
alerts look at how fast that budget burns, over a long window and a short one, so that they come early and end soon.

In a cluster kube-state-metrics tells how jobs and pods fare ([why so](adr/0051-jobs-are-watched-by-what-kubernetes-says.md)). A channel
that sleeps, a CronJob that is suspended and a cluster that was paused raise nothing. On one machine there is none, and alerts on it keep
quiet. Jobs run in the morning, when a cluster that is paused every night is there. It is never as old as two days, after which JobMissed
tells of an evaluation that is not begun: there the workflow `nightly` evaluates from outside, and JobFailed tells of what fails.

## CloudWatch

    TOUCHSTONE_EMF=true touchstone serve

A line a minute, and a last one at the end, in the Embedded Metric Format: CloudWatch makes metrics of it in whatever log group it
arrives, in the namespace `Touchstone` with the one dimension `Channel`. There are {number} of them and there will not be more with more
models, rules or routes, since each is billed. The line has to be the whole event: Fluent Bit puts it into a field of its own unless its
output has `log_key log` and `log_format json/emf`. They know what servers do, and nothing of jobs or of pods that do not start: without
Prometheus the workflow `nightly` is what tells of an evaluation that fails, and nothing tells of `ingest` and `store-gc`. The alarms are
a module:

    module "cloudwatch_alarms" {{
      source    = "../../observability/cloudwatch"
      channel   = "prod"
      topic_arn = aws_sns_topic.alarms.arn
    }}

`{names}`
"""

ALERTS = """`page` wakes somebody, `ticket` waits for the morning; of `dev`, `test` and `staging` all are tickets.

### Commands of the runbooks

Queries are typed into Prometheus or Grafana. What begins with `touchstone` is run in a checkout (`make setup`), by somebody whose AWS
credentials may write releases and channels, with the settings of the channel that the alert's `environment` names; without these it
would look into this checkout's own folders:

    infra/pipelines/settings.sh prod touchstone channel show prod

`kubectl` needs `aws eks update-kubeconfig --name <cluster>` once, and `--namespace touchstone-prod`. Redis is reached from inside of the
cluster only, and by the API's role: `touchstone cache …` is run as a job of the harness's image, made of one that is there but with the
API's account, and says in its log what it did.
Where no Redis is shared each server remembers for itself: `kubectl rollout restart deployment/touchstone-api`.

    kubectl create job cache-clear --from=cronjob/evaluate --dry-run=client --output json | jq '
      .spec.template.spec.serviceAccountName = "api" |
      .spec.template.spec.containers[0] |= (.command = ["touchstone", "cache", "clear"] | .env += [
        {name: "TOUCHSTONE_REDIS", valueFrom: {secretKeyRef: {name: "touchstone-api", key: "redis-url"}}},
        {name: "TOUCHSTONE_CACHE_SECRET", valueFrom: {secretKeyRef: {name: "touchstone-api", key: "cache-secret"}}}])' |
      kubectl apply --filename -
"""


def page() -> str:
    """The whole page."""
    names = "`, `".join(metric.name for metric in CLOUDWATCH)
    alerts = "".join(
        f"| [{alert['alert']}](runbooks/{alert['alert']}.md) | {alert['labels']['severity']} | {alert['annotations']['description']} |\n"
        for alert in Observability().alerts()
    )
    boards = "".join(f"- **{board.title}**: {board.about} Rows: {', '.join(row.title for row in board.rows)}.\n" for board in PAGES)
    rows = "".join(_row(family) for family in families() if family.name.startswith("touchstone_"))
    told = "".join(f"| `{name}` | {', '.join(f'`{label}`' for label in sorted(labels))} |\n" for name, labels in FROM_KUBERNETES.items())
    return (
        HEAD.format(number=len(CLOUDWATCH), names=names)
        + f"\n## Dashboards\n\n{boards}"
        + f"\n## Alerts\n\n{ALERTS}\n{_table('alert', 'urgency', 'what it says')}{alerts}"
        + "\n## Metrics\n\nBeside these, `process_…` and `python_info` of the process.\n\n"
        + f"{_table('metric', 'kind', 'labels', 'what it says')}{rows}"
        + f"\nOf kube-state-metrics, whose `namespace` the scrape gives as `environment` too:\n\n{_table('metric', 'labels')}{told}"
    )


def _table(*columns: str) -> str:
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"


def _row(family: Family) -> str:
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    return f"| `{name}` | {family.kind} | {', '.join(f'`{label}`' for label in family.labels)} | {family.about} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
