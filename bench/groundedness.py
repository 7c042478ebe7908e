"""How well groundedness tells supported claims from unsupported ones, beside plain word overlap, on the WiCE claims.

    python bench/groundedness.py FOLDER [--traces CASES]   evaluates the coefficients in the tree on the test split
    python bench/groundedness.py FOLDER --fit              fits them on the dev split and rewrites them; the test split stays unread

CASES is the cases.jsonl of a `touchstone eval`, whose answers are then checked too.
FOLDER has `data.jsonl` ({id, split, label, claim, evidence: [sentence], supporting_sentences: [[index]]}) and
`oracle_chunks.jsonl` (the same claims with short premises; test split only). Nothing is chosen on the test split: features,
windows and thresholds come from dev. Writes reports/bench/groundedness.{json,md}.
"""

import argparse
import json
import random
import re
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report

from harness.judges.tools import EMBEDDER, Tools
from harness.results.report_file import read_report
from serving.pipeline.checks.grounding.check import check_answer
from serving.pipeline.checks.grounding.claims import passages_for
from serving.pipeline.checks.grounding.evidence import compare_claim, parse_passages
from serving.pipeline.checks.grounding.model import COEFFICIENTS, WORDS_ONLY, SupportModel, claim_features, model_for, models_digest
from serving.pipeline.checks.grounding.support import NEAREST, similarities, support
from serving.pipeline.checks.grounding.terms import parse_terms
from serving.pipeline.settings import PipelineSettings
from serving.pipeline.text.stopwords import STOP_WORDS
from serving.pipeline.text.words import WORD
from serving.storage.files import write_text

SEED, RESAMPLES, FOLDS = 20240601, 2000, 10
SHORT_WORDS = 240  # of a premise cut from an article, as long as an oracle chunk
ALTERED_SHARE = 0.2  # weight of all altered claims together, as a share of the weight of all labelled ones
RIDGE = 1.0
ALL = ("coverage", "missing_numbers", "missing_names", "wrong_number", "denied", "similarity")
WITHOUT_SIMILARITY = ALL[:-1]
OVERLAPS = (
    "all words, whole evidence",
    "content words, whole evidence",
    "all words, best sentence",
    "content words, best sentence",
    "content words, best 3 sentences in a row",
    "content words, best 8 sentences in a row",
    "stems, best 8 sentences in a row",
)


# ---- the examples ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Example:
    """A claim, what it is compared with, and what people (or a rule) said of it."""

    claim: str
    evidence: tuple[str, ...]  # sentences
    label: str
    group: str  # examples of one claim share it

    @property
    def passage(self) -> str:
        return "\n\n".join(self.evidence)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except OSError as error:
        raise SystemExit(f"{path}: {error.strerror}. Name the folder that holds data.jsonl and oracle_chunks.jsonl.") from None


def articles(rows: Sequence[Mapping[str, Any]], split: str) -> list[Example]:
    return [Example(row["claim"], tuple(row["evidence"]), row["label"], row["id"]) for row in rows if row["split"] == split]


def short_premises(rows: Sequence[Mapping[str, Any]]) -> list[Example]:
    """The dev claims with some of the article only: one set of supporting sentences among sentences drawn at random."""
    found = []
    for row in (row for row in rows if row["split"] == "dev"):
        chance, sentences = random.Random(f"{SEED} {row['id']}"), row["evidence"]
        sets = [chosen for chosen in row["supporting_sentences"] if chosen]
        kept = set(chance.choice(sets)) if sets else {chance.randrange(len(sentences))}
        rest = [index for index in range(len(sentences)) if index not in kept]
        chance.shuffle(rest)
        for index in rest:
            if sum(len(sentences[at].split()) for at in kept) >= SHORT_WORDS:
                break
            kept.add(index)
        found.append(Example(row["claim"], tuple(sentences[index] for index in sorted(kept)), row["label"], row["id"]))
    return found


_NUMBER = re.compile(r"(?<![\w.,/-])\d{1,4}(?![\w/-]|[.,:]\d)")
_VERB = re.compile(r"\b(?:is|was|are|were|has|have|had|will|can|could|may|must|should|did|does)\b")


