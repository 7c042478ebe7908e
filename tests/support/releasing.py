"""Releases and evidence made of a few values, for tests."""

import hashlib
from pathlib import Path
from typing import Any

from serving.pipeline.config import RagConfig
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.settings import PipelineSettings
from serving.release.bundle import Release, load_release, open_releases, write_release
from serving.release.channel import Channel, find_channel
from serving.release.evidence import ReleaseEvidence, append_evidence
from serving.release.move import point_channel
from serving.storage.base import Storage

PROMPTS = PromptLibrary(Path(__file__).parents[2] / "prompts")


def at(place: object) -> Storage:
    """The storage of a place, as a process of its own opens it."""
    return open_releases(str(place), PipelineSettings(_env_file=None))


def a_config(top_k: int = 6, *, by_domain: bool = True) -> RagConfig:
    """A configuration that needs no model."""
    prompt = {"by_domain": by_domain}
    return RagConfig.parse({"index": {"embedder": {"name": "local:hashing"}}, "retrieve": {"top_k": top_k}, "answer": {"prompt": prompt}})


def a_manifest(of: RagConfig, corpus_digest: str = "c0ffee") -> IndexManifest:
    """The manifest of an index that a configuration could stand on."""
    return IndexManifest(
        recipe=of.digest("index", corpus=corpus_digest), corpus="tiny", corpus_digest=corpus_digest, documents=5, chunks=9, index=of.index,
        embedder_version="1", dimensions=256, store_version="1", lancedb="0", data="lancedb", created_at="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def write(storage: Storage, of: RagConfig, **more: Any) -> Release:
    """The release of a configuration, without evidence."""
    return write_release(storage, of, PROMPTS, a_manifest(of), **more)


def some_evidence(release: Release, **changes: Any) -> ReleaseEvidence:
    """A document that proves a release by next to nothing."""
    fields: dict[str, Any] = {
        "release": release.digest,
        "sums_sha256": hashlib.sha256(release.sums).hexdigest(),
        "previous": release.newest_evidence,
        "corpus": release.index.corpus,
        "corpus_digest": release.index.corpus_digest,
        "measured": (),
        "decision": None,
        "verdict": None,
        "mlflow_run": "",
        "git_commit": "",
        "price_date": "2026-11-01",
        "forced": None,
        "who": "tests",
        "created_at": "2026-11-01T00:00:00+00:00",
    }
    return ReleaseEvidence.model_validate(fields | changes)


def a_decision(release: str, state: str = "pass") -> dict[str, Any]:
    """A gate's decision on a release, as its evidence keeps it."""
    texts = ("message", "golden", "golden_digest", "split", "split_digest", "champion_digest", "reproduce", "decided_at")
    counts = {"cases": 1, "errors": 0, "outages": 0, "valid_hours": 168, "simulated": False}
    return {
        "gate": "promotion",
        "gate_digest": "g",
        "state": state,
        "config_digest": release,
        "rulings": (),
        **dict.fromkeys(texts, ""),
        **counts,
    }


def prove(storage: Storage, digest: str, **changes: Any) -> str:
    """Add evidence to a release as it stands; returns its digest."""
    return append_evidence(storage, some_evidence(load_release(storage, digest), **changes))


def point(storage: Storage, channel: str, digest: str) -> Channel:
    """Point a channel, wherever it points, at a release by evidence that is new."""
    before = find_channel(storage, channel)
    proof = prove(storage, digest, created_at=f"2026-11-01T00:00:{before.revision if before else 0:02}+00:00")
    return point_channel(storage, channel, digest, evidence=proof, expected=before, who="tests", why="a test")
