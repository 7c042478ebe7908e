"""What routers and a cascade save on TechCorp against always asking the dear tier, held to what both tiers answered.

    for split in tune holdout; do for tier in lite pro; do
        touchstone eval --split $split --set route.router.name=always --set route.router.tier=$tier --name tier-$tier-$split
    done; done
    python bench/routing_techcorp.py reports/runs/tier-{lite,pro}-{tune,holdout}/cases.jsonl

Routers are fitted on the tune split. Their thresholds come from what they expect of its questions out of fold: the cheapest at which the
one-sided 95 % bound of the mean loss of quality is at most 2 points. All figures are of the holdout. `rules` is the default router; the
cascade asks the cheap tier first and the dear one again where the answer is doubtful, and pays for both. Money is simulated.
Writes reports/bench/routing_techcorp.{json,md}.
"""

import argparse
import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report

from harness.calibrate.calibrate import calibrate
from harness.calibrate.route.curve import bounded_threshold, oracle_share
from harness.calibrate.route.fit import fitter, out_of_fold, predict
from harness.calibrate.route.outcomes import Outcomes, of_reports
from harness.calibrate.route.source import RouterSource
from harness.calibrate.route.training import Training, training_of
from harness.calibrate.source import SourceRequest
from harness.results.report import EvalReport
from harness.results.report_file import read_report
from harness.settings import HarnessSettings
from harness.stats.clusters import pseudo_values
from harness.stats.intervals import t_ends
from serving.pipeline.models.minilm import MiniLm
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Spec
from serving.pipeline.route import ESCALATIONS, ROUTERS
from serving.pipeline.route.gain import FittedGain
from serving.pipeline.route.tiers import TierParams, dear_domain
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.types import Query

MARGIN = 0.02
LEVELS = (0.02, 0.05)  # of loss, for the engine
KINDS = ("logistic", "tfidf", "knn", "stacked")
EMBEDDER = "local:minilm"
CASCADES: Mapping[str, Mapping[str, Any]] = {
    "refusals": {"grounded_below": 0.0, "uncited": False},
    "refusals and uncited": {"grounded_below": 0.0},
    "refusals, uncited, grounded below .5": {},
    "the same, a fifth of the questions at most": {"budget": 0.2},
}


def measured(outcomes: Outcomes, dear: Any, *, cheap_too: bool = False) -> dict[str, float]:
    """What comes of asking the dear tier where `dear` says so; a cascade has paid for the cheap one as well."""
    gains = outcomes.gains
    cheap_usd, dear_usd = (np.array([getattr(row, name) or 0.0 for row in outcomes.rows]) for name in ("cheap_usd", "dear_usd"))
    loss = np.where(dear, 0.0, gains)
    usd = np.where(dear, dear_usd, cheap_usd) + (cheap_usd * dear if cheap_too else 0.0)
    best = float(np.where(gains <= 0.0, dear_usd - cheap_usd, 0.0).sum() / dear_usd.sum())
    saved = 1.0 - float(usd.sum() / dear_usd.sum())
    bound = t_ends(pseudo_values(loss, [row.group or row.id for row in outcomes.rows]), 0.9).high  # one-sided 95 %
    return {
        "dear": float(np.mean(dear)),
        "saved": saved,
        "oracle_share": saved / best,
        "loss": float(loss.mean()),
        "loss_bound": float(bound),
        "quality": float(np.mean([row.dear for row in outcomes.rows]) - loss.mean()),
    }


def routed(scores: tuple[Any, Any], tune: Outcomes, holdout: Outcomes) -> dict[str, float]:
    """A router by its scores on both splits."""
    threshold = bounded_threshold(scores[0], tune.gains, MARGIN)
    return measured(holdout, scores[1] > threshold)


def fitted(kind: str, tune: Training, holdout: Training) -> tuple[Any, Any]:
    fit_one = fitter(kind, tune)
    return out_of_fold(fit_one, tune).round(4), predict(fit_one(tune), holdout).round(4)


async def by_rules(outcomes: Outcomes) -> Any:
    """What the default router does."""
    router = ROUTERS.build(Spec(name="rules"), parts=Parts(PipelineSettings(_env_file=None)))
    return np.array([(await router.route(Query(row.question), row.hits)).tier == "pro" for row in outcomes.rows])


async def by_cascade(cheap: EvalReport, params: Mapping[str, Any]) -> Any:
    """Which of the cheap tier's answers are tried again."""
    settings = PipelineSettings(_env_file=None)
    parts = Parts(settings, embeddings=MiniLm(MiniLm.Params(), settings=settings).connect(), embedder=EMBEDDER)
    escalation = ESCALATIONS.build(Spec.model_validate({"name": "doubtful", **params}), parts=parts)
    found = []
    for trace in cheap.traces:
        assert trace.route is not None
        found.append(await escalation.escalate(trace.query, trace.route, trace.answer, trace.passages) is not None)
    return np.array(found)


