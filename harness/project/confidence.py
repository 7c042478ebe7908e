"""Fits the confidence of answers on results that are there, and holds it against others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from markupsafe import Markup

from harness.calibrate.confidence import JudgedAnswer, fit_confidence, judged_answers
from harness.calibrate.reliability import Reliability, reliability
from harness.reports.page import render
from harness.reports.reliability import curve_svg
from harness.results.report import EvalReport
from harness.results.report_file import read_report
from harness.settings import HarnessSettings
from serving.pipeline.artefacts import keep_artefact
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.guard.confidence import ConfidenceCheck
from serving.pipeline.models import EMBEDDINGS
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Spec
from serving.storage.files import write_text


@dataclass(frozen=True, slots=True)
class FittedFromResults:
    """What a fit gave."""

    artefact: str  # digest, for guard.output.confidence.fitted
    answers: int
    cases: int
    weights: Mapping[str, Mapping[str, float]]  # by embedding model
    shown: Mapping[str, Reliability]  # by the results that it was compared with
    page: Path | None


async def fit_from_results(settings: HarnessSettings, results: Sequence[Path], shown: Sequence[Path], out: Path) -> FittedFromResults:
    """Fit on results of the tune split, keep the artefact, hold it against others and write the page."""
    reports = {str(path): read_report(path) for path in results}
    held = {str(path): read_report(path) for path in shown}
    _check_splits(reports, held)
    embedder = _embedder([*reports.values(), *held.values()])
    embeddings = EMBEDDINGS.build(embedder, name=embedder.name, settings=settings).connect()
    check = ConfidenceCheck(ConfidenceCheck.Params(), Parts(settings, embeddings=embeddings, embedder=embedder.name))
    answers = [one for report in reports.values() for one in await judged_answers(report.rows, check)]
    data = ", ".join(sorted({f"{report.header.golden} {report.header.split}" for report in reports.values()}))
    fitted = fit_confidence(answers, embedder=embedder.name, data=data, date=datetime.now(UTC).date().isoformat())
    artefact = keep_artefact(settings.artefact_folder, fitted.model_dump(mode="json"))
    model = fitted.model_for(embedder.name)
    figures = {name: _figures(await judged_answers(report.rows, check), model.probability) for name, report in held.items()}
    page = _page(out, artefact, figures) if figures else None
    weights = {name: dict(one.weights) for name, one in fitted.models.items()}
    return FittedFromResults(artefact, fitted.answers, fitted.cases, weights, figures, page)


def _check_splits(reports: Mapping[str, EvalReport], held: Mapping[str, EvalReport]) -> None:
    """Nothing is fitted on what proves it, and nothing is proven by what it was fitted on."""
    for path, report in reports.items():
        if report.header.split != "tune":
            raise ConfigError(
                f"{path} has cases of the {report.header.split} split; a fit takes those of tune. Run: touchstone eval --split tune"
            )
    for path, report in held.items():
        if report.header.split != "holdout":
            raise ConfigError(
                f"--show {path} has cases of the {report.header.split} split, not of the holdout. Run: touchstone eval --split holdout"
            )


def _embedder(reports: Sequence[EvalReport]) -> Spec:
    """The embedding model of all results."""
    specs = [RagConfig.parse(report.header.config).index.embedder for report in reports if not report.header.app]
    if len(specs) < len(reports):
        raise ConfigError("Results of an app have no passages to read signs from. Give those of configurations.")
    names = sorted({spec.name for spec in specs})
    if len(names) > 1:
        raise ConfigError(f"The results are of several embedding models: {', '.join(names)}. Give those of one.")
    return specs[0]


def _figures(answers: Sequence[JudgedAnswer], probability: Callable[[Mapping[str, float]], float]) -> Reliability:
    if not answers:
        raise DataError("The results to be shown have no answer that was judged. Score key_facts: touchstone eval --metric key_facts")
    return reliability([probability(one.signs) for one in answers], [one.right for one in answers], [one.group for one in answers])


def _page(out: Path, artefact: str, figures: Mapping[str, Reliability]) -> Path:
    shown = [(name, one, Markup(curve_svg(one))) for name, one in figures.items()]  # noqa: S704 — made of numbers alone
    page = out / "confidence.html"
    write_text(page, render("confidence.html.j2", title="Confidence", artefact=artefact, shown=shown))
    return page
