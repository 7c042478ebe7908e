"""A verdict as plain data: the same by HTTP and on the command line."""

from dataclasses import asdict
from datetime import UTC, datetime

from serving.verdict.read import TrialVerdict


def plain_verdict(verdict: TrialVerdict) -> dict[str, object]:
    """What was found of a trial, and by which rules."""
    trial, rules, found = verdict.trial, verdict.rules, verdict.found
    return {
        "channel": trial.channel,
        "stable": trial.stable,
        "release": trial.release,
        "mode": trial.mode,
        "weight": trial.weight,
        "since": trial.since,
        "until": datetime.fromtimestamp(verdict.until, UTC).isoformat(timespec="microseconds"),
        "verdict": found.verdict,
        "reason": found.reason,
        "callers": found.callers,
        "candidate_callers": found.candidate_callers,
        "questions": found.questions,
        "candidate_questions": found.candidate_questions,
        "needed_questions": found.needed,
        "measures": [asdict(one) for one in found.measures],
        "notes": list(found.notes),
        "traces": verdict.traces,
        "complete": verdict.complete,
        "alpha": rules.alpha,
        "slow_ms": rules.slow_ms,
        "turn_minutes": rules.turn_s / 60.0,
        "at_least": rules.at_least,
    }
