"""Everything below infra/observability/ and docs/runbooks/, checked without a network: `python -m infra.checks.observability`.

One line a check; exit code 1 where one does not hold, 77 where nothing is wrong but a tool is missing.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from infra.checks.cluster_metrics import schedules, told_by_kubernetes
from infra.checks.promises import ToolMissing, run_checks
from infra.observability.grafana import make
from infra.observability.series import FROM_KUBERNETES, FROM_PROMETHEUS, SCRAPED, app_series, asked
from serving.app.core.emf import CLOUDWATCH, DIMENSION, NAMESPACE

ROOT: Final = Path(__file__).parents[2]
INSTALL: Final = "apt-get install prometheus prometheus-alertmanager"
SECTIONS: Final = ("## What it means", "## How to see it", "## What to do", "## How to roll back")
BURN: Final = re.compile(r":ratio_rate(\w+) > ([\d.]+) \* ([\d.]+)")
# of the budget of 30 days: 2 % in an hour, 5 % in six, 10 % in a day, and in three; each with a short window that says it goes on
FAST: Final = (("1h", 14.4), ("5m", 14.4), ("6h", 6.0), ("30m", 6.0))
SLOW: Final = (("1d", 3.0), ("2h", 3.0), ("3d", 1.0), ("6h", 1.0))
SHARE: Final = re.compile(r"[<>]=? (0\.\d+)")
TRAFFIC: Final = 0.005  # answers a second, below which there is no rate of anything
COMMANDS: Final = ("touchstone ", "curl ", "kubectl ")
ROUTES: Final = (  # labels of an alert, and who hears of it
    ({"severity": "page", "environment": "prod"}, "pager"),
    ({"severity": "page", "environment": "touchstone-prod"}, "pager"),
    ({"severity": "page", "environment": "developers"}, "pager"),
    ({"severity": "page"}, "pager"),
    ({"severity": "page", "environment": "dev"}, "tickets"),
    ({"severity": "page", "environment": "touchstone-dev"}, "tickets"),
    ({"severity": "page", "environment": "touchstone-staging"}, "tickets"),
    ({"severity": "page", "environment": "touchstone-test"}, "tickets"),
    ({"severity": "ticket", "environment": "prod"}, "tickets"),
    ({"severity": "none", "alertname": "Watchdog"}, "heartbeat"),
    ({"alertname": "SomethingNew"}, "tickets"),
)

SELDOM_TIDIED = {"GOGC": "800"}  # with 250 MB promtool tries the rules in two thirds of the processor time


def run(*command: str, cwd: Path | None = None) -> str:
    """What a tool complains of; empty when it is content."""
    program = shutil.which(command[0])
    if program is None:
        raise ToolMissing(f"{command[0]} is not installed: {INSTALL}")
    done = subprocess.run([program, *command[1:]], cwd=cwd, env=os.environ | SELDOM_TIDIED, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else (done.stdout + done.stderr).strip() or f"exit code {done.returncode}"


class Observability:
    """The files of a checkout, and what is wrong with them: every check yields one line a mistake."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.folder = root / "infra" / "observability"
        self.rules = sorted((self.folder / "prometheus" / "rules").glob("*.yml"))

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert."""
        return [rule for rule in self._all_rules() if "alert" in rule]

    def _all_rules(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for path in self.rules:
            found += [rule for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]
        return found

    def dashboard_questions(self) -> list[tuple[str, str]]:
        """Every PromQL of the dashboards as Prometheus gets it, with where it stands."""
        return [
            (f"{path.name}: {panel['title']}", filled_in(target["expr"]))
            for path in sorted((self.folder / "grafana" / "dashboards").glob("*.json"))
            for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]
            for target in panel.get("targets", [])
        ]

    def runbook_questions(self) -> list[tuple[str, str]]:
        """Every PromQL that a runbook says to ask, with where it stands."""
        found = []
        for path in sorted((self.root / "docs" / "runbooks").glob("[A-Z]*.md")):
            seen = path.read_text(encoding="utf-8").partition("## How to see it")[2].partition("\n## ")[0]
            lines = [line.strip() for line in seen.splitlines() if line.startswith("    ")]
            found += [(f"docs/runbooks/{path.name}", line) for line in lines if not line.startswith(COMMANDS)]
        return found

    def questions(self) -> list[tuple[str, str]]:
        """Every PromQL that is asked anywhere, with where it stands."""
        rules = [(rule.get("alert") or rule["record"], rule["expr"]) for rule in self._all_rules()]
        return rules + self.dashboard_questions() + self.runbook_questions()

    def config(self) -> Iterator[str]:
        """Prometheus' configurations; Debian's promtool knows nothing of Kubernetes, so that its discovery is read as files."""
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "prometheus"
            shutil.copytree(self.folder / "prometheus", place)
            for path in sorted(place.glob("prometheus*.yml")):
                read = yaml.safe_load(path.read_text(encoding="utf-8"))
                for job in read["scrape_configs"]:
                    if job.pop("kubernetes_sd_configs", None):
                        job["file_sd_configs"] = [{"files": ["targets.yml"]}]
                path.write_text(yaml.safe_dump(read), encoding="utf-8")
                if complaint := run("promtool", "check", "config", str(path)):
                    yield f"{path.name}: {complaint}"

    def rule_files(self) -> Iterator[str]:
        """Rules: syntax, PromQL, templates."""
        if complaint := run("promtool", "check", "rules", *map(str, self.rules)):
            yield complaint

    def rule_tests(self) -> Iterator[str]:
        """The unit tests of the rules."""
        folder = self.folder / "prometheus" / "tests"
        for path in sorted(folder.glob("*_test.yml")):
            if complaint := run("promtool", "test", "rules", path.name, cwd=folder):
                yield f"{path.name}: {complaint}"

    def tested(self) -> Iterator[str]:
        """Every alert has a test in which it fires and one in which it does not."""
        text = "".join(path.read_text(encoding="utf-8") for path in (self.folder / "prometheus" / "tests").glob("*_test.yml"))
        for alert in self.alerts():
            name = alert["alert"]
            wanted = ("fires",) if name == "Watchdog" else ("fires", "quiet")
            for word in wanted:
                if f'- name: "{name} {word}:' not in text:
                    yield f"{name} has no test in which it {'fires' if word == 'fires' else 'keeps quiet'}"

    def alert_form(self) -> Iterator[str]:
        """Every alert says how urgent it is, of which part, in words, and where its runbook is."""
        for alert in self.alerts():
            name, labels, words = alert["alert"], alert.get("labels", {}), alert.get("annotations", {})
            if labels.get("severity") not in ("page", "ticket", "none"):
                yield f"{name}: severity {labels.get('severity')!r}; known: page, ticket, none"
            for needed in ("summary", "description"):
                if not words.get(needed):
                    yield f"{name} has no {needed}"
            if words.get("runbook") != f"docs/runbooks/{name}.md":
                yield f"{name}: runbook {words.get('runbook')!r}; expected: docs/runbooks/{name}.md"

    def runbooks(self) -> Iterator[str]:
        """Every alert has a runbook with its four sections, and every runbook an alert."""
        names = {alert["alert"] for alert in self.alerts()}
        pages = {path.stem: path for path in (self.root / "docs" / "runbooks").glob("[A-Z]*.md")}
        for name in sorted(names - pages.keys()):
            yield f"{name} has no runbook: write docs/runbooks/{name}.md"
        for name in sorted(pages.keys() - names):
            yield f"docs/runbooks/{name}.md is of no alert"
        for name in sorted(pages.keys() & names):
            lines = pages[name].read_text(encoding="utf-8").splitlines()
            if [line for line in lines if line.startswith("## ")] != list(SECTIONS):
                yield f"docs/runbooks/{name}.md: its sections are not {', '.join(SECTIONS)}"

    def thresholds(self) -> Iterator[str]:
        """A share that an alert begins at stands in its runbook, so that neither is moved alone; an objective has its burn rates."""
        for alert in self.alerts():
            name, page = alert["alert"], self.root / "docs" / "runbooks" / f"{alert['alert']}.md"
            text = page.read_text(encoding="utf-8") if page.is_file() else ""
            burns = [(window, float(rate), float(budget)) for window, rate, budget in BURN.findall(alert["expr"])]
            if burns and burns not in [[(*one, budget) for one in rates] for rates in (FAST, SLOW) for budget in (0.005, 0.05)]:
                yield f"{name}: {burns} are none of an objective's windows and burn rates"
            for number in {float(found) for found in SHARE.findall(alert["expr"])} - {TRAFFIC}:
                if not any(words in text for words in (f"{number * 100:g} %", f"{number * 100:g} points", f"{number:g} ")):
                    yield f"{name} begins at {number:g}, which docs/runbooks/{name}.md does not tell"

    def routes(self) -> Iterator[str]:
        """Alertmanager's configuration, and who hears of what. Debian's amtool is older than `url_file`, so that it reads addresses."""
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "alertmanager.yml"
            text = (self.folder / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
            place.write_text(re.sub(r"url_file: \S+/", "url: http://receiver.invalid/", text), encoding="utf-8")
            if complaint := run("amtool", "check-config", str(place)):
                yield complaint
                return
            for labels, receiver in ROUTES:
                given = [f"{name}={value}" for name, value in labels.items()]
                wanted = ["config", "routes", "test", f"--config.file={place}", f"--verify.receivers={receiver}", *given]
                if run("amtool", *wanted):
                    yield f"an alert with {' '.join(given)} does not go to {receiver}"

    def inhibitions(self) -> Iterator[str]:
        """Every alert that keeps another quiet in Alertmanager exists, and so does that other."""
        names = {alert["alert"] for alert in self.alerts()}
        read = yaml.safe_load((self.folder / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8"))
        for matcher in (one for rule in read["inhibit_rules"] for key in ("source_matchers", "target_matchers") for one in rule[key]):
            found = re.fullmatch(r'alertname =~? "?([^"]+)"?', matcher)
            for pattern in found[1].split("|") if found else [matcher]:
                if not any(re.fullmatch(pattern, name) for name in names):
                    yield f"alertmanager.yml: no alert {pattern!r} to be kept quiet, or for which another is"

    def dashboards(self) -> Iterator[str]:
        """The dashboards in git are those that pages.py makes, and their uids differ."""
        there = {path.name: path.read_text(encoding="utf-8") for path in (self.folder / "grafana" / "dashboards").glob("*.json")}
        for name in make.differing(there):
            yield f"{name} is not what pages.py makes; run: python -m infra.observability.grafana.make"

    def provisioning(self) -> Iterator[str]:
        """The data source that the dashboards name is the one that is provisioned."""
        folder = self.folder / "grafana" / "provisioning"
        sources = yaml.safe_load((folder / "datasources" / "prometheus.yml").read_text(encoding="utf-8"))["datasources"]
        known = {source["uid"] for source in sources}
        for path in sorted((self.folder / "grafana" / "dashboards").glob("*.json")):
            used = set(re.findall(r'"type": "prometheus",\s*"uid": "([^"]*)"', path.read_text(encoding="utf-8")))
            for uid in sorted(used - known):
                yield f"{path.name} asks the data source {uid!r}; provisioned: {', '.join(sorted(known))}"
        providers = yaml.safe_load((folder / "dashboards" / "touchstone.yml").read_text(encoding="utf-8"))["providers"]
        if [provider["type"] for provider in providers] != ["file"]:
            yield "the provider of dashboards is none of files"

    def parses(self) -> Iterator[str]:
        """Prometheus parses every question of the dashboards and of the runbooks."""
        asks = [ask for _, ask in self.dashboard_questions() + self.runbook_questions()]
        rules = [{"record": f"question:{number}", "expr": ask} for number, ask in enumerate(asks)]
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "questions.yml"
            place.write_text(yaml.safe_dump({"groups": [{"name": "questions", "rules": rules}]}), encoding="utf-8")
            if run("promtool", "check", "rules", str(place)):
                yield from self._unparsable()

    def _unparsable(self) -> Iterator[str]:
        with tempfile.TemporaryDirectory() as scratch:
            place = Path(scratch) / "question.yml"
            for where, ask in self.dashboard_questions() + self.runbook_questions():
                rule = {"record": "question", "expr": ask}
                place.write_text(yaml.safe_dump({"groups": [{"name": "question", "rules": [rule]}]}), encoding="utf-8")
                if complaint := run("promtool", "check", "rules", str(place)):
                    yield f"{where}: {ask}: {complaint.splitlines()[-1].strip()}"

    def metrics_exist(self) -> Iterator[str]:
        """Every series that an alert, a dashboard or a runbook names is in /metrics or recorded, with the labels it is chosen by."""
        series = app_series() | FROM_PROMETHEUS | FROM_KUBERNETES
        recorded = {
            rule["record"]: asked(rule["expr"]).grouped.union(rule.get("labels", {})) for rule in self._all_rules() if "record" in rule
        }
        known = series | recorded
        for where, expression in self.questions():
            found = asked(expression)
            for name in sorted(found.names - known.keys()):
                yield f"{where}: no metric {name!r}"
            for name, label in sorted(found.matched):
                if name in known and label not in known[name] | SCRAPED:
                    yield f"{where}: {name} has no label {label!r}; it has: {', '.join(sorted(known[name]))}"
            if found.names <= known.keys():
                labels = SCRAPED.union(found.made, *(known[name] for name in found.names))
                for label in sorted(found.grouped - labels):
                    yield f"{where}: grouped by {label!r}, which none of its series has"

    def cluster(self) -> Iterator[str]:
        """kube-state-metrics is asked for, may read and tells what our questions need; rules know when jobs run."""
        yield from told_by_kubernetes(self.root, [ask for _, ask in self.questions()])
        yield from schedules(self.root, self._all_rules())

    def cloudwatch(self) -> Iterator[str]:
        """CloudWatch's alarms ask for numbers that the server logs, in whole queries, and name a runbook."""
        read = json.loads((self.folder / "cloudwatch" / "alarms.tf.json").read_text(encoding="utf-8"))
        logged = {metric.name for metric in CLOUDWATCH}
        pages = {path.stem for path in (self.root / "docs" / "runbooks").glob("[A-Z]*.md")}
        for name, alarm in read["resource"]["aws_cloudwatch_metric_alarm"].items():
            queries = alarm["metric_query"]
            metrics = {query["id"]: query["metric"] for query in queries if "metric" in query}
            for metric in metrics.values():
                if (metric["namespace"], metric["dimensions"]) != (NAMESPACE, {DIMENSION: "${var.channel}"}) or metric[
                    "metric_name"
                ] not in logged:
                    yield f"alarm {name}: no metric {metric['metric_name']!r} is logged for a channel"
            for query in queries:
                used = set(re.findall(r"\b[a-z]\w*", query.get("expression", "")))
                for unknown in sorted(used - metrics.keys()):
                    yield f"alarm {name}: no query {unknown!r} in {query['expression']!r}"
            if sum(query["return_data"] for query in queries) != 1:
                yield f"alarm {name}: not one query returns data"
            runbook = re.search(r"docs/runbooks/(\w+)\.md", alarm["alarm_description"])
            if runbook is None or runbook[1] not in pages:
                yield f"alarm {name} names no runbook that is there"

    def checks(self) -> dict[str, Callable[[], Iterator[str]]]:
        """Every check by what it makes sure of."""
        return {
            "Prometheus' configurations are valid": self.config,
            "rules and alerts are valid": self.rule_files,
            "rules do what their tests say": self.rule_tests,
            "every alert has a test that fires it and one that does not": self.tested,
            "every alert is urgent, worded and explained": self.alert_form,
            "every alert has a runbook, every runbook an alert": self.runbooks,
            "alerts begin where their runbooks say": self.thresholds,
            "alerts go to whom they should": self.routes,
            "alerts that keep others quiet exist, and so do those": self.inhibitions,
            "dashboards are what pages.py makes": self.dashboards,
            "dashboards find their data source": self.provisioning,
            "Prometheus parses every question of a dashboard or a runbook": self.parses,
            "every metric that is asked for exists": self.metrics_exist,
            "kube-state-metrics tells what is asked of it, and rules know when jobs run": self.cluster,
            "CloudWatch's alarms ask for what the server logs": self.cloudwatch,
        }


def filled_in(expression: str) -> str:
    """PromQL with Grafana's variables filled in."""
    return expression.replace("$__rate_interval", "5m").replace("$__range", "1h").replace("$environment", ".*")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every check and say how it went."""
    argparse.ArgumentParser(prog="python -m infra.checks.observability", description=__doc__).parse_args(arguments)
    return run_checks(Observability().checks())


if __name__ == "__main__":
    sys.exit(main())
