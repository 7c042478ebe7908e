"""Fits what a dearer tier gains: by a linear model, by words, by similar questions, by all three; plain numbers come out."""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from harness.calibrate.route.training import Training
from harness.stats.clusters import Numbers
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.fitted.logistic import Logistic, rounded, sigmoid
from serving.pipeline.fitted.neighbours import Neighbours, as_bytes
from serving.pipeline.fitted.tfidf import TfIdf, terms_of
from serving.pipeline.route.gain import CHEAP, DEAR, FittedGain, GainModel, LogisticGain, NeighboursGain, StackedGain, TfIdfGain
from serving.pipeline.route.signals import NAMES

FEWEST = 40  # questions, below which nothing is fitted
SIGNAL_SPREAD = 0.3  # of a signal beside a vector of length 1, so that both are held back alike
STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)  # of a linear model: how far it may follow the data
NEIGHBOURS = (10, 25, 50, 100, 200)
PRIORS = (0.0, 20.0, 100.0)
MOST_NEIGHBOURS = 5000  # questions kept: 1 ms a question, and 8 MB
MOST_TERMS = 20_000
BLOCK = 500  # questions compared at a time
PARTS = ("logistic", "tfidf", "knn")  # of `stacked`
Fit = Callable[[Training], GainModel]


def fit(kind: str, training: Training) -> FittedGain:
    """A model of a kind, its strength chosen by cross-validation over groups."""
    if len(training) < FEWEST:
        raise DataError(f"{len(training)} questions to fit on; {FEWEST} are needed at least. Add cases, or outcomes from logs.")
    return FittedGain(embedder="" if kind == "tfidf" else training.embedder, model=fitter(kind, training)(training))


def fitter(kind: str, training: Training) -> Fit:
    """How a kind is fitted, with the strength that does best on these questions."""
    if kind == "stacked":
        return partial(_fit_stacked, fits={part: fitter(part, training) for part in PARTS})
    if kind == "knn":
        return _neighbourhood(training)
    if kind not in _LINEAR:
        raise ConfigError(f"No model {kind!r} of a router. Known: {', '.join([*PARTS, 'stacked'])}.")
    choices = [partial(_LINEAR[kind], strength=strength) for strength in STRENGTHS]
    errors = [float(np.mean((out_of_fold(choice, training) - training.gains) ** 2)) for choice in choices]
    return choices[int(np.argmin(np.round(errors, 6)))]


def out_of_fold(fit_one: Fit, training: Training) -> Numbers:
    """The expected gain of each question by a model that saw neither it nor its group."""
    found = np.full(len(training), float(training.gains.mean()))
    for fitted, scored in training.folds():
        found[scored] = predict(fit_one(training.take(fitted)), training.take(scored))
    return found


def predict(model: GainModel, questions: Training) -> Numbers:
    """The expected gain of each question."""
    if isinstance(model, LogisticGain):
        chances = sigmoid(np.hstack([questions.vectors, questions.signals]) @ model.right.matrix.T + np.array(model.right.biases))
        return np.asarray(chances[:, DEAR] - chances[:, CHEAP])
    if isinstance(model, StackedGain):
        gains = np.column_stack([predict(part, questions) for part in model.models])
        return np.asarray(model.bias + gains @ np.array(model.weights))
    return np.array([model.gain(one) for one in questions.asked()])


def _fit_logistic(training: Training, strength: float) -> LogisticGain:
    mean, spread = training.signals.mean(axis=0), np.maximum(training.signals.std(axis=0), 1e-3)
    scale = SIGNAL_SPREAD / spread
    values = np.hstack([training.vectors, (training.signals - mean) * scale])
    width = training.vectors.shape[1]
    rows, biases = [], []
    for quality in (training.cheap, training.dear):
        weights, bias = _regression(values, quality, strength)
        own = weights[width:] * scale
        rows.append(rounded(np.concatenate([weights[:width], own])))
        biases.append(bias - float(own @ mean))
    usual = rounded(np.concatenate([training.vectors.mean(axis=0), mean]), 4)
    return LogisticGain(signals=NAMES, right=Logistic(weights=tuple(rows), biases=rounded(biases)), usual=usual)


