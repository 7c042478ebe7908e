"""What a router saves on questions whose answers by two models are known, beside chance, question length and the oracle.

    python bench/routing.py PATH/routellm_mmlu [--splits 20] [--vectors FOLDER]

PATH holds `data.jsonl` with rows {question, weak_correct, strong_correct}: MMLU's questions with their choices, whether
Mixtral-8x7B and GPT-4-1106 answered each right (github.com/lm-sys/RouteLLM). MiniLM's vectors are the only ones. FOLDER keeps them.

The protocol: groups of near-duplicates are dealt out to fitting (60 %), calibration (20 %) and test (20 %), again in every split. On the
calibration part the threshold is chosen: the cheapest at which the one-sided 95 % bound of the mean loss against always-strong is at most
2 points, at every smaller one too. Reported is the share of the test's questions that then goes to the weak model. Strengths and the
stacking weights are chosen once, on the fitting part of the smaller size's first split. Ctrl-C ends the splits of a size early.
"boosted" and "choices apart" are tried here alone: they are not shipped.
Writes reports/bench/routing.{json,md}.
"""

import argparse
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report
from scipy import sparse
from scipy.optimize import nnls
from scipy.sparse.csgraph import connected_components
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor

from harness.calibrate.calibrate import calibrate
from harness.calibrate.labelled import LabelledDecision, RiskLimit
from harness.calibrate.route.curve import bounded_threshold, loss_and_saving, oracle_share, routing_curve
from harness.calibrate.route.fit import Fit, fitter, out_of_fold, predict
from harness.calibrate.route.training import Training
from serving.pipeline.models.minilm import MiniLm
from serving.pipeline.route.gain import FittedGain
from serving.pipeline.route.signals import NAMES, signals
from serving.pipeline.settings import PipelineSettings

MARGIN = 0.02
SIZES = {"4,500 questions": 4500, "all questions": None}
THRESHOLDS = 60  # that the engine's walk tests
ANCHORS = {"random": 0.080, "logistic": 0.112, "knn": 0.131, "tfidf": 0.145, "oracle": 0.83}  # earlier, on 4,500 of them
SHIPPED = ("logistic", "tfidf", "knn")
NEAR, OVERLAP = 0.95, 0.7  # near-duplicates: a cosine of .95, or one of .9 and this share of all words in common
Split = tuple[Training, Training, Training]
Scores = Callable[[Training, Training, Training], tuple[Any, Any]]


# ---- the questions -----------------------------------------------------------------------------------------------------------


def read(folder: Path) -> list[dict[str, Any]]:
    try:
        text = (folder / "data.jsonl").read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"{folder}: {error.strerror}. Name the folder that holds data.jsonl.") from None
    return [json.loads(line) for line in text.split("\n") if line.strip()]  # JSON keeps the other line separators


def vectors(texts: Sequence[str], name: str, kept: Path | None) -> Any:
    """MiniLM's vectors, computed once."""
    file = kept / f"vectors-mmlu_{name}.npy" if kept else None
    if file and file.is_file() and len(found := np.load(file)) == len(texts):
        return found
    model = MiniLm(MiniLm.Params(), settings=PipelineSettings(_env_file=None)).connect()
    found = model.vectors(texts)
    if file:
        np.save(file, found)
    return found


def groups_of(texts: Sequence[str], found: Any) -> list[str]:
    """A name for each group of near-duplicates."""
    words = [frozenset(re.findall(r"\w+", text.casefold())) for text in texts]
    rows, columns = [], []
    for begin in range(0, len(texts), 1000):
        similarity = found[begin : begin + 1000] @ found.T
        for one, other in zip(*np.nonzero(similarity >= 0.9), strict=True):
            first, second = begin + int(one), int(other)
            alike = similarity[one, other] >= NEAR or len(words[first] & words[second]) >= OVERLAP * len(words[first] | words[second])
            if first < second and alike:
                rows.append(first)
                columns.append(second)
    graph = sparse.coo_matrix((np.ones(len(rows)), (np.array(rows), np.array(columns))), shape=(len(texts), len(texts)))
    return [str(label) for label in connected_components(graph, directed=False)[1]]


def choices_apart(text: str) -> tuple[str, str]:
    """The question and its choices."""
    stem, _, choices = text.partition("\nA. ")
    lines = ("A. " + choices.removesuffix("\nAnswer:")).split("\n")
    return stem, " ".join(re.sub(r"^[A-D]\. ", "", line) for line in lines)


