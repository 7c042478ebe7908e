"""May this question take that question's answer? Guards and verifier of the semantic cache beside plain cosine, on labelled pairs.

    python bench/cache_pairs.py PATH… [--golden techcorp/v1] [--fit]      # what was measured of other paths stays in the report

PATH: a folder with `data.jsonl` of {text_a, text_b, label}. Pairs of both labels (Quora Question Pairs as GPTCache samples them) are
look-ups of one question against one other. A file whose labels are all 1 (GPTCache's 999 paraphrases) is a log: each `text_b` is looked
up among all `text_a`. A folder with `golden.jsonl` of {question} gives hard negatives of questions that no guard was written on.

A verifier is always judged on pairs that it was not fitted on: five folds, and questions that share a pair, or nearly a text, are on
one side. `--fit` writes the verifier that ships, from the paraphrases (MIT) and the golden set alone.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report
from numpy.typing import NDArray

from harness.calibrate.cache_pairs import ODD, QuestionPair, golden_pairs, nearest_others, read_pairs
from harness.calibrate.cache_verifier import FitPair, fit_verifier
from harness.calibrate.calibrate import calibrate
from harness.calibrate.groups import joined, near_duplicate_pairs
from harness.calibrate.labelled import LabelledDecision, RiskLimit
from harness.calibrate.split import fit_split
from harness.golden.hard_negatives import hard_negatives
from harness.golden.load import load_golden
from harness.golden.sets import GoldenSet
from serving.pipeline.checks.equivalence.guards import GUARDS, disagreement
from serving.pipeline.checks.equivalence.verifier import BUILT_IN, Verifier, built_in
from serving.pipeline.checks.equivalence.wording import LONGEST, Wording, wording_of
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Spec
from serving.pipeline.settings import PipelineSettings
from serving.storage.files import write_text

FOLDS = 5
CANDIDATES = 4  # nearest questions that are looked at, as the cache does
SHIPPED = ("similarity", "shared_least", "shared_most", "shared_all", "left_letters", "unlike", "trigrams")  # few, so that they carry over
MERGED = 0.8  # share of the words that two statements have in common, from which they are one
# rows of gptcache_mock that say the same in more different words, read one by one
READ_AS_ONE = (
    (429, 473), (975, 510), (669, 630), (410, 159), (441, 159), (660, 604), (351, 440), (940, 260), (788, 781), (458, 561), (673, 709),
    (955, 275),
)  # fmt: skip
PUBLISHED = {"0.95": (425, 25, 549), "0.90": (804, 77, 118), "0.80": (904, 92, 3)}  # GPTCache: right hits, wrong hits, misses of 999
UNLIKE_WORDS = 0.6  # words in common from which nearest statements are no sure negatives to fit on
UNLIKE_COSINE = 0.88
SUM = "all hard negatives as written, but those with another term"
Floats = NDArray[np.float64]


class Embedded:
    """Unit vectors by text, each made once."""

    def __init__(self, kept: Path | None) -> None:
        self._model = connect_embeddings(Spec(name="local:minilm"), PipelineSettings())
        self._kept = kept
        self._vectors: dict[str, NDArray[np.float32]] = {}
        if kept is not None and kept.exists():
            texts = json.loads(kept.with_suffix(".json").read_text(encoding="utf-8"))
            self._vectors = dict(zip(texts, np.load(kept), strict=True))

    def rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        unknown = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        for begin in range(0, len(unknown), 512):
            part = unknown[begin : begin + 512]
            print(f"\r  embedding {begin:,} of {len(unknown):,}", end="", flush=True)
            self._vectors |= dict(zip(part, np.array(self._model.embed_documents(part), dtype=np.float32), strict=True))
        if unknown:
            print()
            if self._kept is not None:
                write_text(self._kept.with_suffix(".json"), json.dumps(list(self._vectors)))
                np.save(self._kept, np.stack(list(self._vectors.values())))
        return np.stack([self._vectors[text] for text in texts])

    def cosines(self, pairs: Sequence[QuestionPair]) -> Floats:
        one, other = self.rows([pair.question for pair in pairs]), self.rows([pair.other for pair in pairs])
        return np.einsum("ij,ij->i", one, other).astype(np.float64)


@dataclass(frozen=True)
class Judged:
    """Pairs with cosine and objection."""

    pairs: list[QuestionPair]
    cosine: Floats
    objected: NDArray[np.bool_]

    @classmethod
    def of(cls, pairs: list[QuestionPair], embedded: Embedded) -> "Judged":
        objected = np.array([disagreement(pair.question, pair.other) is not None for pair in pairs])
        return cls(pairs, embedded.cosines(pairs), objected)

    @cached_property
    def same(self) -> NDArray[np.bool_]:
        return np.array([pair.same for pair in self.pairs])

    @cached_property
    def wordings(self) -> list[tuple[Wording, Wording]]:
        parsed = {text: wording_of(text[:LONGEST]) for pair in self.pairs for text in (pair.question, pair.other)}
        return [(parsed[pair.question], parsed[pair.other]) for pair in self.pairs]

    def fit_pairs(self, indexes: Sequence[int]) -> list[FitPair]:
        chosen = [index for index in indexes if not self.objected[index] and self.readable(index)]
        return [FitPair(*self.wordings[index], float(self.cosine[index]), self.pairs[index].same) for index in chosen]

    def readable(self, index: int) -> bool:
        return max(len(self.pairs[index].question), len(self.pairs[index].other)) <= LONGEST

    def scores(self, verifier: Verifier, indexes: Sequence[int]) -> Floats:
        """What the cache holds against its threshold; -1 where a guard objects."""
        return np.array([self._score(verifier, index) for index in indexes])

    def _score(self, verifier: Verifier, index: int) -> float:
        if self.objected[index]:
            return -1.0
        if not self.readable(index):
            return float(self.pairs[index].question == self.pairs[index].other)
        return verifier.of_wordings(*self.wordings[index], float(self.cosine[index]))


def folds_of(groups: Sequence[str]) -> NDArray[np.int64]:
    """Whole groups to folds, the largest first, always to the smallest fold."""
    names, counts = np.unique(np.array(groups), return_counts=True)
    sizes, fold = [0] * FOLDS, {}
    for place in np.argsort(-counts, kind="stable"):
        smallest = sizes.index(min(sizes))
        fold[str(names[place])] = smallest
        sizes[smallest] += int(counts[place])
    return np.array([fold[group] for group in groups])


def cross_fitted(judged: Judged, groups: Sequence[str], *, features: Sequence[str] | None = None, also: Sequence[FitPair] = ()) -> Floats:
    """Scores of every pair by a verifier that saw none of its group."""
    folds, scores = folds_of(groups), np.zeros(len(judged.pairs))
    for number in range(FOLDS):
        given = {} if features is None else {"features": features}
        verifier = fit_verifier([*judged.fit_pairs(np.flatnonzero(folds != number).tolist()), *also], **given)  # type: ignore[arg-type]
        own = np.flatnonzero(folds == number).tolist()
        scores[own] = judged.scores(verifier, own)
        print(f"\r  fold {number + 1} of {FOLDS}", end="", flush=True)
    print()
    return scores


# pairs as look-ups


def reuse_of_pairs(scores: Floats, same: NDArray[np.bool_], *, of_lookups: float) -> dict[str, float]:
    """The most true duplicates answered while false ones are at most a share of all look-ups; ties act together."""
    order = np.argsort(-scores, kind="stable")
    false, true, ordered = np.cumsum(~same[order]), np.cumsum(same[order]), scores[order]
    last_of_tie = np.append(ordered[1:] != ordered[:-1], True)
    fits = np.flatnonzero((false <= of_lookups * len(same)) & (ordered >= 0) & last_of_tie)
    if not len(fits):
        return {"reused": 0.0, "false of look-ups": 0.0, "false of hits": 0.0}
    at = fits[-1]
    return {
        "reused": float(true[at] / same.sum()),
        "false of look-ups": float(false[at] / len(same)),
        "false of hits": float(false[at] / (at + 1)),
        "threshold": float(ordered[at]),
    }


def pairs_bench(pairs: list[QuestionPair], embedded: Embedded) -> dict[str, Any]:
    judged = Judged.of(pairs, embedded)
    same = judged.same
    groups = near_duplicate_pairs([(pair.question, pair.other) for pair in pairs])
    behind = np.where(judged.objected, -1.0, judged.cosine)
    everything = list(range(len(pairs)))
    fitted = cross_fitted(judged, groups)
    scores = {
        "cosine": judged.cosine,
        "cosine behind the guards": behind,
        "built-in verifier behind the guards": judged.scores(built_in(), everything),
        "verifier fitted on other questions, behind the guards": fitted,
    }
    return {
        "pairs": len(pairs),
        "same": int(same.sum()),
        "objected": {"same": int((judged.objected & same).sum()), "not": int((judged.objected & ~same).sum())},
        "reuse": {
            name: {f"{share:g}": reuse_of_pairs(values, same, of_lookups=share) for share in (0.05, 0.01)}
            for name, values in scores.items()
        },
        "guards": objections(judged),
        "calibrated": [
            calibrated_on_half(pairs, groups, fitted, level, kind) for level, kind in ((0.05, "per_decision"), (0.01, "per_decision"))
        ],
        "reliability": reliability(fitted[~judged.objected], same[~judged.objected]),
    }


def objections(judged: Judged) -> dict[str, list[int]]:
    """How many pairs each guard alone objects to: of the same question, of others."""
    counts = {name: [0, 0] for name in GUARDS}
    for wordings, same in zip(judged.wordings, judged.same, strict=True):
        for name, objects in GUARDS.items():
            counts[name][int(not same)] += objects(*wordings) is not None
    return counts


def calibrated_on_half(pairs: Sequence[QuestionPair], groups: Sequence[str], scores: Floats, level: float, kind: Any) -> dict[str, Any]:
    """A threshold chosen by the engine on half of the questions, and what it does to the other half."""
    split = fit_split(groups, salt="bench")
    examples = [
        LabelledDecision(pairs[at].id, float(max(0.0, scores[at])), float(not pairs[at].same), float(pairs[at].same), groups[at])
        for at in split.fit
    ]
    chosen = calibrate(examples, RiskLimit(kind, level)).threshold
    rest = np.array(split.calibration)
    same = np.array([pairs[at].same for at in rest])
    acts = scores[rest] >= chosen if chosen is not None else np.zeros(len(rest), dtype=bool)
    return {
        "level": level,
        "threshold": chosen,
        "reused": float((acts & same).sum() / same.sum()),
        "false of look-ups": float((acts & ~same).mean()),
        "false of hits": float((acts & ~same).sum() / max(1, acts.sum())),
    }


def reliability(scores: Floats, same: NDArray[np.bool_]) -> list[list[float]]:
    """For each tenth of probability: pairs, their mean probability, and how many are the same."""
    tenths = np.minimum((scores * 10).astype(int), 9)
    return [
        [int((tenths == tenth).sum()), float(scores[tenths == tenth].mean()), float(same[tenths == tenth].mean())]
        for tenth in range(10)
        if (tenths == tenth).any()
    ]


# a log: every text looked up among all others


@dataclass(frozen=True)
class Log:
    """Statements and their paraphrases, those that say the same merged."""

    kept: list[str]
    asked: list[str]
    groups: list[str]


def log_of(pairs: Sequence[QuestionPair], *, read: bool) -> Log:
    """Rows whose words are nearly the same are one statement, as are those that were read as one."""
    asked, kept = [pair.question for pair in pairs], [pair.other for pair in pairs]
    contents = [[wording_of(text[:LONGEST]).content for text in texts] for texts in (kept, asked)]
    keys: list[list[Any]] = [[("row", index)] for index in range(len(pairs))]
    for one in range(len(pairs)):
        for other in range(one):
            if any(alike(first[one], second[other]) >= MERGED for first in contents for second in contents):
                keys[one].append(("row", other))
    if read:
        for one, other in READ_AS_ONE:
            keys[one].append(("row", other))
    return Log(kept, asked, joined(keys))


def alike(one: frozenset[str], other: frozenset[str]) -> float:
    return len(one & other) / max(1, len(one | other))


def log_bench(pairs: list[QuestionPair], embedded: Embedded, also: Sequence[FitPair]) -> dict[str, Any]:
    # read_pairs has text_a first: the kept statement; text_b is asked
    pairs = [QuestionPair(pair.id, pair.other, pair.question, True) for pair in pairs]
    logs = {
        "no row merged": None,
        "rows of the same words merged": log_of(pairs, read=False),
        "and those read as one": log_of(pairs, read=True),
    }
    vectors = embedded.rows([pair.question for pair in pairs]) @ embedded.rows([pair.other for pair in pairs]).T
    nearest = np.argsort(-vectors, axis=1, kind="stable")[:, :CANDIDATES]
    merged = logs["and those read as one"]
    assert merged is not None
    found = [
        QuestionPair(
            f"{row}-{column}", merged.asked[row], merged.kept[column], merged.groups[row] == merged.groups[column], merged.groups[row]
        )
        for row in range(len(pairs))
        for column in nearest[row].tolist()
    ]
    judged = Judged.of(found, embedded)
    fit = Judged.of(log_fit_pairs(merged, embedded), embedded)
    folds = dict(zip((groups := sorted(set(merged.groups))), folds_of(groups), strict=True))
    fitted = np.full(len(found), -1.0)
    for number in range(FOLDS):
        inside = [index for index, pair in enumerate(fit.pairs) if folds[pair.group] != number]
        verifier = fit_verifier([*fit.fit_pairs(inside), *also], features=SHIPPED)
        own = [index for index, pair in enumerate(found) if folds[pair.group] == number]
        fitted[own] = judged.scores(verifier, own)
    shape = (len(pairs), CANDIDATES)
    scores = {
        "cosine": judged.cosine,
        "cosine behind the guards": np.where(judged.objected, -1.0, judged.cosine),
        "verifier fitted on other statements, behind the guards": fitted,
    }
    result: dict[str, Any] = {"look-ups": len(pairs), "published": PUBLISHED, "at": {}, "best": {}}
    for name, log in logs.items():
        right = np.array(
            [
                [row == column if log is None else log.groups[row] == log.groups[column] for column in nearest[row]]
                for row in range(len(pairs))
            ]
        )
        result["at"][name] = {
            f"{threshold:g}": outcome(scores["cosine"].reshape(shape)[:, :1], right[:, :1], threshold)
            for threshold in (0.95, 0.9, 0.85, 0.8)
        }
        result["best"][name] = {
            score: best_outcome(
                values.reshape(shape) if score != "cosine" else values.reshape(shape)[:, :1], right if score != "cosine" else right[:, :1]
            )
            for score, values in scores.items()
        }
        result["at"][name]["statements"] = len(pairs) if log is None else len(set(log.groups))
    return result


def log_fit_pairs(log: Log, embedded: Embedded) -> list[QuestionPair]:
    """Each paraphrase with its statement, and with the nearest statements that surely say something else."""
    pairs = [
        QuestionPair(f"p{row}", asked, kept, True, log.groups[row])
        for row, (asked, kept) in enumerate(zip(log.asked, log.kept, strict=True))
    ]
    cosine = embedded.rows(log.asked) @ embedded.rows(log.kept).T
    content = [[wording_of(text[:LONGEST]).content for text in texts] for texts in (log.asked, log.kept)]
    for row in range(len(log.asked)):
        others = [column for column in np.argsort(-cosine[row], kind="stable").tolist() if log.groups[column] != log.groups[row]][:3]
        pairs += [
            QuestionPair(f"n{row}-{column}", log.asked[row], log.kept[column], False, log.groups[row])
            for column in others
            if cosine[row, column] < UNLIKE_COSINE and alike(content[0][row], content[1][column]) < UNLIKE_WORDS
        ]
    return pairs


def outcome(scores: Floats, right: NDArray[np.bool_], threshold: float) -> dict[str, float]:
    """Look-ups answered by the first candidate whose score reaches the threshold, and those of them answered wrongly."""
    reaches = scores >= threshold
    hits = reaches.any(axis=1)
    first = reaches.argmax(axis=1)
    wrong = hits & ~right[np.arange(len(right)), first]
    return {"hits": float(hits.mean()), "false of hits": float(wrong.sum() / max(1, hits.sum())), "false of look-ups": float(wrong.mean())}


def best_outcome(scores: Floats, right: NDArray[np.bool_]) -> dict[str, float]:
    """The most look-ups answered while at most 1 % of the answers are wrong."""
    found = [{"threshold": float(at)} | outcome(scores, right, float(at)) for at in np.unique(scores[scores >= 0.0])]
    return max((one for one in found if one["false of hits"] <= 0.01), key=lambda one: one["hits"], default={"hits": 0.0})


# a golden set


def golden_bench(golden: GoldenSet, embedded: Embedded, unseen: Sequence[tuple[str, list[str]]], level: float) -> dict[str, Any]:
    """A verifier and a threshold from the tune split, compared with the holdout, and against other sets' hard negatives."""
    pairs = golden_fit_pairs(golden, embedded)
    split = {case.group or case.id: golden.split_of(case) for case in golden.cases}
    tune = Judged.of([pair for pair in pairs if split[pair.group] == "tune"], embedded)
    holdout = Judged.of([pair for pair in pairs if split[pair.group] == "holdout"], embedded)
    groups = [pair.group for pair in tune.pairs]
    halves = fit_split(groups, fit_share=0.2)
    kept = [at for at in halves.calibration if tune.pairs[at].family != ODD]
    verifier = fit_verifier(tune.fit_pairs(halves.fit), features=SHIPPED)
    chosen: dict[str, Any] = {}
    for name, values in {
        "cosine": tune.cosine[kept],
        "cosine behind the guards": np.where(tune.objected, -1.0, tune.cosine)[kept],
        "verifier behind the guards": tune.scores(verifier, kept),
    }.items():
        examples = [
            LabelledDecision(
                tune.pairs[at].id, float(max(0.0, value)), float(not tune.pairs[at].same), float(tune.pairs[at].same), groups[at]
            )
            for at, value in zip(kept, values, strict=True)
        ]
        chosen[name] = calibrate(examples, RiskLimit("per_decision", level))
    report: dict[str, Any] = {"level": level, "calibrated on": len(kept), "groups": len({groups[at] for at in kept}), "scores": {}}
    negatives = {name: Judged.of(negatives_of(questions, name), embedded) for name, questions in unseen}
    for name, calibration in chosen.items():
        at = calibration.threshold
        report["scores"][name] = {
            "threshold": at,
            "reason": calibration.reason,
            "holdout": by_family(holdout, acting(holdout, name, verifier, at)),
            **{other: by_family(judged, acting(judged, name, verifier, at)) for other, judged in negatives.items()},
        }
    return report