def _fit_tfidf(training: Training, strength: float) -> TfIdfGain:
    from sklearn.feature_extraction.text import TfidfVectorizer

    pairs = len(training) >= 1000
    fewest = 1 if len(training) < 300 else 2 if len(training) < 3000 else 5
    vectorizer = TfidfVectorizer(
        analyzer=partial(terms_of, pairs=pairs), sublinear_tf=True, min_df=fewest, max_features=MOST_TERMS, dtype=np.float64
    )
    values = vectorizer.fit_transform(training.texts)
    models = [_regression(values, quality, strength) for quality in (training.cheap, training.dear)]
    table = np.column_stack([vectorizer.idf_, *(weights for weights, _ in models)])
    terms = {str(term): rounded(table[place]) for place, term in enumerate(vectorizer.get_feature_names_out())}
    return TfIdfGain(right=TfIdf(pairs=pairs, terms=terms, biases=rounded([bias for _, bias in models])))


def _fit_neighbours(training: Training, nearest: int, prior: float) -> NeighboursGain:
    usable = np.flatnonzero(training.vectors.any(axis=1))
    if len(usable) > MOST_NEIGHBOURS:
        usable = np.sort(np.random.default_rng(0).choice(usable, MOST_NEIGHBOURS, replace=False))
    vectors, gains = training.vectors[usable], training.gains[usable]
    return NeighboursGain(
        gained=Neighbours(vectors=as_bytes(vectors), outcomes=rounded(gains), nearest=min(nearest, len(usable)), prior=prior)
    )


def _fit_stacked(training: Training, fits: Mapping[str, Fit]) -> StackedGain:
    """Weights of 0 or above, by least squares on what models expect of questions that they did not see."""
    from scipy.optimize import nnls

    expected = np.column_stack([out_of_fold(fit_one, training) for fit_one in fits.values()])
    centre, mean = expected.mean(axis=0), float(training.gains.mean())
    weights, _ = nnls(expected - centre, training.gains - mean)
    models: Any = tuple(fit_one(training) for fit_one in fits.values())
    return StackedGain(models=models, weights=rounded(weights), bias=round(mean - float(weights @ centre), 5))


def _regression(values: Any, quality: Numbers, strength: float) -> tuple[Numbers, float]:
    """Logistic regression on qualities from 0 to 1: each counts as so much of a success and the rest as a failure."""
    from sklearn.linear_model import LogisticRegression

    if float(quality.min()) == float(quality.max()):  # nothing to tell apart
        share = min(max(float(quality.mean()), 1e-3), 1 - 1e-3)
        return np.zeros(values.shape[1]), float(np.log(share / (1 - share)))
    good, bad = np.flatnonzero(quality > 0.0), np.flatnonzero(quality < 1.0)
    places = np.concatenate([good, bad])
    doubled = values[places]
    outcome = np.concatenate([np.ones(len(good)), np.zeros(len(bad))])
    weight = np.concatenate([quality[good], 1.0 - quality[bad]])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of steps that ended early: the strength is chosen by what the model does
        model = LogisticRegression(C=strength, max_iter=300).fit(doubled, outcome, sample_weight=weight)
    return np.asarray(model.coef_[0], dtype=np.float64), float(model.intercept_[0])


def _neighbourhood(training: Training) -> Fit:
    """How many neighbours, and how far they are drawn to the mean of all: what errs least on questions that were left out."""
    sizes = [size for size in NEIGHBOURS if size <= max(NEIGHBOURS[0], len(training) // 4)]
    errors = {(size, prior): 0.0 for size in sizes for prior in PRIORS}
    for fitted, scored in training.folds():
        gains = training.gains[fitted]
        for block in np.array_split(scored, max(1, len(scored) // BLOCK)):
            similarity = training.vectors[block] @ training.vectors[fitted].T
            nearest = np.argsort(-similarity, axis=1, kind="stable")[:, : max(sizes)]
            sums = np.cumsum(gains[nearest], axis=1)
            for size, prior in errors:
                taken = min(size, nearest.shape[1])
                expected = (sums[:, taken - 1] + prior * gains.mean()) / (taken + prior)
                errors[size, prior] += float(((expected - training.gains[block]) ** 2).sum())
    size, prior = min(errors, key=lambda choice: (round(errors[choice], 6), choice))
    return partial(_fit_neighbours, nearest=size, prior=prior)


_LINEAR: Mapping[str, Callable[..., GainModel]] = {"logistic": _fit_logistic, "tfidf": _fit_tfidf}
