"""Releases: what was proven, as files named after their content.

    releases/<digest>/{config.yaml, prompts/…, index.json, artefacts/…, SHA256SUMS}
    releases/<digest>/evidence/<evidence digest>.json
    releases/channels/<name>.json

The digest is that of the configuration with its prompts' texts and its corpus, so it is the very digest that the
evaluation logged: what was evaluated is what is served. SHA256SUMS is written last: with it a release is whole.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import yaml
from pydantic import ValidationError

from serving.pipeline.artefacts import MOST_BYTES
from serving.pipeline.build import config_digest
from serving.pipeline.config import RagConfig
from serving.pipeline.errors import ConfigError, DataError, IntegrityError
from serving.pipeline.index.manifest import IndexManifest
from serving.pipeline.plain_yaml import dump_plain, load_plain
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
    sums: bytes  # SHA256SUMS: what its evidence is bound to
    artefacts: Mapping[str, bytes] = field(default_factory=dict)  # by file name
    evidence: Mapping[str, ReleaseEvidence] = field(default_factory=dict)  # by digest, the oldest first

    @property
    def newest_evidence(self) -> str:
        """The digest of the newest evidence (or of the one that was asked for); "" where there is none."""
        return next(reversed(list(self.evidence)), "")


def open_releases(place: str, settings: PipelineSettings) -> Storage:
    """The storage of releases and channels."""
    return open_storage(place, settings, called="release store", setting="TOUCHSTONE_RELEASES")


def write_release(
    storage: Storage,
    config: RagConfig,
    prompts: PromptLibrary,
    index: IndexManifest,
    *,
    artefacts: Mapping[str, bytes] | None = None,
) -> Release:
    """Write a release whole or not at all; one that is there already is verified and kept as it is.

    Files are only ever created. Of writers at the same time the first of each file stands, and each computes the sums of
    what stands, so all come to the same release.
    """
    artefacts = artefacts or {}
    _check_artefacts(artefacts)
    digest = config_digest(config, index.corpus_digest, prompts)
    if storage.get(f"{digest}/{SUMS}") is None:
        offered = _files(config, prompts, index, artefacts)
        files = {name: _created(storage, f"{digest}/{name}", data) for name, data in sorted(offered.items())}
        _assemble(storage, digest, files, sums=b"")  # files that do not make this release get no sums
        storage.put_if(f"{digest}/{SUMS}", _sums(files), expected=None)
    release = load_release(storage, digest)
    if release.artefacts != artefacts:
        odd = sorted(name for name in release.artefacts.keys() | artefacts.keys() if release.artefacts.get(name) != artefacts.get(name))
        raise IntegrityError(f"Release {digest} is there with another artefact {odd[0]!r}. Name artefacts by digest in the configuration.")
    return release


def load_release(storage: Storage, digest: str, *, evidence: str | None = None) -> Release:
    """Load a release after checking every file against its sum, the whole against its name, and its evidence.

    With `evidence`, that document has to be there, and only it and those it stands on are read.
    """
    found = storage.get(f"{digest}/{SUMS}") if re.fullmatch(r"\w+", digest) else None
    if found is None:
        if re.fullmatch(r"\w+", digest) and any(storage.list(f"{digest}/")):
            raise IntegrityError(f"{storage.place}/{digest} has no {SUMS}; it is not a whole release.")
        known = releases(storage)
        raise DataError(f"No release {digest!r} in {storage.place}.{near(digest, known)} Known: {', '.join(known) or 'none'}.")
    release = _assemble(storage, digest, _verified_files(storage, digest, found.data), found.data)
    return replace(release, evidence=read_evidence(storage, digest, found.data, evidence))


def releases(storage: Storage) -> list[str]:
    """The digests of all releases, oldest first."""
    found = [entry for entry in storage.list() if entry.key.count("/") == 1 and entry.key.endswith(f"/{SUMS}")]
    return [entry.key.partition("/")[0] for entry in sorted(found, key=lambda entry: (entry.modified, entry.key))]


def _files(config: RagConfig, prompts: PromptLibrary, index: IndexManifest, artefacts: Mapping[str, bytes]) -> dict[str, bytes]:
    files = {f"prompts/{ident}.md": prompts.source(ident) for ident in prompts.texts(config.answer.prompt)}
    files["config.yaml"] = dump_plain(config.complete().model_dump(mode="json")).encode()
    files["index.json"] = (index.model_dump_json(indent=2) + "\n").encode()
    return files | {f"artefacts/{name}": data for name, data in artefacts.items()}


def _check_artefacts(artefacts: Mapping[str, bytes]) -> None:
    for name in artefacts:
        if not ARTEFACT.fullmatch(name):
            raise DataError(f"{name!r} does not name an artefact. Write its digest and .json or .safetensors.")


def _created(storage: Storage, key: str, data: bytes) -> bytes:
    """What stands under a key once it was offered some bytes."""
    if storage.put_if(key, data, expected=None) is not None:
        return data
    there = storage.get(key)
    if there is None:
        raise IntegrityError(f"{storage.place}/{key} was removed while its release was written. Promote again.")
    return there.data


def _sums(files: Mapping[str, bytes]) -> bytes:
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def _verified_files(storage: Storage, digest: str, sums: bytes) -> dict[str, bytes]:
    """Every file of a release by its name, when they are those that the sums list."""
    place = f"{storage.place}/{digest}"
    lines = [line.partition("  ") for line in sums.decode(errors="replace").removesuffix("\n").split("\n")]
    listed = {name: line_sum for line_sum, _, name in lines}
    sizes = {entry.key.removeprefix(f"{digest}/"): entry.size for entry in storage.list(f"{digest}/")}
    present = {name for name in sizes if not name.startswith(f"{FOLDER}/")} - {SUMS}
    if present != set(listed):
        odd = sorted(present ^ set(listed))
        raise IntegrityError(f"{place}: {odd[0]!r} is {'not listed in' if odd[0] in present else 'missing though listed in'} {SUMS}.")
    files = {}
    for name, promised in listed.items():
        most = MOST_BYTES if name.startswith("artefacts/") else MOST_TEXT
        if sizes[name] > most:
            raise IntegrityError(f"{place}/{name} has {sizes[name]} bytes; at most {most} are read.")
        blob = storage.get(f"{digest}/{name}")
        if blob is None or hashlib.sha256(blob.data).hexdigest() != promised:
            raise IntegrityError(f"{place}/{name} is not what {SUMS} says.")
        files[name] = blob.data
    return files


def _assemble(storage: Storage, digest: str, files: Mapping[str, bytes], sums: bytes) -> Release:
    """The release that files make, when they hash to its name."""
    place = f"{storage.place}/{digest}"
    try:
        config = RagConfig.parse(load_plain(files["config.yaml"]), source=f"{place}/config.yaml")
        index = IndexManifest.model_validate_json(files["index.json"])
    except KeyError as error:
        raise IntegrityError(f"{place} has no file {error}; it is not a whole release.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, ValidationError):
            raise IntegrityError(explain(error, f"{place}/index.json", list(IndexManifest.model_fields))) from None
        raise ConfigError(f"{place}/config.yaml: not YAML: {error}") from None
    prompts = PromptLibrary.of_files(_below("prompts/", files), f"{place}/prompts")
    found = config_digest(config, index.corpus_digest, prompts)
    if found != digest:
        mend = "Was it made by another version of the code? Promote it again from its evaluation."
        raise IntegrityError(f"Release {digest} hashes to {found} when loaded. {mend}")
    return Release(digest, place, config, prompts, index, sums, _below("artefacts/", files))


def _below(folder: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    return {name.removeprefix(folder): data for name, data in files.items() if name.startswith(folder)}
