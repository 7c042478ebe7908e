"""Finds the gate's decision that allows a promotion: of this gate, configuration and questions, passed, and recent."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from harness.gate.champion import champion_path
from harness.gate.decision import DECISION_CODEC, Decision
from harness.gate.gate import Gate, load_gate
from harness.golden.load import load_golden
from harness.results.report import EvalReport
from harness.results.report_file import read_report
from harness.settings import HarnessSettings
from serving.pipeline.errors import ConfigError, DataError, NotProven
from serving.release.bundle import Release
from serving.release.channel import UNPROVEN
from serving.release.evidence import FOLDER

GATES = Path("experiments/gates")
PROMOTION = GATES / "promotion.yaml"
WEAKER = {"dev": (GATES / "pull_request.yaml",)}  # for channels where a pull request's gate is enough
CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RequiredGate:
    """A gate that counts, with the questions it is decided on and the champion it compares with as they are now."""

    file: Path
    gate: Gate
    golden_digest: str
    split_digest: str
    champion_digest: str = ""  # of the champion's configuration; "": the gate compares with none, or none is recorded


@dataclass(frozen=True, slots=True)
class FoundDecision:
    """A gate's decision, and the file it is in."""

    path: Path
    decision: Decision

    @property
    def at(self) -> datetime:
        """The time of the decision."""
        return datetime.fromisoformat(self.decision.decided_at).astimezone(UTC)

    def evaluation(self) -> EvalReport | None:
        """The evaluation behind it, where that is still beside it."""
        cases = self.path.with_name("cases.jsonl")
        if not cases.is_file():
            return None
        report, decision = read_report(cases), self.decision
        same = (report.header.config_digest, report.header.split_digest) == (decision.config_digest, decision.split_digest)
        return report if same else None


def required_gates(channel: str, file: Path | None, settings: HarnessSettings, folder: Path = Path()) -> tuple[RequiredGate, ...]:
    """The gates of which one has to be passed: those of the channel that are there, or the one named.

    A channel that serves only what is proven has its own gates, and of those alone one may be named: another could ask for less.
    """
    own = [folder / one for one in (*WEAKER.get(channel, ()), PROMOTION)]
    if file and channel not in UNPROVEN and file.resolve() not in [one.resolve() for one in own]:
        names = " or ".join(repr(str(one)) for one in own)
        raise ConfigError(f"--gate {str(file)!r} does not count for the channel {channel!r}. Its gate is {names}: leave --gate out.")
    files = [file] if file else [one for one in own if one.is_file()]
    return tuple(_required(one, settings) for one in files)


def _required(file: Path, settings: HarnessSettings) -> RequiredGate:
    gate = load_gate(file)
    golden = load_golden(settings.datasets, gate.golden)
    champion = champion_path(settings.champion_folder, golden.id, gate.split)
    compared = read_report(champion).header.config_digest if gate.needs_champion and champion.is_file() else ""
    return RequiredGate(file, gate, golden.digest, golden.split_digest(gate.split), compared)


def find_decisions(reports: Path) -> list[FoundDecision]:
    """Every decision below `<reports>/gates`; other files, and those of another version, are ignored."""
    found = []
    for path in sorted(reports.glob("gates/*/decision.json")):
        try:
            found.append(read_decision(path))
        except DataError:
            continue
    return found


def decisions_of(release: Release) -> list[FoundDecision]:
    """The decisions that a release's evidence holds: they went through a promotion before."""
    found = []
    for digest, evidence in release.evidence.items():
        if evidence.decision is not None and evidence.forced is None:
            decision = DECISION_CODEC.parse(evidence.decision.model_dump_json())
            found.append(FoundDecision(Path(release.place) / FOLDER / f"{digest}.json", decision))
    return found