def with_other_number(text: str, passage: str, chance: random.Random, *, present: bool) -> str | None:
    """The text with one number changed, to one that stands in the passage (`present`) or to one that does not."""
    own = list(_NUMBER.finditer(text))
    if not own:
        return None
    there = {match.group() for match in _NUMBER.finditer(passage)}
    match = chance.choice(own)
    if present:
        others = sorted(there - {number.group() for number in own})
    else:
        others = [str(number) for number in range(2, 2100) if len(str(number)) == len(match.group()) and str(number) not in there]
    return text[: match.start()] + chance.choice(others) + text[match.end() :] if others else None


def denied(text: str) -> str | None:
    """The text with its first "not" removed, or with one added after its first auxiliary verb."""
    if re.search(r"\bnot ", text):
        return re.sub(r"\bnot ", "", text, count=1)
    match = _VERB.search(text)
    return f"{text[: match.end()]} not{text[match.end() :]}" if match else None


def altered(examples: Sequence[Example]) -> list[Example]:
    """What the labelled set lacks: quotes, and supported claims and quotes with one number changed or one denial added."""
    found: list[Example] = []
    for example in examples:
        chance = random.Random(f"{SEED} {example.group} altered")
        good = [example] if example.label == "supported" else []
        quotes = [text for text in example.evidence if 8 <= len(text.split()) <= 30 and text[-1:] == "." and _NUMBER.search(text)]
        if quotes:
            good.append(replace(example, claim=chance.choice(quotes), label="supported"))
            found.append(good[-1])
        for one in good:
            wrong = [with_other_number(one.claim, one.passage, chance, present=present) for present in (False, True)]
            found += [replace(one, claim=text, label="not_supported") for text in (*wrong, denied(one.claim)) if text]
    return found


# ---- the features ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """Examples with the features of each."""

    examples: list[Example]
    rows: list[dict[str, float]]

    def matrix(self, names: Sequence[str]) -> Any:
        return np.array([[row[name] for name in names] for row in self.rows], dtype=float)

    @property
    def supported(self) -> Any:
        return np.array([example.label == "supported" for example in self.examples])

    @property
    def partly(self) -> Any:
        return np.array([example.label == "partially_supported" for example in self.examples])


def measure(examples: list[Example], tools: Tools) -> Measured:
    """The model's features, the embedding alone, and every form of word overlap."""
    rows = []
    for example in examples:
        written = parse_passages((example.passage,))
        lexical = compare_claim(example.claim, written)
        texts = [example.claim[:600], *(written[at].text[:600] for at in lexical.ranking[:NEAREST])]
        [similarity] = similarities([texts], tools)
        nearest = [value or 0.0 for value in similarities([[texts[0], text] for text in texts[1:]], tools)]
        rows.append(
            claim_features(lexical, similarity or 0.0)
            | {"nearest_similarity": max(nearest, default=0.0), "whole": lexical.whole, "best": lexical.best}
            | overlaps(example)
        )
    return Measured(examples, rows)


def overlaps(example: Example) -> dict[str, float]:
    """Share of the claim's words in the evidence, in the forms in which it is commonly taken."""

    def every(text: str) -> list[str]:
        return WORD.findall(text.casefold())

    def content(text: str) -> list[str]:
        return [word for word in every(text) if word not in STOP_WORDS]

    def stems(text: str) -> list[str]:
        return [term.stem for term in parse_terms(text)]

    def best(take: Callable[[str], list[str]], run: int) -> float:
        said, written = set(take(example.claim)), [set(take(sentence)) for sentence in example.evidence]
        length = run or len(written)
        parts = [set().union(*written[at : at + length]) for at in range(max(1, len(written) - length + 1))]
        return max((len(said & part) / max(1, len(said)) for part in parts), default=0.0)

    forms = [(every, 0), (content, 0), (every, 1), (content, 1), (content, 3), (content, 8), (stems, 8)]
    return {name: best(take, run) for name, (take, run) in zip(OVERLAPS, forms, strict=True)}


# ---- fitting ---------------------------------------------------------------------------------------------------------------


