"""Labelled decisions of a domain classifier: on which texts its domain may be acted on."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import AliasChoices, BaseModel, ConfigDict, Field

from harness.calibrate.groups import near_duplicates
from harness.calibrate.labelled import ARTEFACT, DecisionTerms, LabelledDecision, LabelledDecisions
from harness.calibrate.route.outcomes import is_evaluation
from harness.calibrate.source import SourceRequest
from harness.calibrate.split import fit_split
from harness.golden.lines import read_rows, refuse
from harness.results.report_file import read_report
from harness.settings import HarnessSettings
from serving.pipeline.artefacts import keep_artefact
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError
from serving.pipeline.fitted.domains import DomainModel
from serving.pipeline.fitted.logistic import Logistic, rounded
from serving.pipeline.fitted.tfidf import TfIdf, terms_of
from serving.pipeline.index.base import Vectors
from serving.pipeline.index.embed import unit
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import Spec

STRENGTH = 10.0  # of the linear model, and
MEANING = 0.5  # the length of a text's vector beside its words, of length 1: both by cross-validation over pages of a handbook
MOST_TERMS = 20_000


class LabelledDomain(BaseModel):
    """One line of a file of labelled texts."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    text: str = Field(min_length=1, validation_alias=AliasChoices("text", "question"))
    label: str = Field(min_length=1, validation_alias=AliasChoices("label", "domain"))
    group: str = Field(default="", validation_alias=AliasChoices("group", "page"))
    id: str = ""
    at: str = ""


class DomainSource:
    """Texts with their domains, in JSONL or as an evaluation's cases; fits on one part, gives the other."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """What is fitted."""

        embedder: str = Field(default="local:minilm", description="of the index; empty: words alone")
        fit_share: float = Field(default=0.7, gt=0.0, lt=1.0, description="share of the texts that is fitted on; the rest calibrates")

    def __init__(self, params: Params, settings: HarnessSettings) -> None:
        self._params = params
        self._settings = settings

    async def decisions(self, request: SourceRequest) -> LabelledDecisions:
        """Every text of the calibration part: its score is the likeliest domain's chance, and a wrong domain is lost."""
        rows = _read(request.files)
        groups = near_duplicates([row.text for row in rows], [row.group for row in rows])
        vectors = self._vectors([row.text for row in rows])
        kept_model: tuple[str, ...] = ()
        if request.fitted is not None:
            kept, fit_count = list(range(len(rows))), 0
            model = DomainModel.model_validate(dict(request.fitted))
        else:
            times = [row.at for row in rows]
            sides = fit_split(groups, times if all(times) else (), fit_share=self._params.fit_share)
            kept, fit_count = list(sides.calibration), len(sides.fit)
            if not kept:
                raise DataError("No texts are left to calibrate on. Lower fit_share, or add texts.")
            request.progress("texts fitted on", 0, fit_count)
            labels = [rows[place].label for place in sides.fit]
            fitted_vectors = None if vectors is None else vectors[list(sides.fit)]
            model = fit_domains([rows[place].text for place in sides.fit], labels, fitted_vectors, self._params.embedder)
            digest = keep_artefact(self._settings.artefact_folder, model.model_dump(mode="json"))
            kept_model = (f"The classifier without a threshold is the artefact {digest}: set the confidence beside it, or sweep it.",)
        guesses = [model.guess(rows[place].text, None if vectors is None else vectors[place]) for place in kept]
        right = [guess.domain == rows[place].label for place, guess in zip(kept, guesses, strict=True)]
        return LabelledDecisions(
            stage="domains",
            examples=tuple(
                LabelledDecision(
                    id=rows[place].id,
                    score=guess.confidence,
                    loss=float(not good),
                    benefit=float(good),
                    group=groups[place],
                    at=rows[place].at,
                    family=rows[place].label,
                )
                for place, guess, good in zip(kept, guesses, right, strict=True)
            ),
            scorer="domains 1",
            data={f"{path.parent.name}/{path.name}": sha256_file(path) for path in request.files},
            kind="per_action",
            wording=DecisionTerms("texts", "texts whose domain is acted on", "in the wrong domain", "texts in the right domain"),
            fitted=model.model_dump(mode="json"),
            fit_count=fit_count,
            config={"route.domain.name": "classifier", "route.domain.classifier": ARTEFACT},
            notes=(
                f"The likeliest domain is right for {np.mean(right):.1%} of {len(kept)} texts, whatever its chance.",
                "It may narrow the search as well: retrieve.narrow.name=domain, retrieve.narrow.classifier, as route.domain has it.",
                *kept_model,
            ),
        )

    def _vectors(self, texts: Sequence[str]) -> Vectors | None:
        if not self._params.embedder:
            return None
        model = connect_embeddings(Spec(name=self._params.embedder), self._settings)
        return unit([model.embed_query(text) for text in texts], len(texts))


def fit_domains(
    texts: Sequence[str], labels: Sequence[str], vectors: Vectors | None, embedder: str, *, strength: float = STRENGTH, pairs: bool = False
) -> DomainModel:
    """A linear model over words and vectors together, every domain weighing the same."""
    from scipy import sparse
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    if len(set(labels)) < 2:
        raise DataError(f"All {len(labels)} texts to fit on are of one domain; two are needed at least.")
    vectorizer = TfidfVectorizer(analyzer=partial(terms_of, pairs=pairs), sublinear_tf=True, max_features=MOST_TERMS)
    values = vectorizer.fit_transform(texts)
    words = values.shape[1]
    if vectors is not None:
        values = sparse.hstack([values, sparse.csr_matrix(MEANING * vectors)]).tocsr()
    model = LogisticRegression(C=strength, max_iter=1000, class_weight="balanced").fit(values, labels)
    weights, biases = np.asarray(model.coef_), np.asarray(model.intercept_)
    if len(model.classes_) == 2:  # one score: of the second domain against the first
        weights, biases = np.vstack([-weights / 2, weights / 2]), np.array([-biases[0] / 2, biases[0] / 2])
    table = np.column_stack([vectorizer.idf_, weights[:, :words].T])
    terms = {str(term): rounded(table[place], 4) for place, term in enumerate(vectorizer.get_feature_names_out())}
    meaning = None
    if vectors is not None:
        rows = tuple(rounded(MEANING * row, 4) for row in weights[:, words:])
        meaning = Logistic(weights=rows, biases=(0.0,) * len(rows))
    return DomainModel(
        embedder=embedder if meaning else "",
        domains=tuple(str(label) for label in model.classes_),
        words=TfIdf(pairs=pairs, terms=terms, biases=rounded(biases)),
        meaning=meaning,
    )


def _read(files: Sequence[Path]) -> list[LabelledDomain]:
    problems: list[str] = []
    rows: list[LabelledDomain] = []
    for path in files:
        if is_evaluation(path):
            cases = [row.case for row in read_report(path).rows]
            rows += [LabelledDomain(text=case.question, label=case.domain, group=case.group, id=case.id) for case in cases]
            continue
        for line, row in read_rows(path, LabelledDomain, problems):
            rows.append(row if row.id else row.model_copy(update={"id": f"{path.name}:{line.number}"}))
    refuse(problems)
    if not rows:
        raise DataError('No labelled texts. Give JSONL with {"text": …, "label": …}, or an evaluation\'s cases.')
    return rows
