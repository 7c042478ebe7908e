"""What Prometheus knows of the cluster: whether kube-state-metrics tells it, and whether rules know when CronJobs run."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from infra.observability.series import FROM_KUBERNETES, asked

TELLER: Final = "kube-state-metrics"
PERIOD: Final = "cronjob:touchstone_schedule:seconds"
# Schedules of which every run comes the same time after the one before: minutes, a time of the day, a time of a day of the week
PERIODS: Final = (
    (re.compile(r"\*/(\d+) \* \* \* \*"), lambda found: int(found[1]) * 60),
    (re.compile(r"\d+ \d+ \* \* \*"), lambda _: 86_400),
    (re.compile(r"\d+ \d+ \* \* \d"), lambda _: 604_800),
)


def told_by_kubernetes(root: Path, questions: Iterable[str]) -> Iterator[str]:
    """Where what is asked for, what kube-state-metrics is told to show, and what it may read do not agree."""
    docs = [*_documents(root, "monitoring/kube-state-metrics.yaml"), *_documents(root, "monitoring/access.yaml")]
    [pod] = [doc["spec"]["template"]["spec"] for doc in docs if doc["kind"] == "Deployment"]
    arguments = dict(word.removeprefix("--").split("=", 1) for word in pod["containers"][0]["args"])
    shown, resources = set(arguments["metric-allowlist"].split(",")), set(arguments["resources"].split(","))
    needed = {name.split("_")[1] + "s" for name in FROM_KUBERNETES}
    wanted = set().union(*(asked(question).names for question in questions)) & FROM_KUBERNETES.keys()
    for name in sorted(FROM_KUBERNETES.keys() - wanted):
        yield f"{name} is listed in series.py, and nobody asks for it"
    for name in sorted(shown - FROM_KUBERNETES.keys()):
        yield f"{name} is shown by {TELLER}, and not listed in series.py"
    for name in sorted(FROM_KUBERNETES.keys() - shown):
        yield f"{name} is listed in series.py, and not shown by {TELLER}"
    for what in sorted(resources - needed):
        yield f"{TELLER} follows {what}, of which no metric is listed"
    for what in sorted(needed - resources):
        yield f"{TELLER} does not follow {what}, of which a metric is listed"
    rights = {
        (verb, what)
        for doc in docs
        if doc["kind"] == "ClusterRole" and doc["metadata"]["name"].endswith(TELLER)
        for rule in doc["rules"]
        for what in rule["resources"]
        for verb in rule["verbs"]
    }
    used = {(verb, what) for what in resources for verb in ("list", "watch")}
    for verb, what in sorted(rights - used):
        yield f"{TELLER} may {verb} {what}, and need not"
    for verb, what in sorted(used - rights):
        yield f"{TELLER} may not {verb} {what}, and has to"
    config = yaml.safe_load((root / "infra/observability/prometheus/prometheus.kubernetes.yml").read_text(encoding="utf-8"))
    services = {f"{doc['metadata']['name']}:{doc['spec']['ports'][0]['port']}" for doc in docs if doc["kind"] == "Service"}
    targets = {
        target
        for job in config["scrape_configs"]
        if job["job_name"] == TELLER
        for one in job["static_configs"]
        for target in one["targets"]
    }
    if targets != services:
        yield f"Prometheus looks for {TELLER} at {', '.join(sorted(targets)) or 'no place'}; it is {', '.join(sorted(services))}"


def schedules(root: Path, rules: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Where a CronJob runs at other times than the rules expect, or forgets a failed run before the next has ended."""
    expected = {rule["labels"]["cronjob"]: rule["expr"] for rule in rules if rule.get("record") == PERIOD}
    jobs = {doc["metadata"]["name"]: doc["spec"] for doc in _documents(root, "base/jobs/*.yaml") if doc["kind"] == "CronJob"}
    for name in sorted(expected.keys() - jobs.keys()):
        yield f"{PERIOD} expects a job {name}, of which there is none"
    for name, spec in sorted(jobs.items()):
        seconds = _seconds(spec["schedule"])
        if seconds is None:
            yield f"CronJob {name}: of {spec['schedule']!r} no rule knows how long it is from one run to the next"
            continue
        if expected.get(name) != f"vector({seconds})":
            yield f"CronJob {name} runs every {seconds} s; {PERIOD} has {expected.get(name)} for it"
        if spec["jobTemplate"]["spec"].get("ttlSecondsAfterFinished", 2 * seconds) < 2 * seconds:
            yield f"CronJob {name}: a failed run is removed before the next one has ended; JobFailed would end too"


def _seconds(schedule: str) -> int | None:
    return next((count(found) for form, count in PERIODS if (found := form.fullmatch(schedule))), None)


def _documents(root: Path, pattern: str) -> list[Mapping[str, Any]]:
    files = sorted((root / "infra" / "kubernetes").glob(pattern))
    return [doc for file in files for doc in yaml.safe_load_all(file.read_text(encoding="utf-8")) if doc]