def fit(names: Sequence[str], data: Sequence[tuple[Measured, float]], keep: Callable[[Example], bool] = lambda _: True) -> SupportModel:
    """Logistic regression with both classes weighing the same; each set of examples weighs what it is given."""
    from scipy.optimize import minimize

    chosen = [(part, share, np.array([keep(example) for example in part.examples])) for part, share in data]
    x = np.concatenate([part.matrix(names)[mask] for part, _, mask in chosen])
    y = np.concatenate([part.supported[mask] for part, _, mask in chosen]).astype(float)
    weight = np.concatenate([balanced(part.supported[mask]) * share for part, share, mask in chosen])
    mean, spread = x.mean(axis=0), x.std(axis=0) + 1e-9
    z = np.column_stack([np.ones(len(x)), (x - mean) / spread])

    def loss(b: Any) -> tuple[float, Any]:
        score = z @ b
        wrong = weight * (1 / (1 + np.exp(-score)) - y)
        penalty = np.array([0.0, *b[1:]])
        return float((weight * (np.logaddexp(0, score) - y * score)).sum() + RIDGE * (penalty**2).sum() / 2), z.T @ wrong + RIDGE * penalty

    b = minimize(loss, np.zeros(len(names) + 1), jac=True, method="BFGS").x
    weights = b[1:] / spread
    bias = round(float(b[0] - weights @ mean), 4)
    return SupportModel({name: round(float(value), 4) for name, value in zip(names, weights, strict=True)}, bias, threshold=0.5)


def balanced(supported: Any) -> Any:
    """Weights under which both classes weigh the same, and each example one on average."""
    share = supported.mean()
    return np.where(supported, 0.5 / share, 0.5 / (1 - share))


def probabilities(model: SupportModel, data: Measured) -> Any:
    return np.array([model.probability(row) for row in data.rows])


def out_of_fold(names: Sequence[str], data: Sequence[tuple[Measured, float]]) -> list[Any]:
    """Probabilities on dev from models that did not see the claim."""
    groups = sorted({example.group for part, _ in data for example in part.examples})
    fold = {group: place % FOLDS for place, group in enumerate(random.Random(SEED).sample(groups, len(groups)))}
    found = [np.zeros(len(part.examples)) for part, _ in data]
    for number in range(FOLDS):
        model = fit(names, data, keep=lambda example: fold[example.group] != number)  # noqa: B023 — called at once
        for values, (part, _) in zip(found, data, strict=True):
            inside = np.array([fold[example.group] == number for example in part.examples])
            values[inside] = probabilities(model, part)[inside]
    return found


def best_threshold(scores: Sequence[Any], data: Sequence[tuple[Measured, float]]) -> float:
    """Where the mean of the shares of supported and unsupported claims told rightly is largest, weighed as in the fit."""
    steps = np.round(np.arange(0.05, 0.96, 0.01), 2)
    supported = np.concatenate([part.supported for part, _ in data])
    weight = np.concatenate([np.full(len(part.examples), share) for part, share in data])

    def told_rightly(step: float) -> float:
        right = (np.concatenate(list(scores)) >= step) == supported
        return float(np.mean([np.average(right[side], weights=weight[side]) for side in (supported, ~supported)]))

    return float(max(steps, key=told_rightly))


def fit_all(training: Sequence[tuple[Measured, float]]) -> tuple[dict[str, SupportModel], dict[str, Any]]:
    """The models, thresholds from dev, and how well they did there."""
    models, told = {}, {}
    for key, names in ((EMBEDDER.name, ALL), (WORDS_ONLY, WITHOUT_SIMILARITY)):
        scores = out_of_fold(names, training)
        models[key] = replace(fit(names, training), threshold=best_threshold(scores, training))
        told[key] = {title: both_aucs(values, part) for title, values, (part, _) in zip(TITLES, scores, training[:2], strict=False)}
    return models, told


