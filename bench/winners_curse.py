"""How much the best of 50 equal configurations seems to gain, and what the procedure here says of it.

    python bench/winners_curse.py [--repetitions 1000] [--out reports/bench] [--chart docs/winners-curse.svg]

Every configuration answers each question rightly with that question's own chance, so that all are equal; scores are 0 or 1. The
naive way takes the best on the tune cases at its word. The way here re-scores the best three and the base on the holdout, holds each
against the base (paired, corrected) and chooses as `touchstone sweep` does, through the same functions.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from _bench import machine, machine_line, table, write_report

from harness.comparison.pairs import compare_metric
from harness.golden.case import Case
from harness.results.case_result import CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from harness.results.score import Score
from harness.sweep.finalist import Finalist
from harness.sweep.verdict import choose
from serving.pipeline.types import Answer, Query, Trace, Usage
from serving.storage.files import write_text

SEED = 20260930
TRIALS, FINALISTS, METRIC = 50, 3, "quality"


@dataclass(frozen=True, slots=True)
class Setting:
    """Sizes of the splits, how alike questions are in difficulty, and how much better one configuration really is."""

    name: str
    tune: int
    holdout: int
    alike: float  # of the beta distribution that chances are drawn from; large: every question has the chance 0.5
    gain: float = 0.0


SETTINGS = (
    Setting("every question 50 : 50", 50, 50, 1e6),
    Setting("easy and hard questions", 50, 50, 0.33),
    Setting("easy and hard questions, TechCorp's sizes", 249, 120, 0.33),
)
BETTER = tuple(Setting(f"one is {gain:.0%} better", 249, 120, 0.33, gain) for gain in (0.05, 0.1, 0.15, 0.2))


def chances(rng: np.random.Generator, count: int, setting: Setting) -> Any:
    """The chance of each question, and for the last configuration a better one with the right mean gain."""
    base = rng.beta(setting.alike, setting.alike, count)
    better = base + (1 - base) * (setting.gain / 0.5)  # the mean of 1 − base is 0.5
    return base, better


def scores(rng: np.random.Generator, count: int, setting: Setting) -> Any:
    """A row for each configuration, a column for each question."""
    base, better = chances(rng, count, setting)
    table = rng.random((TRIALS, count)) < base
    if setting.gain:
        table[-1] = rng.random(count) < better
    return table.astype(float)


def report(values: Any, usd: float) -> EvalReport:
    """An evaluation with these scores; each question is on a document of its own."""
    trace = Trace("t", Query("q"), "c", "i", answer=Answer("a"), usage=(Usage("m", usd=usd),), milliseconds=100.0)
    rows = tuple(CaseResult(case, (Score(METRIC, float(value)),), trace) for case, value in zip(_cases(len(values)), values, strict=True))
    return EvalReport(Header({}, "c", "i", "k", "g/v1", "g", "holdout", "s", (METRIC,)), rows)


_KNOWN: dict[int, list[Case]] = {}


def _cases(count: int) -> list[Case]:
    if count not in _KNOWN:
        _KNOWN[count] = [Case(id=f"c{n}", question="q", answers=("a",), relevant_ids=(f"d{n}",)) for n in range(count)]
    return _KNOWN[count]


@dataclass(frozen=True, slots=True)
class Once:
    """What one search seemed to find, and what the holdout said."""

    tune_gain: float  # of the best trial over the truth
    holdout_gain: float  # of the same trial on the holdout, over the base there
    covered: bool  # whether the interval of that difference holds the truth
    named_better: bool  # whether the verdict was "better" for any finalist
    winner_gain: float  # of the chosen winner on the holdout over the base there
    winner_truth: float
    found: bool  # whether the truly better one was chosen, where there is one


def once(rng: np.random.Generator, setting: Setting) -> Once:
    """One search among configurations, from trials to verdict; number 0 is the base."""
    tune, holdout = scores(rng, setting.tune, setting), scores(rng, setting.holdout, setting)
    means = tune.mean(axis=1)
    order = sorted(range(1, TRIALS), key=lambda trial: -means[trial])[:FINALISTS]
    prices = rng.uniform(0.001, 0.002, TRIALS)
    reports = {trial: report(holdout[trial], float(prices[trial])) for trial in (0, *order)}
    against = [compare_metric(reports[0], reports[trial], METRIC, among=len(order)) for trial in order]
    held_to = zip((0, *order), (None, *against), strict=True)
    finalists = [Finalist(SimpleNamespace(number=trial, name=f"trial {trial}"), reports[trial], held) for trial, held in held_to]
    winner = choose(finalists, METRIC).winner
    held, best = against[0], order[0]
    truth = [setting.gain if trial == TRIALS - 1 else 0.0 for trial in range(TRIALS)]
    return Once(
        tune_gain=float(means[best]) - 0.5 - truth[best],
        holdout_gain=held.difference - truth[best],
        covered=held.low - 1e-9 <= truth[best] <= held.high + 1e-9,
        named_better=any(one.outcome == "better" for one in against),
        winner_gain=winner.against.difference if winner.against else 0.0,
        winner_truth=truth[winner.trial.number],
        found=winner.trial.number == TRIALS - 1,
    )


def measure(setting: Setting, repetitions: int) -> dict[str, Any]:
    """Many searches."""
    rng = np.random.default_rng(SEED)
    runs = [once(rng, setting) for _ in range(repetitions)]
    tune, holdout = np.array([run.tune_gain for run in runs]), np.array([run.holdout_gain for run in runs])
    return {
        "setting": setting.name,
        "tune": setting.tune,
        "holdout": setting.holdout,
        "argmax": float(tune.mean()),
        "argmax_range": [float(end) for end in np.quantile(tune, [0.05, 0.95])],
        "bias": float(holdout.mean()),
        "bias_error": float(holdout.std(ddof=1) / np.sqrt(repetitions)),
        "bias_range": [float(end) for end in np.quantile(holdout, [0.05, 0.95])],
        "covered": float(np.mean([run.covered for run in runs])),
        "named_better": float(np.mean([run.named_better for run in runs])),
        "winner_bias": float(np.mean([run.winner_gain - run.winner_truth for run in runs])),
        "found": float(np.mean([run.found for run in runs])),
        "gain": setting.gain,
    }


def points(share: float) -> str:
    return f"{100 * share:+.1f}"


def markdown(data: dict[str, Any]) -> str:
    equal = [
        [
            row["setting"],
            f"{row['tune']} / {row['holdout']}",
            points(row["argmax"]),
            f"{points(row['bias'])} ± {200 * row['bias_error']:.1f}",
            f"{100 * row['covered']:.1f} %",
            points(row["winner_bias"]),
            f"{100 * row['named_better']:.1f} %",
        ]
        for row in data["equal"]
    ]
    better = [
        [row["setting"], f"{row['tune']} / {row['holdout']}", f"{100 * row['named_better']:.0f} %", f"{100 * row['found']:.0f} %",
         f"{100 * row['covered']:.1f} %"] for row in data["better"]
    ]  # fmt: skip
    return "\n\n".join(
        [
            "# The winner's curse",
            f"`python bench/winners_curse.py --repetitions {data['repetitions']}`; "
            f"{machine_line(data['machine'])}; {data['seconds']:.0f} s.",
            f"{TRIALS} configurations that are equal, scores of 0 or 1 with mean 0.5, {data['repetitions']} searches each. Points are "
            "hundredths of the score; after ± stand two standard errors of the simulation.",
            table(
                [
                    "questions",
                    "tune / holdout",
                    "best of 50 seems to gain",
                    "the same on the holdout",
                    "interval holds the truth",
                    "chosen winner on the holdout",
                    "called better",
                ],
                equal,
            ),
            "The first column is the argmax at its word: all of it is luck. The second is the paired difference from the base on the "
            "holdout for the trial that was best on tune. The chosen winner is that of "
            f"{FINALISTS} finalists and the base by the sweep's own rule; what luck is left in it comes from choosing on the holdout. "
            "“Called better” is the share of searches with any false verdict.",
            "With one configuration among the 50 that is truly better, by a gain on easy and hard questions:",
            table(["gain", "tune / holdout", "called better", "the right one chosen", "interval holds the truth"], better),
        ]
    )


def chart(rows: list[dict[str, Any]]) -> str:
    """What the best of 50 seemed to gain, and what the holdout said: mean and the middle 90 % of searches, as SVG."""
    width, left, scale = 760, 330, 9.0  # pixels, pixels, pixels a point
    zero = left + 17 * scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {70 + 62 * len(rows)}" '
        'font-family="system-ui, sans-serif" font-size="13">',
        "<style>text{fill:#1d2430}.soft{fill:#5b6675}.axis{stroke:#9aa6b5}.luck{fill:#b3261e;stroke:#b3261e}.true{fill:#17734a;stroke:#17734a}"
        "@media(prefers-color-scheme:dark){text{fill:#e4e8ee}.soft{fill:#9aa6b5}.luck{fill:#f2867e;stroke:#f2867e}"
        ".true{fill:#5cc48f;stroke:#5cc48f}}</style>",
        f'<line class="axis" x1="{zero}" y1="20" x2="{zero}" y2="{28 + 62 * len(rows)}"/>',
    ]
    for number, row in enumerate(rows):
        top = 40 + 62 * number
        parts.append(f'<text x="0" y="{top}">{row["setting"]}</text>')
        parts.append(f'<text class="soft" x="0" y="{top + 18}">{row["tune"]} tune cases, {row["holdout"]} holdout</text>')
        for kind, what, y in (("luck", "argmax", top - 4), ("true", "bias", top + 16)):
            low, high = (zero + 100 * scale * end for end in row[f"{what}_range"])
            middle = zero + 100 * scale * row[what]
            parts.append(f'<line class="{kind}" x1="{low:.1f}" y1="{y}" x2="{high:.1f}" y2="{y}" stroke-width="3" opacity="0.6"/>')
            parts.append(f'<circle class="{kind}" cx="{middle:.1f}" cy="{y}" r="5"/>')
            parts.append(f'<text x="{max(high, middle) + 10:.1f}" y="{y + 4}">{points(row[what])}</text>')
    bottom = 40 + 62 * len(rows)
    parts.append(f'<text class="soft" x="{zero}" y="{bottom + 4}" text-anchor="middle">0 = the truth, in points</text>')
    legend = "upper: the best of 50 on tune; lower: the same one against the base on the holdout; lines: the middle 90 %"
    parts.append(f'<text class="soft" x="0" y="{bottom + 24}">{legend}</text></svg>')
    return "\n".join(parts) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=Path("reports/bench"))
    parser.add_argument("--chart", type=Path, default=None, help="also draw it as SVG")
    options = parser.parse_args()
    begin = time.perf_counter()
    data: dict[str, Any] = {"repetitions": options.repetitions, "machine": machine("scipy", "numpy")}
    data["equal"] = [measure(setting, options.repetitions) for setting in SETTINGS]
    data["better"] = [measure(setting, max(50, options.repetitions // 3)) for setting in BETTER]
    data["seconds"] = time.perf_counter() - begin
    write_report("winners_curse", data, markdown(data), options.out)
    if options.chart:
        write_text(options.chart, chart(data["equal"]))
    print(markdown(data))


if __name__ == "__main__":
    main()
