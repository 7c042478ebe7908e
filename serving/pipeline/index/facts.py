"""Metadata of documents: `corpus.yaml`, `corpus.d/*.yaml`, and what the files say themselves."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serving.pipeline.errors import DataError
from serving.pipeline.index.access import FIELDS, Access, AccessRule, Where, read_access, slips
from serving.pipeline.index.front_matter import NOTHING, read_mapping, refuse_rules
from serving.pipeline.index.read_file import open_file, read_file
from serving.pipeline.plain_yaml import LocatedYaml
from serving.pipeline.registry import near
from serving.pipeline.types import Document

SETTINGS_FILE = "corpus.yaml"  # name, defaults for every document, domain by folder
FACTS_FOLDER = "corpus.d"  # facts about files that have no front matter


REQUIRED = "required"  # of corpus.yaml's `access`: every document must be said to be restricted or public
KNOWN: Mapping[str, str] = {
    "name": "text", "description": "text", "defaults": "mapping", "domains": "mapping", "access": "text", "plain_fields": "list",
}  # fmt: skip
DATA_FILES = frozenset({".yaml", ".yml", ".json", ".toml"})  # that no loader reads, and that may be meant as rules
HEAD_BYTES = 64_000  # of a file, in which something that looks like rules or front matter is looked for
MOST_BYTES = 50_000_000  # of a file of rules
KINDS: Mapping[str, type] = {"text": str, "mapping": dict, "list": list}
NO_RULE = AccessRule()


@dataclass(frozen=True, slots=True)
class Fields:
    """What one place says of a document, and where."""

    values: Mapping[str, Any]
    where: Where

    def without_access(self) -> "Fields":
        """The same from a file that may not say who reads it."""
        return Fields({key: value for key, value in self.values.items() if key not in FIELDS}, self.where)


@dataclass(frozen=True, slots=True)
class CorpusRules:
    """What `corpus.yaml` and `corpus.d` say of a folder's documents."""

    name: str = ""
    defaults: Mapping[str, Any] = field(default_factory=dict)
    domains: Mapping[str, str] = field(default_factory=dict)  # by folder
    required: bool = False  # a document of which nothing is said about access is refused
    plain_fields: frozenset[str] = frozenset()  # metadata that sounds like access and says nothing about it
    default_access: AccessRule = NO_RULE
    facts: Mapping[str, Fields] = field(default_factory=dict)  # of single documents

    def access(self, name: str, *own: Fields) -> Access:
        """Who may read a document: what the corpus says, narrowed by what its entry and then the document itself say."""
        access = Access().narrowed(self.default_access)
        for fields in (*([self.facts[name]] if name in self.facts else []), *own):
            access = access.narrowed(read_access(fields.values, fields.where, self.plain_fields))
        return access

    def values(self, name: str, *own: Fields) -> dict[str, Any]:
        """The metadata of a document, without what says who may read it."""
        values: dict[str, Any] = {"source": name, **self.defaults}
        for fields in (*([self.facts[name]] if name in self.facts else []), *own):
            values |= fields.values
        return {key: value for key, value in values.items() if key not in ("tenant", "groups", "access")}

    def unused(self, ids: set[str]) -> tuple[str, ...]:
        """The rules that matched no document."""
        folders = {top_folder(name) for name in ids}
        return (
            *(f"{SETTINGS_FILE}: domains: {folder}" for folder in sorted(self.domains.keys() - folders)),
            *(f"{FACTS_FOLDER}: {name}" for name in sorted(self.facts.keys() - ids)),
        )


def top_folder(name: str) -> str:
    """The folder of the corpus that a document lies in, by its id."""
    return name.split("/", 1)[0] if "/" in name else "general"


def document_of(name: str, text: str, values: Mapping[str, Any], access: Access, where: str) -> Document:
    """A document with these values in its fields, or as strings in its metadata where there is no such field."""
    texts = {key: _text(value) for key, value in values.items() if value is not None}
    document = Document(
        id=name,
        text=text,
        title=texts.pop("title", ""),
        domain=texts.pop("domain", "") or "general",
        source=texts.pop("source", "") or name,
        version=texts.pop("version", ""),
        tenant=access.tenant,
        groups=access.groups,
        metadata=MappingProxyType(dict(sorted(texts.items()))),
    )
    try:
        assert document.digest
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half a surrogate pair, which is no character.") from None
    return document


def corpus_rules(folder: Path, *, below: bool = True) -> CorpusRules:
    """What the files beside the documents say; one that is misplaced, misnamed or misspelled is refused, `below` the folder too."""
    _check_places(folder, below=below)
    path = folder / SETTINGS_FILE
    located = read_mapping(_read(path), str(path)) if path.is_file() else NOTHING
    settings = located.data
    for key, value in settings.items():
        where = f"{path}:{located.lines[(key,)]}"
        if key not in KNOWN:
            raise DataError(f"{where}: unknown key {key!r}.{near(key, list(KNOWN))} Known: {', '.join(KNOWN)}.")
        if not isinstance(value, KINDS[KNOWN[key]]):
            raise DataError(f"{where}: {key}: a {KNOWN[key]} is needed, not {value!r}.")
    if settings.get("access", REQUIRED) != REQUIRED:
        raise DataError(f"{path}:{located.lines[('access',)]}: access: only `required` can be said here, not {settings['access']!r}.")
    defaults, plain_fields = settings.get("defaults", {}), frozenset(map(str, settings.get("plain_fields", ())))
    return CorpusRules(
        name=settings.get("name", ""),
        defaults=defaults,
        domains={str(key): str(value) for key, value in settings.get("domains", {}).items()},
        required="access" in settings,
        plain_fields=plain_fields,
        default_access=read_access(defaults, _where(path, located, "defaults"), plain_fields),
        facts=_facts(folder / FACTS_FOLDER),
    )


