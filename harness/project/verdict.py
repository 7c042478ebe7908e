"""The verdict on a channel's candidate, by the traces that the settings name."""

import time
from contextlib import closing
from pathlib import Path

from harness.settings import HarnessSettings
from serving.pipeline.errors import DataError
from serving.pipeline.settings import DYNAMODB, SECONDS_A_DAY
from serving.release.bundle import open_releases
from serving.release.channel import read_channel
from serving.traces.open import open_traces
from serving.verdict.read import CandidateTrial, TrialVerdict, read_verdict
from serving.verdict.rules import VerdictRules


def judge_candidate(settings: HarnessSettings, name: str, rules: VerdictRules) -> TrialVerdict:
    """Whether the candidate of a channel is as good as the stable release, as far as its traces tell."""
    channel = read_channel(open_releases(settings.releases, settings), name)
    CandidateTrial.of(channel)
    place, days = settings.trace_place, settings.trace_days
    if not place.startswith(DYNAMODB) and not Path(place).is_file():
        raise DataError(f"There are no traces in {place}. Name those of the server in TOUCHSTONE_TRACES: a file, or dynamodb:<table>.")
    with closing(open_traces(place, settings, retention_days=days, endpoint=settings.dynamodb_endpoint)) as store:
        return read_verdict(channel, store, rules, now=time.time(), retention_s=days * SECONDS_A_DAY)