async def by_calibration(files: Sequence[Path], holdout: Outcomes, part: Training, level: float) -> Any:
    """What `touchstone calibrate router` makes of the tune split, at one level of loss; None where there is no safe threshold."""
    with tempfile.TemporaryDirectory() as folder:
        params = RouterSource.Params(model="logistic", fit_share=0.3)
        source = RouterSource(params, HarnessSettings(home=Path(folder), _env_file=None))
        labelled = await source.decisions(SourceRequest(tuple(files)))
    done = calibrate(labelled.examples, labelled.limit(level))
    if done.threshold is None:
        return None
    expected = predict(FittedGain.model_validate(labelled.fitted).model, part).round(4)
    ruled = np.array([dear_domain(TierParams(), row.hits) is not None for row in holdout.rows])
    return (expected > -done.threshold) | ruled


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def markdown(data: Mapping[str, Any]) -> str:
    header = ["", "asks pro", "money saved", "of the oracle's", "loss, points", "bound, points", "quality"]
    rows = [
        [
            name,
            percent(one["dear"]),
            percent(one["saved"]),
            percent(one["oracle_share"]),
            f"{100 * one['loss']:+.2f}",
            f"{100 * one['loss_bound']:+.2f}",
            f"{one['quality']:.3f}",
        ]
        for name, one in data["holdout"].items()
    ]
    gain = data["gain"]
    lines = ["# Routing on TechCorp", "", f"Machine: {machine_line(data['machine'])}. Made by `{data['command']}`.", "", ABOUT, ""]
    gained = f"{100 * gain['tune']:+.2f} points on the {gain['tune_cases']} tune questions and {100 * gain['holdout']:+.2f}"
    split = f"it is better on {percent(gain['better'])} of the holdout's and worse on {percent(gain['worse'])}"
    lines += [
        f"The dear tier gains {gained} on the {gain['holdout_cases']} of the holdout; {split}. "
        f"The cheap tier costs {percent(gain['price'])} of it. Where tiers differ so little no router is seen to beat chance, and "
        "RouteLLM's measures, which are shares of that gap, mean nothing.",
        "",
        table(header, rows),
    ]
    return "\n".join(lines)


ABOUT = """Two local readers: `lite` reads by words, `pro` by meaning; their prices are those of Nova Lite and Nova Pro (simulated).
Routers are fitted and their thresholds set on tune, at a loss of at most 2 points with a one-sided 95 % bound (normal); the figures are of
the holdout. `calibrated` is `touchstone calibrate router` with `fit_share=0.3`: its bound holds at any size, its dear domain is legal. The
bound is the upper end of a 90 % interval over groups. The oracle knows both answers. A row whose bound is above 2 has not been shown to
keep the margin on these questions, whatever tune said."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs=4, metavar="CASES", help="lite tune, lite holdout, pro tune, pro holdout")
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    cheap_tune, cheap_holdout, dear_tune, dear_holdout = map(read_report, options.files)
    tune, holdout = of_reports(cheap_tune, dear_tune), of_reports(cheap_holdout, dear_holdout)
    model = MiniLm(MiniLm.Params(), settings=PipelineSettings(_env_file=None)).connect()
    parts = [training_of(one, EMBEDDER, model.vectors) for one in (tune, holdout)]
    count = len(holdout.rows)
    chance = np.random.default_rng(0)
    lengths = tuple(np.array([len(row.question) for row in one.rows], dtype=float) for one in (tune, holdout))
    rows: dict[str, dict[str, float]] = {
        "always pro": measured(holdout, np.ones(count, dtype=bool)),
        "always lite": measured(holdout, np.zeros(count, dtype=bool)),
        "oracle": measured(holdout, holdout.gains > 0.0),
        "rules (default)": measured(holdout, asyncio.run(by_rules(holdout))),
        "random": routed((chance.random(len(tune.rows)), chance.random(count)), tune, holdout),
        "length": routed(lengths, tune, holdout),  # type: ignore[arg-type]
    }
    rows |= {kind: routed(fitted(kind, *parts), tune, holdout) for kind in KINDS}
    for level in LEVELS:
        dear = asyncio.run(by_calibration((options.files[0], options.files[2]), holdout, parts[1], level))
        name = f"calibrated: logistic, {100 * level:g} points"
        rows[name if dear is not None else f"{name} (no safe threshold: pro)"] = measured(
            holdout, np.ones(count) > 0 if dear is None else dear
        )
    for name, params in CASCADES.items():
        rows[f"cascade: {name}"] = measured(holdout, asyncio.run(by_cascade(cheap_holdout, params)), cheap_too=True)
    gains = holdout.gains
    data = {
        "command": "python bench/routing_techcorp.py reports/runs/tier-{lite,pro}-{tune,holdout}/cases.jsonl",
        "machine": machine("numpy", "scikit-learn", "onnxruntime"),
        "gain": {
            "tune": float(tune.gains.mean()),
            "tune_cases": len(tune.rows),
            "holdout": float(gains.mean()),
            "holdout_cases": count,
            "better": 1.0 - oracle_share(gains),
            "worse": float((gains < 0.0).mean()),
            "price": sum(row.cheap_usd or 0.0 for row in holdout.rows) / sum(row.dear_usd or 0.0 for row in holdout.rows),
        },
        "holdout": rows,
    }
    write_report("routing_techcorp", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