def write_models(models: Mapping[str, SupportModel]) -> None:
    made = {
        "command": "python bench/groundedness.py FOLDER --fit",
        "data": "WiCE (github.com/ryokamoi/wice), dev split: its claims with their articles and with parts of them, "
        "and the supported ones and quotes of the articles altered by rule (a number changed, a denial added)",
        "licence": "WiCE's annotations are ODC-BY; none of its text is here",
        "loss": f"logistic, classes weighing the same, ridge {RIDGE:g} on standardised features, altered claims {ALTERED_SHARE:g} of the "
        "labelled ones' weight",
        "threshold": "largest balanced accuracy, supported against the rest, on the same claims out of fold",
    }
    body = {name: {"weights": dict(one.weights), "bias": one.bias, "threshold": one.threshold} for name, one in models.items()}
    write_text(COEFFICIENTS, json.dumps({"made": made, "models": body}, indent=1, ensure_ascii=False) + "\n")


# ---- evaluating ------------------------------------------------------------------------------------------------------------


def auc(scores: Any, positive: Any) -> float:
    """The chance that a positive scores above a negative, ties counting half."""
    from scipy.stats import rankdata

    count = int(positive.sum())
    rest = len(positive) - count
    if not count or not rest:
        return float("nan")
    return float((rankdata(scores)[positive].sum() - count * (count + 1) / 2) / (count * rest))


def both_aucs(scores: Any, data: Measured) -> dict[str, float]:
    clear = ~data.partly
    return {"not": auc(scores[clear], data.supported[clear]), "rest": auc(scores, data.supported)}


def resamples(data: Measured) -> list[Any]:
    """Indices drawn with replacement, all examples of a claim together."""
    members: dict[str, list[int]] = {}
    for place, example in enumerate(data.examples):
        members.setdefault(example.group, []).append(place)
    groups = [np.array(settings) for settings in members.values()]
    chance = np.random.default_rng(SEED)
    return [np.concatenate([groups[at] for at in chance.integers(0, len(groups), len(groups))]) for _ in range(RESAMPLES)]


def with_intervals(contenders: Mapping[str, Any], data: Measured, rivals: Sequence[str], ours: str) -> dict[str, Any]:
    """Each contender's AUCs with 95 % intervals, and our difference to each rival, resampled together."""
    draws = resamples(data)
    found: dict[str, Any] = {}
    for which in ("not", "rest"):
        mask = ~data.partly if which == "not" else np.ones(len(data.examples), bool)
        kept = [draw[mask[draw]] for draw in draws]
        drawn = {name: np.array([auc(scores[draw], data.supported[draw]) for draw in kept]) for name, scores in contenders.items()}
        whole = {name: auc(scores[mask], data.supported[mask]) for name, scores in contenders.items()}
        found[which] = {
            "auc": {name: [whole[name], *quantiles(values)] for name, values in drawn.items()},
            "difference": {name: [whole[ours] - whole[name], *quantiles(drawn[ours] - drawn[name])] for name in rivals},
        }
    return found


def quantiles(values: Any) -> list[float]:
    return [float(value) for value in np.nanquantile(values, [0.025, 0.975])]


def decisions(model: SupportModel, data: Measured) -> dict[str, float]:
    """What the threshold does: grounded (or not) as said, supported (or not) as labelled."""
    said, is_so = probabilities(model, data) >= model.threshold, data.supported
    bad = np.array([example.label == "not_supported" for example in data.examples])
    return {
        "precision": float(is_so[said].mean()),
        "recall": float(said[is_so].mean()),
        "ungrounded_precision": float((~is_so)[~said].mean()),
        "ungrounded_recall": float((~said)[~is_so].mean()),
        "not_supported_found": float((~said)[bad].mean()),
        "balanced_accuracy": float((said[is_so].mean() + (~said)[~is_so].mean()) / 2),
        "base_rate": float(is_so.mean()),
    }


ABLATIONS: dict[str, tuple[str, ...]] = {
    "coverage alone": ("coverage",),
    "without numbers": tuple(name for name in ALL if "number" not in name),
    "without names": tuple(name for name in ALL if name != "missing_names"),
    "without denials": tuple(name for name in ALL if name != "denied"),
    "whole evidence for runs of sentences": tuple("whole" if name == "coverage" else name for name in ALL),
    "best sentence for runs of sentences": tuple("best" if name == "coverage" else name for name in ALL),
}