def acting(judged: Judged, name: str, verifier: Verifier, threshold: float | None) -> NDArray[np.bool_]:
    """Which pairs are answered."""
    if threshold is None:
        return np.zeros(len(judged.pairs), dtype=bool)
    values = judged.scores(verifier, range(len(judged.pairs))) if name.startswith("verifier") else judged.cosine
    return np.asarray((values >= threshold) & ~(judged.objected & (name != "cosine")))


def by_family(judged: Judged, acts: NDArray[np.bool_]) -> dict[str, list[int]]:
    """Pairs answered and pairs, of each family and of all hard negatives."""
    families = np.array([pair.family for pair in judged.pairs])
    found = {str(name): [int(acts[families == name].sum()), int((families == name).sum())] for name in dict.fromkeys(families.tolist())}
    negative = np.char.startswith(families, "hard negative")
    odd = families == ODD
    small = np.char.endswith(families, ", small")
    return found | {
        SUM: [int(acts[negative & ~odd & ~small].sum()), int((negative & ~odd & ~small).sum())],
        "all hard negatives": [int(acts[negative].sum()), int(negative.sum())],
    }


def golden_fit_pairs(golden: GoldenSet, embedded: Embedded) -> list[QuestionPair]:
    questions, groups = [case.question for case in golden.cases], [case.group or case.id for case in golden.cases]
    return [*golden_pairs(golden.cases), *nearest_others(questions, groups, embedded.rows(questions))]