def dealt(training: Training, split: int, size: int | None) -> Split:
    """Fitting, calibration and test parts of one split; groups stay whole."""
    chance = np.random.default_rng(1000 + split)
    names = np.array(training.groups)
    order = chance.permutation(np.unique(names))
    place = {name: number for number, name in enumerate(order)}
    rank = np.array([place[name] for name in names])
    ordered = np.argsort(rank, kind="stable")[: size or len(names)]
    count = len(ordered)
    edges = [name_edge(rank[ordered], round(count * share)) for share in (0.6, 0.8)]
    parts = np.split(ordered, edges)
    fitted, calibration, test = (training.take(part) for part in parts)
    return fitted, calibration, test


def name_edge(ranks: Any, edge: int) -> int:
    """The edge, moved so that no group lies across it."""
    while 0 < edge < len(ranks) and ranks[edge] == ranks[edge - 1]:
        edge += 1
    return edge


# ---- the routers -------------------------------------------------------------------------------------------------------------


def by_chance(fitted: Training, calibration: Training, test: Training) -> tuple[Any, Any]:
    chance = np.random.default_rng(len(test))
    return chance.random(len(calibration)), chance.random(len(test))


def by_length(fitted: Training, calibration: Training, test: Training) -> Any:
    """The direction in which length goes is learned, as a user would."""
    sign = np.sign(np.corrcoef([len(text) for text in fitted.texts], fitted.gains)[0, 1])
    return tuple(sign * np.array([len(text) for text in part.texts], dtype=float) for part in (calibration, test))


def by_oracle(fitted: Training, calibration: Training, test: Training) -> tuple[Any, Any]:
    return calibration.gains, test.gains


def boosted(fitted: Training, calibration: Training, test: Training) -> tuple[Any, Any]:
    """Boosted trees over the principal directions of the vectors, the signals and what similar questions brought."""
    directions = PCA(50, random_state=0).fit(fitted.vectors)
    near = [nearby(fitted, part, own=part is fitted) for part in (fitted, calibration, test)]
    rows = [
        np.hstack([directions.transform(part.vectors), part.signals, found])
        for part, found in zip((fitted, calibration, test), near, strict=True)
    ]
    model = HistGradientBoostingRegressor(
        max_iter=120, learning_rate=0.05, max_leaf_nodes=15, min_samples_leaf=40, l2_regularization=10, random_state=0
    ).fit(rows[0], fitted.gains)
    return model.predict(rows[1]), model.predict(rows[2])


