"""Response bodies about the release that is served: its evidence, its corpus, its readiness."""

from collections.abc import Mapping
from typing import Any, Final, Self

from pydantic import Field

from serving.app.core.wire import Wire
from serving.app.release.loaded import LoadedRelease
from serving.app.release.manager import Readiness, State
from serving.pipeline.index.layered.view import PLAIN

REASONS: Final[Mapping[State, str]] = {  # what callers without a key may know
    "current": "",
    "loading": "The release is being loaded.",
    "nothing-promoted": "Channel {channel} points at nothing that is here. Run: touchstone promote --channel {channel}. The log says more.",
    "unproven": "What the channel points at has passed no gate; the log says which is missing.",
    "damaged": "Something is not what its digest promises; the log says what.",
    "unreachable": "A place that the release stands on could not be read; the log says which.",
    "slow": "The release did not answer its first question in time.",
    "failed": "The release could not be loaded; the log says why.",
    "index-unreadable": "The index of the release cannot be read; the log says why.",
}


class CorpusOut(Wire):
    """The corpus that was proven, and what is served: documents may have been added and removed since."""

    proven: str = Field(description="digest of the corpus that the evidence is about")
    version: str = Field(description="digest of every change since; empty: what is served is what was proven")
    added: int = Field(description="documents added since, and found")
    removed: int = Field(description="documents of the proven corpus that were removed since")

    @classmethod
    def of(cls, loaded: LoadedRelease) -> Self:
        """The corpus of a loaded release."""
        view = loaded.documents.view if loaded.documents else PLAIN
        return cls(proven=loaded.pipeline.index.manifest.corpus_digest, version=view.version, added=view.added, removed=view.removed)


class ReleaseOut(Wire):
    """What is served, and the evidence for it."""

    digest: str
    channel: str
    examples: tuple[str, ...] = Field(default=(), description="questions to begin with, as the settings name them")
    loaded_at: str
    config: dict[str, Any] = Field(description="every setting of the configuration by its dotted path")
    index: dict[str, Any]
    evidence: dict[str, Any] = Field(description="what proves it: the document that the channel names, without people's names")
    evidence_digest: str
    corpus: CorpusOut

    @classmethod
    def of(cls, loaded: LoadedRelease, channel: str, examples: str = "") -> Self:
        """A loaded release."""
        manifest = loaded.pipeline.index.manifest
        evidence = loaded.release.evidence.get(loaded.evidence)
        shown = {"recipe", "corpus", "corpus_digest", "documents", "chunks", "embedder_version", "store_version", "created_at"}
        return cls(
            digest=loaded.digest,
            channel=channel,
            examples=tuple(one.strip() for one in examples.split("|") if one.strip()),
            loaded_at=loaded.loaded_at,
            config=loaded.release.config.flat(),
            index=manifest.model_dump(mode="json", include=shown),
            evidence=evidence.model_dump(mode="json", exclude={"who": True, "forced": {"who"}}) if evidence else {},
            evidence_digest=loaded.evidence,
            corpus=CorpusOut.of(loaded),
        )


class ReadyOut(Wire):
    """Whether questions are answered, by what, and why not."""

    ready: bool
    current: bool = Field(description="what is loaded is what the channel promotes")
    channel: str
    promoted: str
    loaded: str
    index: str
    candidate: str = Field(description="the release that is tried beside it; empty: none")
    candidate_broken: bool = Field(description="the channel has a candidate that cannot be tried; the log says why")
    state: State = Field(description="one word for programs")
    reason: str = Field(description="why what is promoted is not served; places and names only for the owner of a key, and in the log")

    @classmethod
    def of(cls, state: Readiness, *, whole: bool = False) -> Self:
        """The readiness as a response body, with the whole reason or what everybody may know of it."""
        return cls(
            ready=state.ready,
            current=state.current,
            channel=state.channel,
            promoted=state.promoted,
            loaded=state.loaded,
            index=state.index,
            candidate=state.candidate,
            candidate_broken=state.candidate_broken,
            state=state.state,
            reason=state.reason if whole else REASONS[state.state].format(channel=state.channel),
        )