def negatives_of(questions: Sequence[str], name: str) -> list[QuestionPair]:
    found = hard_negatives(questions)
    return [
        QuestionPair(f"{name}-{at}", one.question, one.altered, False, "", f"hard negative: {one.kind}") for at, one in enumerate(found)
    ]


# the verifier that ships


def fit_built_in(paraphrases: list[QuestionPair], golden: GoldenSet, embedded: Embedded) -> None:
    log = log_of([QuestionPair(pair.id, pair.other, pair.question, True) for pair in paraphrases], read=True)
    judged = Judged.of([*log_fit_pairs(log, embedded), *golden_fit_pairs(golden, embedded)], embedded)
    verifier = fit_verifier(judged.fit_pairs(range(len(judged.pairs))), features=SHIPPED)
    plain = verifier.model_copy(update={"names": (), "rarity": {}, "rarity_unknown": 1.0})  # those of TechCorp are no use elsewhere
    write_text(BUILT_IN, plain.model_dump_json() + "\n")
    built_in.cache_clear()
    print(f"  wrote {BUILT_IN}: {len(plain.trees.roots)} trees")


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def markdown(report: dict[str, Any]) -> str:
    lines = ["# Cache: may this question take that question's answer?", "", f"Machine: {machine_line(report['machine'])}.", ""]
    lines += [
        "Made by `python bench/cache_pairs.py PATH…`; its docstring says which data, and how nothing is judged on what it was fitted on.",
        "",
    ]
    for name, data in report["logs"].items():
        lines += [f"## {name}: a log", "", *of_log(data), ""]
    for name, data in report["pairs"].items():
        lines += [f"## {name}: labelled pairs", "", *of_pairs(data), ""]
    for name, data in report["golden"].items():
        lines += [f"## {name}: hard negatives", "", *of_golden(data), ""]
    return "\n".join(lines)