def nearby(fitted: Training, part: Training, *, own: bool) -> Any:
    """How often each model was right on the 30, 100 and 300 nearest fitted questions; never on a question's own group."""
    found = []
    names, own_names = np.array(fitted.groups), np.array(part.groups)
    for block in np.array_split(np.arange(len(part)), max(1, len(part) // 500)):
        similarity = part.vectors[block] @ fitted.vectors.T
        if own:
            similarity[own_names[block][:, None] == names[None, :]] = -9
        nearest = np.argpartition(-similarity, 300, axis=1)[:, :300]
        order = np.argsort(-np.take_along_axis(similarity, nearest, 1), axis=1)
        nearest = np.take_along_axis(nearest, order, 1)
        found.append(
            np.column_stack([kind[nearest[:, :size]].mean(axis=1) for size in (30, 100, 300) for kind in (fitted.cheap, fitted.dear)])
        )
    return np.vstack(found)


def shipped(fit_one: Fit, fitted: Training, calibration: Training, test: Training) -> tuple[Any, Any]:
    model = fit_one(fitted)
    return predict(model, calibration), predict(model, test)


# ---- the protocol ------------------------------------------------------------------------------------------------------------


def measure(calibration: Training, test: Training, scores: tuple[Any, Any]) -> dict[str, float]:
    """One router on one split."""
    expected, found = scores
    threshold = bounded_threshold(expected, calibration.gains, MARGIN)
    loss, saved = loss_and_saving(found, test.gains, threshold)
    curve = routing_curve(found, test.gains)
    return {"saved": saved, "loss": loss, "apgr": curve.average_recovered, "cpt50": curve.calls_for(0.5), "cpt80": curve.calls_for(0.8)}


def with_engine(calibration: Training, test: Training, scores: tuple[Any, Any]) -> dict[str, float]:
    """The same with the threshold of `touchstone calibrate`, whose bound holds at any size; without one nothing is saved."""
    rows = zip(calibration.groups, scores[0], calibration.gains, strict=True)
    examples = [LabelledDecision(str(n), -float(score), float(gain), 1.0, group) for n, (group, score, gain) in enumerate(rows)]
    grid = np.quantile(-scores[0], np.linspace(0, 1, THRESHOLDS)).tolist()
    done = calibrate(examples, RiskLimit("per_decision", MARGIN, low=-1.0, high=1.0), grid=grid, curve_points=2)
    threshold = -np.inf if done.threshold is None else -done.threshold
    loss, saved = loss_and_saving(scores[1], test.gains, threshold)
    return {"engine_saved": saved, "engine_loss": loss}


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is chosen once: how each model is fitted, and what it weighs in the stack."""

    fits: Mapping[str, Fit]
    weights: Mapping[str, float]


def choose(training: Training, apart: Training, size: int | None, say: Callable[[str], None]) -> Chosen:
    first = dealt(training, 0, size)[0]
    fits: dict[str, Fit] = {name: fitter(name, first) for name in SHIPPED}
    fits["apart"] = fitter("logistic", dealt(apart, 0, size)[0])
    say(f"strengths chosen: { {name: getattr(one, 'keywords', {}) for name, one in fits.items()} }")
    expected = np.column_stack([out_of_fold(fits[name], first) for name in SHIPPED])
    weights = nnls(expected - expected.mean(axis=0), first.gains - first.gains.mean())[0]
    say(f"stacking weights {dict(zip(SHIPPED, weights.round(2).tolist(), strict=True))}")
    return Chosen(fits, dict(zip(SHIPPED, weights.tolist(), strict=True)))


def run(training: Training, apart: Training, chosen: Chosen, size: int | None, splits: int, say: Callable[[str], None]) -> dict[str, Any]:
    rows: dict[str, list[dict[str, float]]] = {}
    for split in range(splits):
        try:
            one_split(training, apart, chosen, size, split, rows)
        except KeyboardInterrupt:
            break
        say(f"split {split + 1} of {splits}, {size or len(training)} questions")
    whole = min(map(len, rows.values()))
    told = {name: summary(found[:whole], rows) for name, found in rows.items()}
    return {"parts": [len(part) for part in dealt(training, 0, size)], "splits": whole, "routers": told}


def one_split(
    training: Training, apart: Training, chosen: Chosen, size: int | None, split: int, rows: dict[str, list[dict[str, float]]]
) -> None:
    """Every router on one split; `rows` is given what came of it."""
    fits = chosen.fits
    _, calibration, test = parts = dealt(training, split, size)
    found: dict[str, tuple[Any, Any]] = {"random": by_chance(*parts), "length": by_length(*parts), "oracle": by_oracle(*parts)}
    found |= {name: shipped(fits[name], *parts) for name in SHIPPED}
    found["stacked"] = summed(found, chosen.weights)
    found["boosted"] = boosted(*parts)
    found["stacked + boosted"] = summed(found, {"stacked": 1.0, "boosted": 1.0})
    found["logistic, choices apart"] = shipped(fits["apart"], *dealt(apart, split, size))
    told = {name: measure(calibration, test, scores) for name, scores in found.items()}
    for name in ("random", "stacked", *SHIPPED):
        told[name] |= with_engine(calibration, test, found[name])
    told["oracle"] |= {"saved": oracle_share(test.gains), "loss": 0.0}
    for name, one in told.items():
        rows.setdefault(name, []).append(one)


def summed(found: Mapping[str, tuple[Any, Any]], weights: Mapping[str, float]) -> tuple[Any, Any]:
    return tuple(sum(weight * found[name][side] for name, weight in weights.items()) for side in (0, 1))


def summary(found: Sequence[Mapping[str, float]], rows: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, float]:
    """Means over the splits, their spread, and how often the loss was above the margin."""
    told = {name: float(np.mean([one[name] for one in found])) for name in found[0]}
    told["saved_spread"] = float(np.std([one["saved"] for one in found], ddof=1))
    told["broken"] = float(np.mean([one["loss"] > MARGIN for one in found]))
    if "engine_loss" in found[0]:
        told["engine_broken"] = float(np.mean([one["engine_loss"] > MARGIN for one in found]))
    differences = np.array([one["saved"] - other["saved"] for one, other in zip(found, rows["random"], strict=True)])
    told["over_random"] = float(differences.mean())
    told["over_random_spread"] = float(differences.std(ddof=1))
    told["oracle_share"] = float(np.mean([one["saved"] / best["saved"] for one, best in zip(found, rows["oracle"], strict=True)]))
    return told


def cost(training: Training, fits: Mapping[str, Fit]) -> dict[str, float]:
    """Milliseconds a question beside its vector: signals and model, as a router calls them."""
    told = {}
    asked = list(training.take(range(400)).asked())
    for name, fit_one in fits.items():
        model = FittedGain(embedder=training.embedder, model=fit_one(training))
        times = []
        for one in asked:
            begun = time.perf_counter()
            signals(one.text, ())
            model.gain(one)
            times.append((time.perf_counter() - begun) * 1000)
        told[name] = float(np.median(times))
    return told


# ---- the report --------------------------------------------------------------------------------------------------------------


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def markdown(data: Mapping[str, Any]) -> str:
    lines = ["# Routing", "", f"Machine: {machine_line(data['machine'])}. Made by `{data['command']}`.", "", ABOUT, ""]
    for title, one in data["sizes"].items():
        fit, calibration, test = one["parts"]
        anchored = title == next(iter(SIZES))
        lines += [f"## {title}: {fit:,} fitted, {calibration:,} calibrated, {test:,} tested, {one['splits']} splits", ""]
        header = [
            "router",
            "saved",
            "± over splits",
            "over random",
            "of the oracle's",
            "loss, points",
            "above 2 points",
            "APGR",
            "CPT(50)",
            "CPT(80)",
        ]
        header += ["saved, engine's bound", "above 2 points "] + (["before"] if anchored else [])
        rows = []
        for name, told in one["routers"].items():
            engine = [percent(told["engine_saved"]), percent(told["engine_broken"])] if "engine_saved" in told else ["", ""]
            before = [percent(ANCHORS[name]) if name in ANCHORS else ""] if anchored else []
            rows.append(
                [
                    name,
                    percent(told["saved"]),
                    percent(told["saved_spread"]),
                    f"{100 * told['over_random']:+.1f} ± {100 * told['over_random_spread']:.1f}",
                    percent(told["oracle_share"]),
                    f"{100 * told['loss']:.2f}",
                    percent(told["broken"]),
                    f"{told['apgr']:.3f}",
                    percent(told["cpt50"]),
                    percent(told["cpt80"]),
                    *engine,
                    *before,
                ]
            )
        lines += [table(header, rows), ""]
    times = ", ".join(f"{name} {ms:.2f} ms" for name, ms in data["milliseconds"].items())
    lines += [f"Beside the vector a question takes (median): {times}. A `knn` model keeps 5,000 questions at most.", ""]
    return "\n".join(lines)


ABOUT = """`saved`: the share of the test's questions that the weak model answers, where the one-sided 95 % bound of the loss against
always-strong is at most 2 points on the calibration part. `oracle`: every question on which the strong model gains nothing, known
beforehand. `before`: the figures of an earlier measurement of the same protocol. `engine's bound`: the threshold of
`touchstone calibrate router`, whose bound holds at any size and shape of the losses and so saves less. APGR and CPT as in RouteLLM:
the mean share of the gap between the models that is kept over all shares of strong calls, and the least share of strong calls that keeps
50 % and 80 % of it. The parts of different splits overlap, so the spread over splits is not the error of the mean; `above 2 points` is how
often the loss seen on the test part was, its own chance included. "boosted" and "choices apart" are not shipped."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--splits", type=int, default=20)
    parser.add_argument("--vectors", type=Path, help="a folder that keeps MiniLM's vectors")
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    rows = read(options.folder)
    texts = [row["question"] for row in rows]
    whole = vectors(texts, "whole", options.vectors)
    stems, choices = zip(*map(choices_apart, texts), strict=True)
    apart = np.hstack([whole, vectors(stems, "stem", options.vectors), vectors(choices, "options", options.vectors)])
    found = np.array([[one[name] for name in NAMES] for one in (signals(text, ()) for text in texts)])
    weak, strong = (np.array([float(row[name]) for row in rows]) for name in ("weak_correct", "strong_correct"))
    build = partial(
        Training, tuple(texts), signals=found, cheap=weak, dear=strong, groups=tuple(groups_of(texts, whole)), embedder="local:minilm"
    )
    training, with_choices = build(vectors=whole), build(vectors=apart)
    say = partial(print, flush=True)
    chosen = choose(training, with_choices, SIZES["4,500 questions"], say)
    sizes = {title: run(training, with_choices, chosen, size, options.splits, say) for title, size in SIZES.items()}
    data = {
        "command": "python bench/routing.py PATH/routellm_mmlu",
        "machine": machine("numpy", "scikit-learn", "onnxruntime"),
        "questions": len(rows),
        "groups": len(set(training.groups)),
        "margin": MARGIN,
        "sizes": sizes,
        "milliseconds": cost(training.take(range(8000)), {name: chosen.fits[name] for name in SHIPPED}),
    }
    write_report("routing", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
