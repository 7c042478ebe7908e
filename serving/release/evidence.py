"""Evidence of a release: append-only documents, each named after its content and naming its predecessor.

releases/<digest>/evidence/<evidence digest>.json
"""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from serving.pipeline.digest import digest_bytes
from serving.pipeline.errors import DataError, IntegrityError
from serving.pipeline.registry import explain, near
from serving.storage.base import Storage

FOLDER = "evidence"


class EvidenceModel(BaseModel):
    """A part of an evidence document."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MeasuredMetric(EvidenceModel):
    """A metric's mean with the ends of its 95 % interval; `None` where it scored nothing."""

    mean: float | None
    low: float | None
    high: float | None
    scored: int  # cases


class MeasuredSplit(EvidenceModel):
    """The results of an evaluation on a split of a golden set."""

    by: str  # who evaluated: "sweep", "gate promotion"
    golden: str
    golden_digest: str
    split: str
    split_digest: str
    cases: int
    errors: int
    metrics: Mapping[str, MeasuredMetric]
    usd_per_query: float | None
    money: Literal["billed", "simulated"]


class RecordedSlice(EvidenceModel):
    """One slice of a rule that looks at several."""

    name: str
    value: float | None
    count: int
    outcome: str


class RecordedRuling(EvidenceModel):
    """The ruling of one gate rule, with the numbers behind it."""

    id: str
    rule: str
    subject: str
    outcome: str
    reason: str
    advisory: bool
    why: str
    mean: float | None = None  # evidence of before has none
    value: float | None
    low: float | None
    high: float | None
    statistic: str
    threshold: float | None
    margin: float | None
    count: int
    of: int
    parts: tuple[RecordedSlice, ...]


class RecordedDecision(EvidenceModel):
    """A gate's decision, without the list of cases that changed."""

    gate: str
    gate_digest: str
    state: str
    message: str
    golden: str
    golden_digest: str
    split: str
    split_digest: str
    config_digest: str
    champion_digest: str
    cases: int
    errors: int
    outages: int
    simulated: bool
    rulings: tuple[RecordedRuling, ...]
    reproduce: str
    decided_at: str
    valid_hours: int


class RecordedComparison(EvidenceModel):
    """The comparison of a sweep's winner with the incumbent."""

    incumbent: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None


class RecordedVerdict(EvidenceModel):
    """The verdict of the sweep that the configuration won."""

    experiment: str
    experiment_digest: str
    verdict: str
    reason: str
    against: RecordedComparison | None


class RecordedDifference(EvidenceModel):
    """What a metric has become since the evidence that a release was promoted by."""

    metric: str
    before: float | None
    after: float | None
    difference: float | None  # None: it cannot be compared
    low: float | None
    high: float | None
    outcome: str  # better, equivalent, worse or undecided
    margin: float  # a loss beyond it counts, where it is seen
    paired: bool  # case by case, or only by the means and intervals of both
    cases: int
    counts: bool  # whether a loss of it makes the re-evaluation fail


class RecordedReevaluation(EvidenceModel):
    """A served release evaluated again, and compared with what it was promoted by. It proves no promotion."""

    channel: str
    baseline: str  # digest of the evidence that it was promoted by
    gate: str
    gate_digest: str
    state: Literal["pass", "fail"]
    message: str
    differences: tuple[RecordedDifference, ...]
    corpus_version: str = ""  # of the documents that were searched beside the release's own; "": none were
    documents_added: int = 0


class ForcedPromotion(EvidenceModel):
    """Who promoted without a passed gate, and why."""

    who: str
    why: str


