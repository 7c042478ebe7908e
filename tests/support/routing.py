"""Small fitted models of every kind, as artefacts in memory: for tests of routers and of what they are named in."""

import json
from typing import Any

from serving.pipeline.artefacts import BundledArtefacts
from serving.pipeline.digest import digest_bytes
from serving.pipeline.fitted.domains import DomainModel
from serving.pipeline.fitted.logistic import Logistic
from serving.pipeline.fitted.neighbours import Neighbours
from serving.pipeline.fitted.tfidf import TfIdf
from serving.pipeline.registry import Spec
from serving.pipeline.route.gain import FittedGain, LogisticGain, NeighboursGain, StackedGain, TfIdfGain
from serving.pipeline.route.signals import NAMES

KINDS = ("logistic", "tfidf", "knn", "stacked")
DOMAINS = ("hr", "it", "legal")
TERMS = {"compar": (1.5, -1.0, 1.0), "price": (1.2, 0.5, 0.2), "laptop": (2.0, 0.3, -0.4), "contract": (1.7, -0.6, 0.9)}
PROOF = {
    "kind": "per_decision",
    "level": 0.02,
    "confidence": 0.95,
    "low": -1.0,
    "high": 1.0,
    "risk": 0.01,
    "bound": 0.019,
    "tested_at": 0.05,
    "action_rate": 0.4,
    "benefit": 0.4,
    "oracle_share": 0.5,
    "decisions": 500,
    "groups": 500,
    "actions": 200,
}


def gain_model(kind: str, width: int) -> Any:
    """A model of a kind whose numbers follow a rule."""
    if kind == "logistic":
        rows = tuple(tuple(((place * step) % 11 - 5) / 10 for place in range(width + len(NAMES))) for step in (37, 53))
        return LogisticGain(right=Logistic(weights=rows, biases=(0.2, 0.1)), usual=(0.0,) * len(rows[0]))
    if kind == "tfidf":
        return TfIdfGain(right=TfIdf(pairs=False, terms=TERMS, biases=(0.1, 0.3)))
    if kind == "knn":
        vectors = tuple(tuple((place * step) % 255 - 127 for place in range(width)) for step in (7, 31, 53, 91))
        return NeighboursGain(gained=Neighbours(vectors=vectors, outcomes=(0.5, -0.1, 0.2, 0.0), nearest=2, prior=1.0))
    parts = tuple(gain_model(part, width) for part in KINDS if part != "stacked")
    return StackedGain(models=parts, weights=(0.5, 0.3, 0.2), bias=0.01)


def fitted_gain(kind: str, width: int, embedder: str = "") -> FittedGain:
    """The content of an artefact without a threshold."""
    return FittedGain(embedder="" if kind == "tfidf" else embedder, model=gain_model(kind, width))


def calibrated(stage: str, fitted: Any, threshold: float) -> dict[str, Any]:
    """The content of an artefact with one, as `touchstone calibrate` writes it."""
    fields = {"format": "calibrated-threshold/1", "stage": stage, "scorer": "by hand", "threshold": threshold, "proof": PROOF}
    return fields | {"data": {}, "fitted": fitted.model_dump(mode="json"), "date": "2026-11-29"}


def domain_model(width: int, embedder: str = "") -> DomainModel:
    """A classifier by a few words, and by three directions where it reads vectors."""
    terms = {"leav": (1.0, 6.0, 0.0, 0.0), "laptop": (1.0, 0.0, 6.0, 0.0), "contract": (1.0, 0.0, 0.0, 6.0)}
    rows = tuple(tuple(float(place == row) for place in range(width)) for row in range(3))
    meaning = Logistic(weights=rows, biases=(0.0, 0.0, 0.0)) if embedder else None
    return DomainModel(embedder=embedder, domains=DOMAINS, words=TfIdf(pairs=False, terms=terms, biases=(0.0, 0.0, 0.0)), meaning=meaning)


def kept(*contents: dict[str, Any]) -> tuple[BundledArtefacts, list[str]]:
    """Artefacts in memory, and their digests in the same order."""
    files = [json.dumps(content, sort_keys=True).encode() for content in contents]
    digests = [digest_bytes(data) for data in files]
    return BundledArtefacts({f"{digest}.json": data for digest, data in zip(digests, files, strict=True)}), digests


def routed_by(name: str, width: int, embedder: str = "", **params: Any) -> tuple[Spec, BundledArtefacts]:
    """A router by name with an artefact where it needs one."""
    artefacts, digests = kept(*(calibrated("router", fitted_gain(kind, width, embedder), -0.05) for kind in KINDS))
    needed = {"calibrated": digests[KINDS.index(name)]} if name in KINDS else {}
    return Spec.model_validate({"name": name, **needed, **params}), artefacts
