"""How often a classifier names the right department of a handbook's section: words, meaning, both; and what a sure guess is worth.

    python bench/domains.py PATH/handbook_domains [--vectors FILE.npy]

PATH holds `data.jsonl` with rows {text, label, page, split}; train and test are other pages. Strengths and weights were chosen by
cross-validation over the train split's pages; the test split is scored once for each row of the table. FILE keeps MiniLM's vectors.
Writes reports/bench/domains.{json,md}.
"""

import argparse
import json
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _bench import REPORTS, machine, machine_line, table, write_report
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.model_selection import GroupKFold
from sklearn.naive_bayes import MultinomialNB

from harness.calibrate.route.domains import fit_domains
from harness.stats.intervals import rate_interval
from serving.pipeline.fitted.tfidf import terms_of
from serving.pipeline.models.minilm import MiniLm
from serving.pipeline.settings import PipelineSettings

NAIVE_BAYES = 0.681  # an earlier measurement, with another tokeniser
CONFIDENCES = (0.5, 0.7, 0.8, 0.9, 0.95)
EMBEDDER = "local:minilm"


def read(folder: Path) -> list[dict[str, Any]]:
    try:
        text = (folder / "data.jsonl").read_text(encoding="utf-8")
    except OSError as error:
        raise SystemExit(f"{folder}: {error.strerror}. Name the folder that holds data.jsonl.") from None
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def naive_bayes(texts: Any, labels: Any, _: Any, test: Any, __: Any) -> Any:
    vectorizer = CountVectorizer()
    return MultinomialNB().fit(vectorizer.fit_transform(texts), labels).predict(vectorizer.transform(test))


def by_words(texts: Any, labels: Any, _: Any, test: Any, __: Any) -> Any:
    vectorizer = TfidfVectorizer(analyzer=partial(terms_of, pairs=False), sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000, class_weight="balanced").fit(vectorizer.fit_transform(texts), labels)
    return model.predict(vectorizer.transform(test))


def by_meaning(_: Any, labels: Any, vectors: Any, __: Any, test: Any) -> Any:
    return LogisticRegression(C=5, max_iter=1000, class_weight="balanced").fit(vectors, labels).predict(test)


def by_neighbours(_: Any, labels: Any, vectors: Any, __: Any, test: Any) -> Any:
    nearest = np.argsort(-(test @ vectors.T), axis=1, kind="stable")[:, :15]
    return np.array([Counter(labels[row]).most_common(1)[0][0] for row in nearest])


def by_both(texts: Any, labels: Any, vectors: Any, test: Any, test_vectors: Any, *, pairs: bool = False) -> Any:
    model = fit_domains(texts, labels, vectors, EMBEDDER, pairs=pairs)
    return np.array([model.guess(text, vector).domain for text, vector in zip(test, test_vectors, strict=True)])


METHODS = {
    "commonest department": lambda _, labels, __, test, ___: np.array([Counter(labels).most_common(1)[0][0]] * len(test)),
    "naive Bayes": naive_bayes,
    "15 nearest, MiniLM": by_neighbours,
    "logistic, MiniLM": by_meaning,
    "logistic, TF-IDF": by_words,
    "words and meaning (shipped)": by_both,
    "the same with pairs of words": partial(by_both, pairs=True),
}


def cross_validated(method: Any, texts: Any, labels: Any, vectors: Any, pages: Any) -> float:
    right = 0
    for fitted, scored in GroupKFold(5).split(texts, groups=pages):
        found = method(texts[fitted], labels[fitted], vectors[fitted], texts[scored], vectors[scored])
        right += int((found == labels[scored]).sum())
    return right / len(texts)