class ReleaseEvidence(EvidenceModel):
    """The evidence of one promotion, or of one re-evaluation of what is served."""

    format: Literal[1] = 1
    release: str
    sums_sha256: str  # of the release's SHA256SUMS
    previous: str  # digest of the newest evidence its writer saw; "" for the first. Of writers at the same time, several may name one.
    corpus: str
    corpus_digest: str
    measured: tuple[MeasuredSplit, ...]
    decision: RecordedDecision | None
    verdict: RecordedVerdict | None  # None: it did not come from a sweep
    mlflow_run: str
    git_commit: str
    price_date: str
    prices: str = ""  # which ones: sources and digest
    forced: ForcedPromotion | None
    reevaluation: RecordedReevaluation | None = None  # None: it is a promotion's
    who: str
    created_at: str

    @property
    def text(self) -> str:
        """The document as it is written."""
        return self.model_dump_json(indent=2, exclude=None if self.reevaluation else {"reevaluation"}) + "\n"


def found_worse(documents: Mapping[str, ReleaseEvidence], since: str) -> ReleaseEvidence | None:
    """The newest re-evaluation, where it is not older than a time and found the release worse."""
    again = [one for one in documents.values() if one.reevaluation]
    newest = max(again, key=lambda one: datetime.fromisoformat(one.created_at), default=None)
    if newest is None or newest.reevaluation is None or newest.reevaluation.state == "pass":
        return None
    return newest if datetime.fromisoformat(newest.created_at) >= datetime.fromisoformat(since) else None  # times have whole seconds


def append_evidence(storage: Storage, evidence: ReleaseEvidence) -> str:
    """Add a document to its release and return its digest; existing documents are never changed."""
    data = evidence.text.encode()
    digest = digest_bytes(data)
    storage.put_if(f"{evidence.release}/{FOLDER}/{digest}.json", data, expected=None)
    return digest


def read_evidence(storage: Storage, release: str, sums: bytes, requested: str | None) -> dict[str, ReleaseEvidence]:
    """The requested document with its predecessors, or every document; by digest, the oldest first, each verified."""
    prefix = f"{release}/{FOLDER}/"
    present = [entry.key.removeprefix(prefix).removesuffix(".json") for entry in storage.list(prefix)]
    documents: dict[str, ReleaseEvidence] = {}
    pending = list(present) if requested is None else [requested]
    while pending:
        digest = pending.pop()
        if digest in documents:
            continue
        if digest not in present:
            raise _missing(f"{storage.place}/{prefix}", digest, present, requested)
        documents[digest] = _verified(storage, release, digest, sums)
        if previous := documents[digest].previous:
            pending.append(previous)
    return dict(sorted(documents.items(), key=lambda item: (_depth(item[0], documents), item[1].created_at, item[0])))


def _verified(storage: Storage, release: str, digest: str, sums: bytes) -> ReleaseEvidence:
    """One document; raises unless its name is its digest and it belongs to this release with these sums."""
    key = f"{release}/{FOLDER}/{digest}.json"
    where = f"{storage.place}/{key}"
    blob = storage.get(key)
    if blob is None or digest_bytes(blob.data) != digest:
        raise IntegrityError(f"{where} is not the evidence that its name promises.")
    try:
        evidence = ReleaseEvidence.model_validate_json(blob.data)
    except ValidationError as error:
        raise IntegrityError(explain(error, f"{where} is not evidence", list(ReleaseEvidence.model_fields))) from None
    if evidence.release != release:
        raise IntegrityError(f"{where} proves the release {evidence.release}, not {release}.")
    if evidence.sums_sha256 != hashlib.sha256(sums).hexdigest():
        raise IntegrityError(f"{where} proves a release with other files than {release} has now.")
    if evidence.decision and evidence.decision.config_digest != release:
        raise IntegrityError(f"{where} proves {release} by a decision on configuration {evidence.decision.config_digest or 'unknown'}.")
    return evidence


def _missing(where: str, digest: str, present: Iterable[str], requested: str | None) -> Exception:
    if digest != requested:
        return IntegrityError(f"{where}{digest}.json is missing though other evidence names it.")
    known = sorted(present)
    return DataError(f"No evidence {digest!r} in {where}.{near(digest, known)} Known: {', '.join(known) or 'none'}.")


def _depth(digest: str, documents: Mapping[str, ReleaseEvidence]) -> int:
    depth = 0
    while digest:
        digest, depth = documents[digest].previous, depth + 1
    return depth
