"""Which gate's decision allows a promotion: of that very gate, configuration and questions, passed, and not too old."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from harness.gate.decision import PLAIN, Decision
from harness.gate.gate import Gate, load_gate
from harness.golden.load import load_golden
from harness.settings import HarnessSettings
from serving.pipeline.errors import DataError, NotProven

GATES = Path("experiments/gates")
PROMOTION = GATES / "promotion.yaml"
WEAKER = {"dev": (GATES / "pull_request.yaml",)}  # for channels where a pull request's gate is enough
CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class RequiredGate:
    """A gate that counts, with the questions it is decided on as they are now."""

    file: Path
    gate: Gate
    golden_digest: str
    split_digest: str


@dataclass(frozen=True, slots=True)
class FoundDecision:
    """A gate's decision, and the file it is in."""

    path: Path
    decision: Decision

    @property
    def at(self) -> datetime:
        """When it was decided."""
        return datetime.fromisoformat(self.decision.decided_at).astimezone(UTC)


def required_gates(channel: str, file: Path | None, settings: HarnessSettings, folder: Path = Path()) -> tuple[RequiredGate, ...]:
    """The gates of which one has to be passed: the one named, or those of the channel that are there, in the project's folder."""
    files = [file] if file else [folder / one for one in (*WEAKER.get(channel, ()), PROMOTION) if (folder / one).is_file()]
    return tuple(_required(one, settings) for one in files)


def _required(file: Path, settings: HarnessSettings) -> RequiredGate:
    gate = load_gate(file)
    golden = load_golden(settings.datasets, gate.golden)
    return RequiredGate(file, gate, golden.digest, golden.split_digest(gate.split))


def find_decisions(reports: Path) -> list[FoundDecision]:
    """Every decision below `<reports>/gates`; files that are none, or of another version, are passed over."""
    found = []
    for path in sorted(reports.glob("gates/*/decision.json")):
        try:
            found.append(read_decision(path))
        except DataError:
            continue
    return found


def read_decision(path: Path) -> FoundDecision:
    """The decision in a file."""
    try:
        found = FoundDecision(path, PLAIN.parse(path.read_text(encoding="utf-8")))
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
    age = now - found.at
    if not -CLOCKS_DIFFER <= age <= timedelta(hours=decision.valid_hours):
        return f"is of {decision.decided_at} and was valid for {decision.valid_hours} hours"
    return ""


def _misfit(decision: Decision, gate: RequiredGate) -> str:
    """What has changed since a decision; empty when nothing has."""
    if decision.gate_digest != gate.gate.digest:
        return f"was decided by other rules than {gate.file} has now"
    if decision.golden_digest != gate.golden_digest:
        return f"was decided on other questions than {gate.gate.golden} has now"
    if decision.split_digest != gate.split_digest:
        return f"was decided on other cases than the {gate.gate.split} split of {gate.gate.golden} has now"
    return ""
