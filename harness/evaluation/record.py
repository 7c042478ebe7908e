"""Logs an evaluation to a tracker, under the same names in every run, so that runs can be compared."""

from harness.git_commit import code_version
from harness.golden.sets import Split
from harness.results.frames import frame_rows
from harness.results.header import Header
from harness.results.numbers import numbers
from harness.results.report import EvalReport
from harness.results.restricted import for_everyone
from harness.tracking.base import Run
from serving.pipeline.plain_yaml import dump_plain

CONFIG = "config.yaml"  # the configuration whole: parameters are cut, and all of them are texts
PARAMETER_LENGTH = 500  # what MLflow keeps of a value

FIRST = ("quality",)  # MLflow's comparison of runs draws the metric that was logged first


def record_evaluation(run: Run, report: EvalReport, split: Split) -> None:
    """Log parameters by dotted path, metrics with intervals and coverage, costs, times, digests and the table of cases."""
    header = report.header
    run.params({path: str(value)[:PARAMETER_LENGTH] for path, value in header.flat.items()})
    run.dataset(split)
    run.tags(
        {
            "touchstone.config_digest": header.config_digest,
            "touchstone.index_digest": header.index_digest,
            "touchstone.corpus_digest": header.corpus_digest,
            "touchstone.golden": f"{header.golden}:{header.split}",
            "touchstone.golden_digest": header.golden_digest,
            **made_by(header),
            "touchstone.state": "failed" if report.outages else "complete",
            "touchstone.money": "simulated" if report.simulated else "billed",
        }
    )
    values = numbers(report)
    run.metrics({name: values[name] for name in FIRST if name in values} | values)
    run.table("cases.json", frame_rows(for_everyone(report).to_pandas()))
    if not header.app:
        run.text(CONFIG, dump_plain(header.config))


def made_by(header: Header) -> dict[str, str]:
    """What made the numbers beside the configuration: prompts, code, metrics by version, and the judge where there is one."""
    versions = ", ".join(f"{name} {version}" for name, version in header.metric_versions.items())
    origins = {"prompts_digest": header.prompts_digest, "code": code_version(), "metric_versions": versions, "judge": header.judge}
    return {f"touchstone.{name}": value for name, value in origins.items() if value}
