"""Two releases side by side: configuration, prompts' texts, index, artefacts, and what each was measured at."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from serving.release.bundle import Release
from serving.release.evidence import MeasuredMetric


@dataclass(frozen=True, slots=True)
class ChangedValue:
    """A value that differs, by its dotted path; "" where one release has none."""

    path: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class ChangedPrompt:
    """A prompt whose text differs, as a unified diff."""

    id: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MeasuredPair:
    """A metric of the same cases at both releases; `None` where one was not measured on them."""

    metric: str
    cases: str  # by whom, golden set and split
    before: MeasuredMetric | None
    after: MeasuredMetric | None


@dataclass(frozen=True, slots=True)
class ReleaseDiff:
    """What turns one release into another."""

    before: str
    after: str
    config: tuple[ChangedValue, ...]
    prompts: tuple[ChangedPrompt, ...]
    index: tuple[ChangedValue, ...]
    artefacts: tuple[ChangedValue, ...]
    metrics: tuple[MeasuredPair, ...]


def diff_releases(before: Release, after: Release) -> ReleaseDiff:
    """Everything that differs, and every metric of either."""
    index = {"recipe", "corpus", "corpus_digest", "documents", "chunks", "embedder_version", "store_version"}
    return ReleaseDiff(
        before.digest,
        after.digest,
        config=_changed(before.config.flat(), after.config.flat()),
        prompts=_prompts(before, after),
        index=_changed(before.index.model_dump(mode="json", include=index), after.index.model_dump(mode="json", include=index)),
        artefacts=_changed(dict.fromkeys(before.artefacts, "carried"), dict.fromkeys(after.artefacts, "carried")),
        metrics=_metrics(before, after),
    )


def _changed(before: Mapping[str, object], after: Mapping[str, object]) -> tuple[ChangedValue, ...]:
    pairs = {path: (str(before.get(path, "")), str(after.get(path, ""))) for path in (*before, *after)}
    return tuple(ChangedValue(path, *pair) for path, pair in pairs.items() if pair[0] != pair[1])


def _prompts(before: Release, after: Release) -> tuple[ChangedPrompt, ...]:
    old, new = (release.prompts.texts_of(release.config) for release in (before, after))
    changed = [ident for ident in sorted({*old, *new}) if old.get(ident) != new.get(ident)]
    return tuple(
        ChangedPrompt(
            ident,
            tuple(difflib.unified_diff(old.get(ident, "").splitlines(), new.get(ident, "").splitlines(), n=1, lineterm=""))[2:],
        )
        for ident in changed
    )


def _metrics(before: Release, after: Release) -> tuple[MeasuredPair, ...]:
    old, new = _measured(before), _measured(after)
    return tuple(MeasuredPair(metric, cases, old.get((cases, metric)), new.get((cases, metric))) for cases, metric in {**old, **new})


def _measured(release: Release) -> dict[tuple[str, str], MeasuredMetric]:
    """Every metric by cases and name; of the same cases measured again, the newest."""
    return {
        (f"{split.by}: {split.golden} {split.split} ({split.split_digest[:8]})", name): metric
        for evidence in release.evidence.values()
        for split in evidence.measured
        for name, metric in split.metrics.items()
    }