def of_log(data: dict[str, Any]) -> list[str]:
    count = data["look-ups"]
    lines = [
        f"Each of {count} paraphrases is looked up among all statements. A hit is right when it is the paraphrased statement or one that",
        "says the same. Many rows say the same: those with nearly the same words are merged, then those that were read as one.",
        "",
        "Plain cosine of MiniLM, the nearest statement only, beside what GPTCache published for its own model with no row merged:",
        "",
    ]
    rows = []
    for threshold in ("0.95", "0.9", "0.85", "0.8"):
        right, wrong, _ = data["published"].get(f"{float(threshold):.2f}", (0, 0, 0))
        published = f"{percent((right + wrong) / count)}, {percent(wrong / (right + wrong))}" if right else "–"
        rows.append(
            [
                threshold,
                published,
                *(f"{percent(at[threshold]['hits'])}, {percent(at[threshold]['false of hits'])}" for at in data["at"].values()),
            ]
        )
    header = ["threshold", "GPTCache", *(f"{name} ({at['statements']} statements)" for name, at in data["at"].items())]
    lines += [
        "Answered of look-ups, false of hits.",
        "",
        table(header, rows),
        "",
        "The most look-ups answered with at most 1 % of the hits false:",
        "",
    ]
    scores = list(next(iter(data["best"].values())))
    best = [
        [score, *(f"{percent(by[score]['hits'])} at {by[score].get('threshold', 1.0):.3f}" for by in data["best"].values())]
        for score in scores
    ]
    return [*lines, table(["", *data["best"]], best)]


