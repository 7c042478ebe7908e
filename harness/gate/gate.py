"""A gate file: on which questions, by which metrics, under which rules."""

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError

from harness.gate.rules import RULES, CeilingRule, FloorRule, GateModel, Rule, SliceRule
from harness.golden.case import Case
from harness.judges.tools import Tools
from harness.metrics import DEFAULT, asks_judge, metric, metric_set
from harness.results.case_result import CaseResult
from harness.results.header import Header
from harness.results.numbers import numbers
from harness.results.report import EvalReport
from harness.results.score import JudgedMetric, Metric
from serving.pipeline.config import STAGES, read_yaml
from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.pipeline.registry import explain, near
from serving.pipeline.types import Query, StageRecord, Trace

SplitName = Literal["tune", "holdout", "all"]


class Gate(GateModel):
    """What must hold."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", max_length=60)
    about: str = ""
    golden: str
    split: SplitName = "holdout"
    metrics: tuple[str, ...] = DEFAULT  # beside those that the rules name
    judge: str = ""
    valid_hours: int = Field(default=168, ge=1)  # for how long a decision allows a promotion
    rules: tuple[Rule, ...] = Field(min_length=1)

    @property
    def scored(self) -> tuple[str, ...]:
        """Every metric to score, each once."""
        return tuple(dict.fromkeys([*self.metrics, *(name for rule in self.rules for name in rule.metrics)]))

    @property
    def decides_by_time(self) -> bool:
        """Whether a rule that may block is about a time."""
        subjects = [rule.number or rule.metric or "" for rule in self.rules if rule.rule == "ceiling" and not rule.advisory]
        return any(subject.startswith(("ms.", "latency_ms", "first_token_ms")) for subject in subjects)

    @property
    def digest(self) -> str:
        """Digest of the whole gate."""
        return digest_of(self.model_dump(mode="json"))

    @property
    def needs_champion(self) -> bool:
        """Whether a rule compares with the champion."""
        return any(rule.rule == "non_inferior" for rule in self.rules)


def load_gate(path: Path) -> Gate:
    """Read and check a gate file."""
    try:
        gate = Gate.model_validate(read_yaml(path) or {})
    except ValidationError as error:
        raise ConfigError(_explain(error, str(path))) from None
    duplicates = [ident for ident, count in Counter(rule.id for rule in gate.rules).items() if count > 1]
    if duplicates:
        raise ConfigError(f"{path}: two rules have the id {duplicates[0]!r}.")
    rules = tuple(_with_metric_name(rule, f"{path}: rule {rule.id!r}") for rule in gate.rules)
    return gate.model_copy(update={"metrics": metric_set(gate.metrics), "rules": rules})


def _with_metric_name(rule: Rule, where: str) -> Rule:
    """The rule with the full name of its metric: recall is recall@10."""
    for name in rule.metrics:
        try:
            names = metric_set([name])
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None
        if len(names) > 1:
            raise ConfigError(f"{where}: {name!r} is a group of metrics, and a rule reads one: {', '.join(names)}.")
        return rule.model_copy(update={"metric": names[0]})
    return rule


def check_gate(gate: Gate, tools: Tools) -> None:
    """Refuse unknown metrics and numbers, a floor where lower is better, and judges that are not calibrated."""
    if tools.judge is None and (judged := [name for name in gate.scored if asks_judge(name)]):
        mend = "Name one in the gate's file, as judge: local or judge: llm:<provider>:<model>"
        raise ConfigError(f"gate {gate.name!r}: metric {judged[0]!r} needs a judge. {mend}")
    known = {name: metric(name, tools) for name in gate.scored}
    for rule in gate.rules:
        where = f"gate {gate.name!r}, rule {rule.id!r}"
        if isinstance(rule, SliceRule) and known[rule.metric].direction == "lower":
            raise ConfigError(
                f"{where}: of {rule.metric!r} less is better, and a slice has a floor only; write rule: ceiling for all cases"
            )
        if isinstance(rule, FloorRule) and known[rule.metric].direction == "lower":
            raise ConfigError(f"{where}: of {rule.metric!r} less is better, so write rule: ceiling with at_most")
        if isinstance(rule, CeilingRule) and rule.number and rule.number not in known_numbers():
            examples = "cost.usd, ms.total.p95, ms.answer.p95"
            raise ConfigError(f"{where}: no number {rule.number!r}.{near(rule.number, sorted(known_numbers()))} For example: {examples}.")
        for name in rule.metrics:
            if not rule.advisory and known[name].needs_judge:
                _check_judge(where, known[name], tools)


def _check_judge(where: str, scorer: Metric | JudgedMetric, tools: Tools) -> None:
    from harness.judges.calibration import why_not
    from harness.metrics.judged import task_of

    if task := task_of(scorer.name):
        shortfall = why_not(tools.require_judge(scorer.name).id, task)
    else:
        shortfall = f"{scorer.name!r} asks in a library's own words, which cannot be held against people's labels here."
    if shortfall:
        raise ConfigError(f"{where}: a judge may only advise until it is calibrated: {shortfall} – or write advisory: true.")


@cache
def known_numbers() -> frozenset[str]:
    """The names of the numbers of an evaluation beside its metrics, taken from an empty one."""
    stages = tuple(StageRecord(stage, "", 0.0) for stage in STAGES)
    case = Case(id="c", question="?", answerable=False, kind="unanswerable")
    header = Header(
        config={}, config_digest="", index_digest="", corpus_digest="", golden="", golden_digest="", split="", split_digest="", metrics=()
    )
    report = EvalReport(header, (CaseResult(case, trace=Trace("t", Query("?"), "", "", stages=stages)),))
    return frozenset(numbers(report))


def _explain(error: ValidationError, where: str) -> str:
    """One line for the first error, with the fields of that kind of rule."""
    errors = error.errors(include_url=False)
    # a misspelt key is missing as well, so an unknown key is named first
    first = next((entry for entry in errors if entry["type"] == "extra_forbidden"), errors[0])
    place = first["loc"]
    if first["type"] in ("union_tag_invalid", "union_tag_not_found"):
        name = first["input"].get("rule") if isinstance(first["input"], dict) else first["input"]
        problem = f"no rule {name!r}.{near(str(name), list(RULES))}" if name is not None else "'rule' is missing."
        return f"{where}: {'.'.join(map(str, place))}: {problem} Known: {', '.join(RULES)}."
    kind = RULES.get(str(place[2])) if len(place) > 2 else None
    if first["type"] == "extra_forbidden":
        error = ValidationError.from_exception_data(error.title, [{"type": first["type"], "loc": place, "input": first["input"]}])
    return explain(error, where, list((kind or Gate).model_fields))