def evaluate(
    parts: Mapping[str, Measured], models: Mapping[str, SupportModel], training: Sequence[tuple[Measured, float]]
) -> dict[str, Any]:
    """Every contender on every part of the test split; the form of overlap that did best on dev is the fair rival."""
    fair = max(OVERLAPS, key=lambda name: sum(sum(both_aucs(part.matrix([name])[:, 0], part).values()) for part, _ in training[:2]))
    ablated = {name: fit(names, training) for name, names in ABLATIONS.items()}
    found: dict[str, Any] = {"fair_overlap": fair}
    for title, part in parts.items():
        contenders = {OURS: probabilities(models[EMBEDDER.name], part), "without embeddings": probabilities(models[WORDS_ONLY], part)}
        contenders |= {name: probabilities(model, part) for name, model in ablated.items()}
        contenders |= {
            "embeddings alone: nearest sentence": part.matrix(["nearest_similarity"])[:, 0],
            f"embeddings alone: {NEAREST} nearest sentences together": part.matrix(["similarity"])[:, 0],
        }
        contenders |= {f"overlap: {name}": part.matrix([name])[:, 0] for name in OVERLAPS}
        rivals = list(dict.fromkeys([f"overlap: {PLAIN}", f"overlap: {fair}"]))
        found[title] = with_intervals(contenders, part, rivals, OURS) | {
            "decisions": {name: decisions(model, part) for name, model in models.items()},
            "examples": len(part.examples),
            "claims": len({example.group for example in part.examples}),
            "labels": {label: sum(example.label == label for example in part.examples) for label in LABELS},
        }
    return found


# ---- answers of the pipeline -----------------------------------------------------------------------------------------------


def on_traces(path: Path, tools: Tools) -> dict[str, Any]:
    """Claims of real answers as they are, and with a number changed or a denial added."""
    counts: dict[str, list[bool]] = {}
    times: list[float] = []
    for trace in read_report(path).traces:
        if trace.answer.refused:
            continue
        begin = time.perf_counter()
        checked = check_answer(trace.answer.text, trace.passages, tools).claims
        times.append((time.perf_counter() - begin) * 1000)
        counts.setdefault("answers with no ungrounded claim", []).append(all(one.support.grounded for one in checked))
        for place, one in enumerate(checked):
            passages = passages_for(one.claim, trace.passages)
            counts.setdefault("claims grounded", []).append(one.support.grounded)
            counts.setdefault("claims quoted word for word", []).append(one.support.verbatim)
            if not one.support.grounded:
                continue
            chance, whole = random.Random(f"{SEED} {trace.id} {place}"), "\n\n".join(passages)
            wrong = {
                "found: a number that stands nowhere in the passages": with_other_number(one.claim.text, whole, chance, present=False),
                "found: a number of the passages in the wrong place": with_other_number(one.claim.text, whole, chance, present=True),
                "found: a denial added or removed": denied(one.claim.text),
            }
            for name, text in wrong.items():
                if text:
                    counts.setdefault(name, []).append(not support(text, passages, tools).grounded)
    shares = {name: {"share": sum(values) / len(values), "of": len(values)} for name, values in counts.items()}
    return {
        "shares": shares,
        "p50_ms": statistics.median(times),
        "p95_ms": sorted(times)[int(0.95 * (len(times) - 1))],
        "answers": len(times),
    }


# ---- the report ------------------------------------------------------------------------------------------------------------


def bounds(values: Sequence[float]) -> str:
    return f"{values[0]:.3f} ({values[1]:.3f}…{values[2]:.3f})"


