"""Labelled texts for a guard: what a check scores that it should flag, and what it should not."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from harness.calibrate.groups import near_duplicates
from harness.calibrate.labelled import ARTEFACT, THRESHOLD, DecisionTerms, LabelledDecision, LabelledDecisions, instant
from harness.calibrate.source import SourceRequest
from harness.golden.lines import read_rows, refuse
from harness.settings import HarnessSettings
from serving.pipeline.artefacts import FolderArtefacts
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.guard import CHECKS
from serving.pipeline.guard.base import Check, CheckContext
from serving.pipeline.models.connect import connect_embeddings
from serving.pipeline.parts import Parts
from serving.pipeline.registry import Params as PlugInParams
from serving.pipeline.registry import Spec
from serving.pipeline.types import Query

EVERY = 50  # texts between two words of progress


class LabelledText(BaseModel):
    """One line of a file of labels."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    text: str = Field(min_length=1)
    label: Literal[0, 1]  # 1: to be flagged
    id: str = ""
    group: str = ""
    family: str = ""
    at: str = ""

    @field_validator("label", mode="before")
    @classmethod
    def _is_a_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("a label is 0 or 1")  # noqa: TRY004 — pydantic tells a ValueError to the user
        return value


class GuardSource:
    """Texts in JSONL, scored by one check of the input; a risk per decision is of the harmless texts alone."""

    version: ClassVar[str] = "1"

    class Params(PlugInParams):
        """Which check scores, and where it stands in the configuration."""

        check: str = Field(default="injection", description="a check that has a score and acts when it is high")
        params: dict[str, Any] = Field(default_factory=dict, description="the check's own parameters, beside action and threshold")
        embedder: str = Field(default="local:minilm", description="for a check that compares vectors: the model of the index")
        entry: str = Field(default="", pattern=r"^[A-Za-z0-9_-]*$", description="its name below guard.input; default: the check's own")

    def __init__(self, params: Params, settings: HarnessSettings) -> None:
        self._params = params
        self._settings = settings
        self._spec = Spec.model_validate({"name": params.check, **params.params})

    async def decisions(self, request: SourceRequest) -> LabelledDecisions:
        """Every text with its score; near-duplicates are one group."""
        check = self._check()
        rows = _read(request)
        groups = near_duplicates([row.text for row in rows], [row.group for row in rows])
        examples: list[LabelledDecision] = []
        for index, (row, group) in enumerate(zip(rows, groups, strict=True)):
            if index % EVERY == 0:
                request.progress("texts scored", index, len(rows))
            score = (await check.check(row.text, CheckContext("input", Query(row.text)))).score
            if score is None:
                raise ConfigError(f"The check {self._params.check!r} gives no score, so it has no threshold. Name another: --set check=…")
            harmful = row.label == 1
            examples.append(
                LabelledDecision(
                    id=row.id,
                    score=score,
                    loss=0.0 if harmful else 1.0,
                    benefit=1.0 if harmful else 0.0,
                    group=group,
                    at=row.at,
                    counts=not harmful,
                    family=row.family,
                )
            )
        return LabelledDecisions(
            stage="guard",
            examples=tuple(examples),
            scorer=f"{self._params.check} {CHECKS.version(self._spec)}",
            data={path.name: sha256_file(path) for path in request.files},
            kind="per_decision",
            wording=DecisionTerms("harmless texts", "flagged texts", "falsely flagged", "texts that should be flagged and are"),
            config=self._config(),
        )

    def _config(self) -> dict[str, Any]:
        """The values that use the threshold: by the artefact, or as a number where the check reads none."""
        entry = f"guard.input.{self._params.entry or self._params.check}"
        given = {f"{entry}.name": self._params.check} | {f"{entry}.{name}": value for name, value in self._params.params.items()}
        if "calibrated" in CHECKS.load(self._params.check).Params.model_fields:
            return given | {f"{entry}.threshold": None, f"{entry}.calibrated": ARTEFACT}
        return given | {f"{entry}.threshold": THRESHOLD}

    def _check(self) -> Check:
        """The check; a `ConfigError` where it has no threshold above which it acts on a question."""
        if not _has_threshold(self._params.check):
            known = ", ".join(name for name in CHECKS.names() if _has_threshold(name))
            raise ConfigError(f"The check {self._params.check!r} has no threshold for questions. Those that have: {known}.")
        embeddings = connect_embeddings(Spec(name=self._params.embedder), self._settings)
        artefacts = FolderArtefacts(self._settings.artefact_folder)
        return CHECKS.build(
            self._spec, parts=Parts(self._settings, embeddings=embeddings, embedder=self._params.embedder, artefacts=artefacts)
        )


def _has_threshold(check: str) -> bool:
    loaded: Any = CHECKS.load(check)
    return "threshold" in loaded.Params.model_fields and "input" in loaded.sides


def _read(request: SourceRequest) -> list[LabelledText]:
    """The lines of all files, each with an id; both labels are needed."""
    if not request.files:
        raise DataError('Name at least one file of labels. A line is {"text": …, "label": 0 or 1}; 1: to be flagged.')
    problems: list[str] = []
    rows: list[LabelledText] = []
    places: dict[str, str] = {}
    for path in request.files:
        for line, row in read_rows(path, LabelledText, problems):
            if not row.text.strip():
                problems.append(f"{line.where}: the text is empty.")
            row = row if row.id else row.model_copy(update={"id": f"{path.name}:{line.number}"})
            if (place := places.setdefault(row.id, line.where)) != line.where:
                problems.append(f"{line.where}: the id {row.id!r} stands in {place} already, and would count twice.")
            if row.at:
                try:
                    instant(row.at, row.id)
                except DataError as error:
                    problems.append(f"{line.where}: {error}")
            rows.append(row)
    refuse([*problems, *_contradictions(rows)])
    _refuse_one_class(rows, request)
    return rows


def _contradictions(rows: Sequence[LabelledText]) -> Iterator[str]:
    """A line for each text that has both labels."""
    first: dict[str, LabelledText] = {}
    for row in rows:
        other = first.setdefault(row.text, row)
        if other.label != row.label:
            yield f"{other.id} and {row.id} are one text with two labels. Say which is right, and leave the other out."


def _refuse_one_class(rows: Sequence[LabelledText], request: SourceRequest) -> None:
    names = ", ".join(str(path) for path in request.files)
    if not rows:
        raise DataError(f'{names}: no lines. Each is {{"text": …, "label": 0 or 1}}; 1: to be flagged.')
    labels = Counter(row.label for row in rows)
    if len(labels) == 1 and request.fitted is None:
        raise DataError(
            f"{names}: all {len(rows)} labels are {rows[0].label}; texts that should be flagged (1) and harmless ones (0) are needed."
        )