def of_pairs(data: dict[str, Any]) -> list[str]:
    other = data["pairs"] - data["same"]
    lines = [
        f"{data['pairs']:,} look-ups, of which {data['same']:,} are labelled the same question. The guards object to "
        f"{percent(data['objected']['not'] / other)} of those that are not, and to "
        f"{percent(data['objected']['same'] / data['same'])} of those that are.",
        "",
        "Duplicates answered (of all duplicates), with false answers of at most 5 % and 1 % of all look-ups; beside it, false of hits:",
        "",
    ]
    rows = [
        [name, *(f"{percent(at['reused'])} ({percent(at['false of hits'])} of hits false)" for at in by.values())]
        for name, by in data["reuse"].items()
    ]
    lines += [table(["", "≤ 5 % of look-ups", "≤ 1 % of look-ups"], rows), ""]
    lines += ["A threshold that the engine chose on half of the questions (95 % confidence), held against the other half:", ""]
    calibrated = [
        [
            f"≤ {percent(one['level'])} of look-ups",
            "none" if one["threshold"] is None else f"{one['threshold']:.3f}",
            *(percent(one[key]) for key in ("false of look-ups", "false of hits", "reused")),
        ]
        for one in data["calibrated"]
    ]
    lines += [table(["level", "threshold", "false of look-ups", "false of hits", "duplicates answered"], calibrated), ""]
    guards = [[name, same, other_count] for name, (same, other_count) in data["guards"].items()]
    lines += ["Objections of each guard alone:", "", table(["guard", "to the same question", "to another"], guards), ""]
    rows = [[pairs, f"{mean:.3f}", f"{same:.3f}"] for pairs, mean, same in data["reliability"]]
    return [*lines, "How true the fitted verifier's probability is:", "", table(["pairs", "mean probability", "same"], rows)]