def may_be_rules(name: str) -> bool:
    """Whether a file of this name, relative to its corpus, is one of rules or could be meant as one."""
    parts = name.split("/")
    meant = any(_rules_meant(part, is_folder=part is not parts[-1]) for part in parts)
    return meant or Path(name).suffix.casefold() in DATA_FILES


def check_all_used(facts: Mapping[str, object], ids: set[str]) -> None:
    """Refuse facts about a document that is not there: most likely a slip of the pen."""
    for name in facts:
        if name not in ids:
            raise DataError(f"{FACTS_FOLDER}: describes {name!r}, which is not in the corpus.{near(name, sorted(ids))}")


def check_all_stated(name: str, silent: list[str], why: str) -> None:
    """Refuse documents of which nothing says who may read them, in a corpus where that must be said."""
    if silent:
        named = f"{', '.join(silent[:5])}{' …' if len(silent) > 5 else ''}"
        raise DataError(
            f"{name}: {why}, and nothing says who may read {named}."
            f" Write `groups: [...]`, `tenant: ...` or `access: public` in {SETTINGS_FILE} or {FACTS_FOLDER}."
        )


def _facts(folder: Path) -> dict[str, Fields]:
    """What `corpus.d/*.yaml` says of each document."""
    facts: dict[str, Fields] = {}
    for path in _fact_files(folder):
        located = read_mapping(_read(path), str(path))
        for name, about in located.data.items():
            where = f"{path}:{located.lines[(name,)]}"
            if not isinstance(about, dict):
                raise DataError(f"{where}: {name}: a mapping of its title, version and so on is needed, not {about!r}.")
            if name in facts:
                raise DataError(f"{where}: {name!r} is described twice in {FACTS_FOLDER}.")
            facts[name] = Fields(about, _where(path, located, name))
    return facts


def _fact_files(folder: Path) -> list[Path]:
    if not folder.exists():
        return []
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror}.") from None
    for path in paths:
        if (path.suffix != ".yaml" or path.name.startswith(".") or not path.is_file()) and not _is_litter(path):
            raise DataError(f"{path}: is not read: {FACTS_FOLDER} holds files named *.yaml and nothing else. Rename it, or move it away.")
    return [path for path in paths if not _is_litter(path)]


def _is_litter(path: Path) -> bool:
    """A hidden file that a system or an editor left, which nobody takes for a rule."""
    return path.name.startswith(".") and path.suffix.casefold() not in (".yaml", ".yml", ".json") and not path.is_dir()


def _check_places(folder: Path, *, below: bool) -> None:
    """Refuse rules that would not be read: under another name, or below the top of the corpus."""
    for walked, folders, names in os.walk(folder):
        top = Path(walked) == folder
        for name in [*folders, *names]:
            kind = _rules_meant(name, is_folder=name in folders)
            path = Path(walked) / name
            if path.suffix.casefold() in DATA_FILES and not kind and not name.startswith(".") and path.is_file():
                refuse_rules(_head(path), str(path))
            if not kind or (top and name == kind and path.is_file() == (kind == SETTINGS_FILE) and path.exists()):
                continue
            mend = f"Name it {kind}" if top else f"Move it to {folder / kind}, or index {walked} as a corpus of its own"
            raise DataError(f"{path}: is not read, so what it says about access would not hold. {mend}.")
        folders[:] = [name for name in folders if below and not name.startswith(".") and not (top and name == FACTS_FOLDER)]


def _rules_meant(name: str, *, is_folder: bool) -> str:
    """Which of the two a name is, or is meant to be; an empty text for any other name."""
    if name.endswith("~"):  # an editor's copy
        return ""
    plain = "".join(letter for letter in name.casefold() if letter.isalnum())
    meant = Path(name).suffix.casefold() in DATA_FILES and plain.startswith(("corpusyaml", "corpusyml", "corporay"))
    if meant or plain in ("corpusjson", "corpustoml") or any(slips(plain, right, 1) <= 1 for right in ("corpusyaml", "corpusyml")):
        return SETTINGS_FILE
    if plain == "corpusd" or (is_folder and plain.endswith("d") and slips(plain, "corpusd", 1) <= 1):
        return FACTS_FOLDER
    return ""


def _where(path: Path, located: LocatedYaml, *above: str) -> Callable[[tuple[str, ...]], str]:
    return lambda keys: f"{path}:{located.lines.get((*above, *keys), located.lines.get(above, 1))}"


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _head(path: Path) -> str:
    with open_file(path, inside=_corpus_of(path)) as file:
        return file.read(HEAD_BYTES).decode("utf-8-sig", "replace")


def _read(path: Path) -> str:
    try:
        return read_file(path, most=MOST_BYTES, inside=_corpus_of(path)).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read: {error}") from None


def _corpus_of(path: Path) -> Path:
    """The folder that a file of rules speaks of, in which it must lie."""
    return path.parent.parent if path.parent.name == FACTS_FOLDER else path.parent