def read_decision(path: Path) -> FoundDecision:
    """The decision in a file."""
    try:
        found = FoundDecision(path, DECISION_CODEC.parse(path.read_text(encoding="utf-8")))
        assert found.at
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}. A gate writes one: reports/gates/<name>-<time>/decision.json") from None
    except (OSError, ValueError, ValidationError) as error:
        raise DataError(f"{path}: not a gate's decision: {str(error).splitlines()[0]}") from None
    return found


def proving(config_digest: str, gates: Sequence[RequiredGate], decisions: Sequence[FoundDecision], now: datetime) -> FoundDecision:
    """The decision that proves a configuration; or `NotProven`, with what is wrong with the nearest one.

    Of each gate the newest decision that fits counts, so a later failure takes an earlier pass back.
    """
    if not gates:
        raise NotProven(f"there is no gate {str(PROMOTION)!r}; name one with --gate FILE")
    passed: list[FoundDecision] = []
    problems: list[str] = []
    for gate in gates:
        of_gate = sorted((one for one in decisions if one.decision.gate == gate.gate.name), key=lambda one: one.at, reverse=True)
        same = [one for one in of_gate if one.decision.config_digest == config_digest]
        fitting = [one for one in same if not _misfit(one.decision, gate) and one.decision.state != "infrastructure"]
        if nearest := (fitting or same or of_gate)[:1]:
            problem = _problem(nearest[0], gate, config_digest, now)
            problems += [f"{nearest[0].path} {problem}"] if problem else []
            passed += [] if problem else nearest
    if passed:
        return max(passed, key=lambda one: one.at)
    names = " or ".join(repr(gate.gate.name) for gate in gates)
    raise NotProven(problems[0] if problems else f"there is no decision of the gate {names} on configuration {config_digest}")


def _problem(found: FoundDecision, gate: RequiredGate, config_digest: str, now: datetime) -> str:
    """Why a decision proves nothing; empty when it proves."""
    decision = found.decision
    if decision.config_digest != config_digest:
        return f"is of configuration {decision.config_digest or 'unknown'}, not {config_digest}"
    if misfit := _misfit(decision, gate):
        return misfit
    if decision.state != "pass":
        word = {"fail": "failed", "infrastructure": "could not decide"}[decision.state]
        return f"says that the gate {decision.gate!r} {word}: {decision.message}"
    if doubt := _doubt(decision, gate.gate):
        return doubt
    age, hours = now - found.at, min(decision.valid_hours, gate.gate.valid_hours)
    if not -CLOCKS_DIFFER <= age <= timedelta(hours=hours):
        return f"is of {decision.decided_at} and was valid for {hours} hours"
    return ""


def _doubt(decision: Decision, gate: Gate) -> str:
    """Why a passed decision is not valid; empty when its rulings are those of the gate and lead to it."""
    if sorted(one.id for one in decision.rulings) != sorted(rule.id for rule in gate.rules):
        return f"does not rule on what the gate {gate.name!r} asks"
    advisory = {rule.id for rule in gate.rules if rule.advisory}
    judged = [one for one in decision.rulings if one.id not in advisory]
    if failed := [one.id for one in judged if one.outcome == "fail"]:
        return f"says pass, and its rule {failed[0]!r} says fail"
    if not any(one.outcome == "pass" for one in judged):
        return f"says pass, and no rule that could block was judged: the gate {gate.name!r} asked nothing of it"
    return ""


def _misfit(decision: Decision, gate: RequiredGate) -> str:
    """What has changed since a decision; empty when nothing has."""
    if decision.gate_digest != gate.gate.digest:
        return f"was decided by other rules than {gate.file} has now"
    if decision.golden_digest != gate.golden_digest:
        return f"was decided on other questions than {gate.gate.golden} has now"
    if decision.split_digest != gate.split_digest:
        return f"was decided on other cases than the {gate.gate.split} split of {gate.gate.golden} has now"
    if gate.gate.needs_champion and gate.champion_digest not in (decision.champion_digest, decision.config_digest):
        return f"was held against the champion {decision.champion_digest or 'unknown'}; recorded is {gate.champion_digest or 'none'} now"
    return ""
