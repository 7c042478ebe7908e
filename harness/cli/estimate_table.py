"""What a sweep will cost, in words, and the question whether to go on."""

import sys
from collections.abc import Iterator

import typer

from harness.reports.text import time_text
from harness.sweep.cost.estimate import Estimate
from harness.sweep.cost.sweep_estimate import SweepEstimate
from serving.pipeline.errors import ConfigError


def show_estimate(estimate: SweepEstimate) -> None:
    """Print it on standard error."""
    for line in estimate_lines(estimate):
        typer.echo(line, err=True)


def confirm_price(estimate: SweepEstimate, *, yes: bool) -> None:
    """Return when the user agrees to pay; models of this machine need no agreement."""
    if not estimate.hosted or yes:
        return
    if estimate.unpriced:
        raise ConfigError(
            f"The price of {_listed(estimate.unpriced)} is not known, so no budget holds for it. Add --yes to go on all the same."
        )
    if not sys.stdin.isatty():
        most = dollars(estimate.usd.high)
        raise ConfigError(f"{_listed(estimate.hosted)} would be paid for, up to {most}, and nobody is here to ask. Add --yes to go on.")
    if not typer.confirm("Go on?", default=False, err=True):
        raise ConfigError("Not begun. Nothing was asked of a hosted model.")


def estimate_lines(estimate: SweepEstimate) -> Iterator[str]:
    """The estimate, a line for each thing."""
    cases = estimate.cases
    fewer = f" ({cases.low:,.0f} if all are given up early)" if cases.low < cases.high else ""
    yield f"to score   at most {cases.high:,.0f} cases{fewer}: {estimate.trials} trials, {estimate.finalists} finalists on the holdout"
    if estimate.timed:
        yield f"to time    {estimate.timed:,} answers, one at a time: each finalist against the incumbent"
    elif estimate.hosted:
        yield "to time    nothing: each answer is paid for. Write timing_cases in the experiment to have the finalists timed"
    yield f"tokens     {_count(estimate.input_tokens)} in, {_count(estimate.output_tokens)} out"
    yield f"dollars    {_money(estimate)}"
    if estimate.prices and estimate.usd.high:
        yield f"prices     {estimate.prices}"
    yield f"time       {time_text(estimate.seconds.likely)} likely, {time_text(estimate.seconds.low)} to {time_text(estimate.seconds.high)}"
    if estimate.hosted:
        yield f"hosted     {_listed(estimate.hosted)}"
    for name in estimate.unpriced:
        yield f"price of {name} unknown: it is not in these dollars"
    if estimate.assumed:
        yield f"assumed    {_listed(estimate.assumed)}"


def _money(estimate: SweepEstimate) -> str:
    usd = estimate.usd
    if usd.high == 0:
        return "none" if not estimate.unpriced else "not known"
    notes = [
        "at most: what is kept costs nothing",
        *(["simulated: nothing is paid, these are prices of models stood in for"] if estimate.simulated else []),
    ]
    return f"{dollars(usd.likely)} likely, {dollars(usd.low)} to {dollars(usd.high)} ({'; '.join(notes)})"


def dollars(value: float) -> str:
    """A price in words."""
    return f"${value:.2f}" if value >= 1 else f"${value:.4f}"


def _count(estimate: Estimate) -> str:
    return f"{estimate.likely:,.0f} ({estimate.low:,.0f} to {estimate.high:,.0f})"


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