def markdown(data: Mapping[str, Any]) -> str:
    lines = ["# Groundedness against word overlap", "", f"`{data['command']}` on {machine_line(data['machine'])}.", "", ABOUT, ""]
    for title in TITLES:
        part = data["test"][title]
        told = ", ".join(f"{count} {label.replace('_', ' ')}" for label, count in part["labels"].items())
        lines += [f"## {title[0].upper()}{title[1:]}", "", f"{part['examples']} examples of {part['claims']} claims: {told}.", ""]
        rows = [[name, bounds(part["not"]["auc"][name]), bounds(part["rest"]["auc"][name])] for name in part["not"]["auc"]]
        lines += [table(["ROC AUC (95 %)", "supported – not supported", "supported – partly or not"], rows), ""]
        rows = [
            [name.removeprefix("overlap: "), bounds(part["not"]["difference"][name]), bounds(part["rest"]["difference"][name])]
            for name in part["not"]["difference"]
        ]
        lines += [table(["groundedness minus overlap of", "supported – not supported", "supported – partly or not"], rows), ""]
        rows = [[name, *(f"{one[key]:.2f}" for key in DECIDED)] for name, one in part["decisions"].items()]
        lines += [table(["at dev's threshold", *DECIDED.values()], rows), ""]
    lines += [f"The form of overlap that did best on dev: {data['test']['fair_overlap']}.", ""]
    if data["traces"]:
        shares = data["traces"]["shares"]
        rows = [[name, f"{one['share']:.3f}", one["of"]] for name, one in shares.items()]
        lines += ["## Answers of the pipeline", "", TRACES, "", table(["", "share", "of"], rows), ""]
        lines += [f"A check of one answer took {data['traces']['p50_ms']:.0f} ms (p50), {data['traces']['p95_ms']:.0f} ms (p95)."]
    return "\n".join(lines)


OURS = "groundedness"
PLAIN = OVERLAPS[0]
LABELS = ("supported", "partially_supported", "not_supported")
TITLES = ("whole articles", "short premises (oracle chunks)")
DECIDED = {
    "precision": "grounded: precision",
    "recall": "recall",
    "ungrounded_precision": "ungrounded: precision",
    "ungrounded_recall": "recall ",
    "not_supported_found": "not supported found",
    "balanced_accuracy": "balanced accuracy",
}
ABOUT = """Labelled claims: WiCE, sentences of Wikipedia held against the web page that they cite: supported, partly supported, not
supported. All was chosen on its dev split; these figures are of its test split. Ablations are fitted again on dev.
Intervals: 2,000 bootstrap resamples of claims; differences are of the same resamples."""
TRACES = """Claims in the answers of an evaluation, as they are and altered by rule: a grounded claim with one number changed, or with a
"not" added or removed. "found" is the share of altered claims that came out ungrounded."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--fit", action="store_true", help="fit on the dev split, rewrite the coefficients and stop")
    parser.add_argument("--traces", type=Path, help="cases.jsonl of an evaluation: also check its answers, and altered ones")
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    tools = Tools(PipelineSettings())
    rows = read_jsonl(options.folder / "data.jsonl")
    short = short_premises(rows)
    labelled = [measure(articles(rows, "dev"), tools), measure(short, tools)]
    made_up = measure(altered(short), tools)
    count = sum(len(part.examples) for part in labelled)
    training = [(labelled[0], 1.0), (labelled[1], 1.0), (made_up, ALTERED_SHARE * count / len(made_up.examples))]
    if options.fit:
        models, told = fit_all(training)
        write_models(models)
        for name, model in models.items():
            said = probabilities(model, made_up) >= model.threshold
            print(name, json.dumps(told[name]), "threshold", model.threshold, dict(model.weights))
            print(f"  quotes grounded {said[made_up.supported].mean():.3f}, altered claims found {(~said)[~made_up.supported].mean():.3f}")
        return
    chunks = [
        Example(row["claim"], tuple(row["evidence"]), row["label"], row["meta"]["id"])
        for row in read_jsonl(options.folder / "oracle_chunks.jsonl")
        if row["split"] == "test"
    ]
    parts = dict(zip(TITLES, [measure(articles(rows, "test"), tools), measure(chunks, tools)], strict=True))
    models = {name: model_for(name) for name in (EMBEDDER.name, WORDS_ONLY)}
    data = {
        "command": "python bench/groundedness.py FOLDER" + (" --traces CASES" if options.traces else ""),
        "machine": machine("numpy", "scipy", "snowballstemmer", "onnxruntime"),
        "coefficients": models_digest(),
        "test": evaluate(parts, models, training),
        "traces": on_traces(options.traces, tools) if options.traces else None,
    }
    write_report("groundedness", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