def when_sure(texts: Any, labels: Any, vectors: Any, test: Any, test_labels: Any, test_vectors: Any) -> dict[str, Any]:
    """What a guess at each confidence is worth, department by department, and what it takes."""
    model = fit_domains(texts, labels, vectors, EMBEDDER)
    times, guesses = [], []
    for text, vector in zip(test, test_vectors, strict=True):
        begun = time.perf_counter()
        guesses.append(model.guess(text, vector))
        times.append((time.perf_counter() - begun) * 1000)
    right = np.array([guess.domain for guess in guesses]) == test_labels
    sure = np.array([guess.confidence for guess in guesses])
    told = {str(least): {"share": float((sure >= least).mean()), "right": float(right[sure >= least].mean())} for least in CONFIDENCES}
    by_label = {label: float(right[test_labels == label].mean()) for label in sorted(set(test_labels))}
    questions = [text[:120] for text in test]
    short = []
    for text, vector in zip(questions, test_vectors, strict=True):
        begun = time.perf_counter()
        model.guess(text, vector)
        short.append((time.perf_counter() - begun) * 1000)
    size = len(json.dumps(model.model_dump(mode="json")))
    milliseconds = {"section_ms": float(np.median(times)), "question_ms": float(np.median(short)), "bytes": size}
    return {"by_confidence": told, "by_department": by_label, **milliseconds}


def markdown(data: dict[str, Any]) -> str:
    rows = [
        [name, f"{one['cross_validated']:.3f}", f"{one['test']:.3f}", f"{one['low']:.3f}–{one['high']:.3f}", f"{one['macro_f1']:.3f}"]
        for name, one in data["methods"].items()
    ]
    sure = [[f"≥ {least}", f"{one['share']:.1%}", f"{one['right']:.1%}"] for least, one in data["sure"]["by_confidence"].items()]
    departments = ", ".join(f"{name} {share:.2f}" for name, share in data["sure"]["by_department"].items())
    counts = f"{data['train']:,} sections are fitted on, {data['test']} of other pages are tested, {data['departments']} departments"
    return "\n".join(
        [
            "# Domains",
            "",
            f"Machine: {machine_line(data['machine'])}. Made by `{data['command']}`.",
            "",
            f"{counts}. The department is that of the page, so a sales page that talks of legal counts as sales. An earlier measurement of "
            f"naive Bayes was {NAIVE_BAYES}. Cross-validation over the train split's pages gives lower figures than the test split; "
            "what is shipped was chosen by the former.",
            "",
            table(["", "cross-validated", "test", "95 % interval", "macro F1"], rows),
            "",
            "What the shipped model is worth where it is sure:",
            "",
            table(["chance of the likeliest", "of all sections", "right"], sure),
            "",
            f"By department: {departments}.",
            "",
            f"Beside the vector, a section takes {data['sure']['section_ms']:.2f} ms and a question of 120 characters "
            f"{data['sure']['question_ms']:.2f} ms (median). The artefact has {data['sure']['bytes'] / 1e6:.1f} MB.",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--vectors", type=Path)
    parser.add_argument("--out", type=Path, default=REPORTS)
    options = parser.parse_args()
    rows = read(options.folder)
    texts = np.array([row["text"] for row in rows], dtype=object)
    labels, pages = (np.array([row[name] for row in rows]) for name in ("label", "page"))
    if options.vectors and options.vectors.is_file():
        vectors = np.load(options.vectors)
    else:
        vectors = MiniLm(MiniLm.Params(), settings=PipelineSettings(_env_file=None)).connect().vectors(list(texts))
    train = np.array([row["split"] == "train" for row in rows])
    parts = (texts[train], labels[train], vectors[train])
    methods = {}
    for name, method in METHODS.items():
        found = method(*parts, texts[~train], vectors[~train])  # type: ignore[operator]
        right = int((found == labels[~train]).sum())
        interval = rate_interval(right, int((~train).sum()))
        methods[name] = {
            "cross_validated": cross_validated(method, *parts, pages[train]),
            "test": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "macro_f1": float(f1_score(labels[~train], found, average="macro")),
        }
        print(name, methods[name], flush=True)
    data = {
        "command": "python bench/domains.py PATH/handbook_domains",
        "machine": machine("numpy", "scikit-learn", "onnxruntime"),
        "train": int(train.sum()),
        "test": int((~train).sum()),
        "departments": len(set(labels)),
        "methods": methods,
        "sure": when_sure(*parts, texts[~train], labels[~train], vectors[~train]),
    }
    write_report("domains", data, markdown(data), options.out)
    print(markdown(data))


if __name__ == "__main__":
    main()