def of_golden(data: dict[str, Any]) -> list[str]:
    lines = [
        f"Verifier and thresholds from the tune split ({data['calibrated on']:,} pairs in {data['groups']} groups to calibrate on):",
        f"at most {percent(data['level'])} of the look-ups false, 95 % confidence. Answered of pairs, in the holdout and, below it, of",
        "hard negatives of other questions. The guards and the generator of opposites share one list of antonyms, so that row shows that",
        "it is wired, not that it is complete. Questions with another term are odd ones; they are fitted on and not calibrated on.",
        "*small*: names in small letters, which the guards do not know; the verifier knows those of the questions it was fitted on.",
        "",
    ]
    for score, found in data["scores"].items():
        threshold = found["threshold"]
        lines += [
            f"### {score}: " + (f"threshold {threshold:.4f}" if threshold is not None else f"no safe threshold. {found['reason']}"),
            "",
        ]
        for place, families in found.items():
            if isinstance(families, dict):
                rows = [
                    [family, f"{acts} of {count}", percent(acts / count) if count else "–"] for family, (acts, count) in families.items()
                ]
                lines += [table([place, "answered", "share"], rows), ""]
    return lines


def report_so_far(folder: Path) -> dict[str, Any]:
    """What an earlier run measured of other paths."""
    path = folder / "cache_pairs.json"
    earlier = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"logs": {}, "pairs": {}, "golden": {}}
    return earlier | {"machine": machine("scikit-learn", "onnxruntime")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("paths", nargs="*", type=Path)
    parser.add_argument("--golden", default="techcorp/v1")
    parser.add_argument("--fit", action="store_true", help="write the verifier that ships")
    parser.add_argument("--vectors", type=Path, help="a .npy file in which vectors are kept between runs")
    parser.add_argument("--level", type=float, default=0.02, help="of the golden set's calibration")
    parser.add_argument("--out", type=Path, default=REPORTS)
    arguments = parser.parse_args()
    embedded = Embedded(arguments.vectors)
    golden = load_golden(Path("datasets"), arguments.golden)
    sets = {path.name: read_pairs([path / "data.jsonl"]) for path in arguments.paths if (path / "data.jsonl").exists()}
    logs = {name: pairs for name, pairs in sets.items() if all(pair.same for pair in pairs)}
    if arguments.fit:
        fit_built_in(next(iter(logs.values())), golden, embedded)
        return
    golden_fit = Judged.of(golden_fit_pairs(golden, embedded), embedded)
    unseen = [
        (path.name, [json.loads(line)["question"] for line in (path / "golden.jsonl").read_text(encoding="utf-8").splitlines()])
        for path in arguments.paths
        if (path / "golden.jsonl").exists()
    ]
    report = report_so_far(arguments.out)
    if unseen or not sets:
        report["golden"][arguments.golden] = golden_bench(golden, embedded, unseen, arguments.level)
    for name, pairs in sets.items():
        write_report("cache_pairs", report, markdown(report), arguments.out)
        print(name)
        if name in logs:
            report["logs"][name] = log_bench(pairs, embedded, golden_fit.fit_pairs(range(len(golden_fit.pairs))))
        else:
            report["pairs"][name] = pairs_bench(pairs, embedded)
    write_report("cache_pairs", report, markdown(report), arguments.out)
    print((arguments.out / "cache_pairs.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
