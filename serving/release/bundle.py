"""Releases: an evaluated configuration as files named after their content.

    releases/<digest>/{config.yaml, prompts/…, index.json, artefacts/…, SHA256SUMS}
    releases/<digest>/evidence/<evidence digest>.json
    releases/channels/<name>.json

The digest is that of the configuration with its prompts' texts and its corpus, so it is the very digest that the
evaluation logged: what was evaluated is what is served. SHA256SUMS is written last: a release that has it is complete.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pydantic import ValidationError

from serving.pipeline.artefacts import MOST_BYTES
from serving.pipeline.build import config_digest
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError, IntegrityError
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.plain_yaml import YamlError, dump_plain, load_plain
from serving.pipeline.prompts import PromptLibrary
from serving.pipeline.registry import explain, near
from serving.pipeline.settings import PipelineSettings
from serving.release.evidence import FOLDER, ReleaseEvidence, read_evidence
from serving.storage.base import Storage
from serving.storage.open import open_storage

SUMS = "SHA256SUMS"
MOST_TEXT = 1024 * 1024  # bytes of every other file: a configuration, a prompt, an index's manifest
ARTEFACT = re.compile(r"[0-9a-f]{16,64}\.(json|safetensors)")


@dataclass(frozen=True, slots=True)
class Release:
    """A verified release."""

    digest: str
    place: str
    config: RagConfig
    prompts: PromptLibrary
    index: IndexManifest
    sums: bytes  # content of SHA256SUMS, which its evidence names by digest
    artefacts: Mapping[str, bytes] = field(default_factory=dict)  # by file name
    evidence: Mapping[str, ReleaseEvidence] = field(default_factory=dict)  # by digest, the oldest first

    @property
    def newest_evidence(self) -> str:
        """The digest of the newest evidence document that was read; "" where there is none."""
        return next(reversed(list(self.evidence)), "")


def open_releases(place: str, settings: PipelineSettings) -> Storage:
    """The storage of releases and channels."""
    return open_storage(place, settings, purpose="release store", setting="TOUCHSTONE_RELEASES")


def write_release(
    storage: Storage,
    config: RagConfig,
    prompts: PromptLibrary,
    index: IndexManifest,
    *,
    artefacts: Mapping[str, bytes] | None = None,
) -> Release:
    """Write a release; an existing one is verified and left as it is.

    Files are created and never replaced. Of concurrent writers the first to write a file wins, and each computes the sums of
    the files that are there, so all end with the same release.
    """
    artefacts = artefacts or {}
    _check_artefacts(artefacts)
    digest = config_digest(config, index.corpus_digest, prompts)
    if storage.get(f"{digest}/{SUMS}") is None:
        new_files = _files(config, prompts, index, artefacts)
        files = {name: _put_once(storage, f"{digest}/{name}", data) for name, data in sorted(new_files.items())}
        _assemble(storage, digest, files, sums=b"")  # raises unless the files make this very release
        storage.put_if(f"{digest}/{SUMS}", _sums(files), expected=None)
    release = load_release(storage, digest)
    if release.artefacts != artefacts:
        differing = sorted(
            name for name in release.artefacts.keys() | artefacts.keys() if release.artefacts.get(name) != artefacts.get(name)
        )
        raise IntegrityError(
            f"Release {digest} is there with another artefact {differing[0]!r}. Name artefacts by digest in the configuration."
        )
    return release


def load_release(storage: Storage, digest: str, *, evidence: str | None = None) -> Release:
    """Load a release after checking every file against its sum, the whole against its name, and its evidence.

    With `evidence`, that document must exist, and only it and its predecessors are read.
    """
    sums = storage.get(f"{digest}/{SUMS}") if re.fullmatch(r"\w+", digest) else None
    if sums is None:
        if re.fullmatch(r"\w+", digest) and any(storage.list(f"{digest}/")):
            raise IntegrityError(f"{storage.place}/{digest} has no {SUMS}; it is not a whole release.")
        known = releases(storage)
        raise DataError(f"No release {digest!r} in {storage.place}.{near(digest, known)} Known: {', '.join(known) or 'none'}.")
    release = _assemble(storage, digest, _verified_files(storage, digest, sums.data), sums.data)
    return replace(release, evidence=read_evidence(storage, digest, sums.data, evidence))


def releases(storage: Storage) -> list[str]:
    """The digests of all releases, oldest first."""
    entries = [entry for entry in storage.list() if entry.key.count("/") == 1 and entry.key.endswith(f"/{SUMS}")]
    return [entry.key.partition("/")[0] for entry in sorted(entries, key=lambda entry: (entry.modified, entry.key))]


def _files(config: RagConfig, prompts: PromptLibrary, index: IndexManifest, artefacts: Mapping[str, bytes]) -> dict[str, bytes]:
    files = {f"prompts/{ident}.md": prompts.source(ident) for ident in prompts.texts_of(config)}
    files["config.yaml"] = dump_plain(config.complete().model_dump(mode="json")).encode()
    files["index.json"] = (index.model_dump_json(indent=2) + "\n").encode()
    return files | {f"artefacts/{name}": data for name, data in artefacts.items()}


def _check_artefacts(artefacts: Mapping[str, bytes]) -> None:
    for name in artefacts:
        if not ARTEFACT.fullmatch(name):
            raise DataError(f"{name!r} does not name an artefact. Write its digest and .json or .safetensors.")


def _put_once(storage: Storage, key: str, data: bytes) -> bytes:
    """Write a key unless it exists; returns the bytes that it then has."""
    if storage.put_if(key, data, expected=None) is not None:
        return data
    current = storage.get(key)
    if current is None:
        raise IntegrityError(f"{storage.place}/{key} was removed while its release was written. Promote again.")
    return current.data


def _sums(files: Mapping[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def _verified_files(storage: Storage, digest: str, sums: bytes) -> dict[str, bytes]:
    """Every file of a release by name; raises unless they match SHA256SUMS."""
    place = f"{storage.place}/{digest}"
    lines = [line.partition("  ") for line in sums.decode(errors="replace").removesuffix("\n").split("\n")]
    listed = {name: line_sum for line_sum, _, name in lines}
    sizes = {entry.key.removeprefix(f"{digest}/"): entry.size for entry in storage.list(f"{digest}/")}
    present = {name for name in sizes if not name.startswith(f"{FOLDER}/")} - {SUMS}
    if present != set(listed):
        differing = sorted(present ^ set(listed))
        raise IntegrityError(
            f"{place}: {differing[0]!r} is {'not listed in' if differing[0] in present else 'missing though listed in'} {SUMS}."
        )
    files = {}
    for name, expected in listed.items():
        most = MOST_BYTES if name.startswith("artefacts/") else MOST_TEXT
        if sizes[name] > most:
            raise IntegrityError(f"{place}/{name} has {sizes[name]} bytes; at most {most} are read.")
        blob = storage.get(f"{digest}/{name}")
        if blob is None or hashlib.sha256(blob.data).hexdigest() != expected:
            raise IntegrityError(f"{place}/{name} is not what {SUMS} says.")
        files[name] = blob.data
    return files


def _assemble(storage: Storage, digest: str, files: Mapping[str, bytes], sums: bytes) -> Release:
    """The release made of these files; raises unless they hash to its name."""
    place = f"{storage.place}/{digest}"
    try:
        config = RagConfig.parse(load_plain(files["config.yaml"]), source=f"{place}/config.yaml")
        index = IndexManifest.model_validate_json(files["index.json"])
    except KeyError as error:
        raise IntegrityError(f"{place} has no file {error}; it is not a whole release.") from None
    except ValidationError as error:
        raise IntegrityError(explain(error, f"{place}/index.json", list(IndexManifest.model_fields))) from None
    except YamlError as error:
        raise ConfigError(f"{place}/config.yaml:{error.line}: not YAML: {error}") from None
    prompts = PromptLibrary.of_files(_below("prompts/", files), f"{place}/prompts")
    actual = config_digest(config, index.corpus_digest, prompts)
    if actual != digest:
        mend = "Was it made by another version of the code? Promote it again from its evaluation."
        raise IntegrityError(f"Release {digest} hashes to {actual} when loaded. {mend}")
    return Release(digest, place, config, prompts, index, sums, _below("artefacts/", files))


def _below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}
