"""Releases: what was proven, as a folder named after its content; and channels, which point at releases.

    releases/<digest>/{config.yaml, prompts/…, index.json, evidence.json, SHA256SUMS}
    releases/channels/<name>.json

The digest is that of the configuration with its prompts' texts and its corpus, so it is the very digest that the
evaluation logged: what was evaluated is what is served.
"""

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from serving.pipeline.build import config_digest
from serving.pipeline.config import RagConfig, load_config
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError, IntegrityError, StoreError
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import explain, near
from serving.storage.draft import draft_folder, move_in
from serving.storage.files import write_text

SUMS = "SHA256SUMS"
CHANNELS = ("dev", "staging", "prod")


@dataclass(frozen=True, slots=True)
class Release:
    """A verified release on disk."""

    digest: str
    folder: Path
    config: RagConfig
    prompts: PromptLibrary
    index: IndexManifest
    evidence: Mapping[str, Any]


class Channel(BaseModel):
    """What an environment serves: a small document that points at a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    stable: str
    revision: int = 1
    updated_at: str = ""
    history: tuple[str, ...] = ()  # earlier stable digests, newest first


def write_release(root: Path, config: RagConfig, prompts: PromptLibrary, index: IndexManifest, evidence: Mapping[str, Any]) -> Release:
    """Write a release whole or not at all; one that is there already is verified and kept as it is."""
    digest = config_digest(config, index.corpus_digest, prompts)
    folder = root / digest
    if folder.exists():
        return load_release(root, digest)
    try:
        with draft_folder(folder) as draft:
            write_text(draft / "config.yaml", yaml.safe_dump(config.complete().model_dump(mode="json"), sort_keys=False))
            for ident in prompts.texts(config.answer.prompt):
                (draft / "prompts" / ident).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(prompts.folder / f"{ident}.md", draft / "prompts" / f"{ident}.md")
            write_text(draft / "index.json", index.model_dump_json(indent=2))
            write_text(draft / "evidence.json", json.dumps(evidence, indent=2, sort_keys=True))
            files = sorted(path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file())
            write_text(draft / SUMS, "".join(f"{sha256_file(draft / file)}  {file}\n" for file in files))
            move_in(draft, folder, SUMS)  # if another writer was faster, its release stands: it has the same content
    except OSError as error:
        raise StoreError(f"The release {digest} could not be written to {root}: {error.strerror or error}.") from error
    return load_release(root, digest)


def load_release(root: Path, digest: str) -> Release:
    """Load a release after checking every file against its sum and the whole against its name."""
    folder = root / digest
    if not folder.is_dir():
        known = releases(root)
        raise DataError(f"No release {digest!r} in {root}.{near(digest, known)} Known: {', '.join(known) or 'none'}.")
    try:
        _verify(folder)
    except OSError as error:
        raise StoreError(f"The release {digest} in {root} cannot be read: {error.strerror or error}.") from error
    config = load_config(folder / "config.yaml")
    prompts = PromptLibrary(folder / "prompts")
    try:
        index = IndexManifest.model_validate_json((folder / "index.json").read_text(encoding="utf-8"))
        evidence = json.loads((folder / "evidence.json").read_text(encoding="utf-8"))
    except ValidationError as error:
        raise IntegrityError(explain(error, f"{folder / 'index.json'}", list(IndexManifest.model_fields))) from None
    except ValueError as error:
        raise IntegrityError(f"{folder / 'evidence.json'}: {error}") from None
    found = config_digest(config, index.corpus_digest, prompts)
    if found != digest:
        mend = "Was it made by another version of the code? Promote it again from its evaluation."
        raise IntegrityError(f"Release {digest} hashes to {found} when loaded. {mend}")
    return Release(digest, folder, config, prompts, index, evidence)


def releases(root: Path) -> list[str]:
    """The digests of all releases, oldest first."""
    found = [path for path in root.glob("*/" + SUMS) if not path.parent.name.startswith(".")] if root.is_dir() else []
    return [path.parent.name for path in sorted(found, key=lambda path: (path.stat().st_mtime, path.parent.name))]


def read_channel(root: Path, name: str) -> Channel:
    """What a channel points at."""
    path = _channel_path(root, name)
    try:
        return Channel.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise DataError(f"Channel {name!r} points at nothing yet. Run: touchstone promote --channel {name}") from None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}.") from error
    except ValidationError as error:
        raise IntegrityError(explain(error, f"{path} is not a channel", list(Channel.model_fields))) from None


def point_channel(root: Path, name: str, digest: str, *, expected: str | None = None) -> Channel:
    """Point a channel at a release; with `expected`, only if it still points there."""
    load_release(root, digest)
    path = _channel_path(root, name)
    with _alone(path):
        before = read_channel(root, name) if path.exists() else None
        if expected is not None and (before.stable if before else "") != expected:
            raise DataError(f"Channel {name!r} points at {before.stable if before else 'nothing'}, no longer at {expected!r}; look again.")
        if before and before.stable == digest:
            return before
        after = Channel(
            name=name,
            stable=digest,
            revision=before.revision + 1 if before else 1,
            updated_at=datetime.now(UTC).isoformat(timespec="seconds"),
            history=(before.stable, *before.history)[:20] if before else (),
        )
        write_text(path, after.model_dump_json(indent=2))
    return after


def _channel_path(root: Path, name: str) -> Path:
    if name not in CHANNELS:
        raise DataError(f"No channel {name!r}.{near(name, list(CHANNELS))} Known: {', '.join(CHANNELS)}.")
    return root / "channels" / f"{name}.json"


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold a lock so that reading and replacing a pointer is one step."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_suffix(".lock").open("w")
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {error.strerror or error}.") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _verify(folder: Path) -> None:
    sums = folder / SUMS
    if not sums.is_file():
        raise IntegrityError(f"{folder} has no {SUMS}; it is not a whole release.")
    listed: dict[str, str] = {}
    for line in sums.read_text(encoding="utf-8", errors="replace").removesuffix("\n").split("\n"):
        digest, _, file = line.partition("  ")
        listed[file] = digest
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {SUMS}
    if present != set(listed):
        odd = sorted(present ^ set(listed))
        raise IntegrityError(f"{folder}: {odd[0]!r} is {'not listed in' if odd[0] in present else 'missing though listed in'} {SUMS}.")
    for file, digest in listed.items():
        if sha256_file(folder / file) != digest:
            raise IntegrityError(f"{folder / file} is not what {SUMS} says.")
