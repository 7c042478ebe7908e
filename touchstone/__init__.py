"""Touchstone: find the best RAG configuration by evidence, prove it on questions it never saw, ship exactly that one.

    from touchstone import Project

    project = Project.open()
    report = await project.evaluate("default", "techcorp/v1")

What takes time is async: `await` it in a notebook, or write `run(project.evaluate(…))` anywhere. Names that are not listed here
belong to the packages `harness` and `serving` and may change.
"""

from harness.calibrate.calibrate import ThresholdCalibration, calibrate
from harness.calibrate.labelled import LabelledDecision, RiskLimit
from harness.comparison.values import MetricDifference, ReportComparison
from harness.evaluation.subject import Subject, SubjectIdentity
from harness.evaluation.subjects import EndpointSubject, FunctionSubject, RunnableSubject
from harness.gate.decision import Decision, Ruling
from harness.gate.run_gate import GateResult
from harness.golden.case import Case
from harness.golden.sets import GoldenSet
from harness.project import Project
from harness.project.run import run
from harness.promotion.promote import Promotion
from harness.results.case_result import CaseResult
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.stats import Comparison, Interval
from harness.sweep.cost.sweep_estimate import SweepEstimate
from harness.sweep.experiment import Experiment
from harness.sweep.trial import Trial
from harness.sweep.verdict import SweepResult
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import (
    ConfigError,
    DataError,
    InfrastructureError,
    IntegrityError,
    ModelError,
    PromptError,
    TouchstoneError,
    UserError,
)
from serving.pipeline.types import Answer, Principal, Query, Trace

__all__ = [
    "Answer",
    "Case",
    "CaseResult",
    "Comparison",
    "ConfigError",
    "DataError",
    "Decision",
    "EndpointSubject",
    "EvalReport",
    "Experiment",
    "FunctionSubject",
    "GateResult",
    "GoldenSet",
    "InfrastructureError",
    "IntegrityError",
    "Interval",
    "LabelledDecision",
    "MetricDifference",
    "ModelError",
    "Principal",
    "Project",
    "Promotion",
    "PromptError",
    "Query",
    "RagConfig",
    "ReportComparison",
    "RiskLimit",
    "Ruling",
    "RunnableSubject",
    "Score",
    "Subject",
    "SubjectIdentity",
    "SweepEstimate",
    "SweepResult",
    "ThresholdCalibration",
    "TouchstoneError",
    "Trace",
    "Trial",
    "UserError",
    "calibrate",
    "run",
]
