"""Metadata of documents: front matter, `corpus.yaml`, `corpus.d/*.yaml`."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from serving.pipeline.errors import DataError
from serving.pipeline.index.loaders.markdown import mapping
from serving.pipeline.registry import near
from serving.pipeline.types import PUBLIC, Document

SETTINGS_FILE = "corpus.yaml"  # name, defaults for every document, domain by folder
FACTS_FOLDER = "corpus.d"  # facts about files that have no front matter


def document_of(name: str, text: str, facts: Mapping[str, Any], where: str) -> Document:
    """A document with these facts in its fields, or as strings in its metadata where there is no such field."""
    values = {key: _text(value) for key, value in facts.items() if key != "groups" and value is not None}
    document = Document(
        id=name,
        text=text,
        title=values.pop("title", ""),
        domain=values.pop("domain", "") or "general",
        source=values.pop("source", "") or name,
        version=values.pop("version", ""),
        tenant=values.pop("tenant", "") or PUBLIC,
        groups=_groups(facts.get("groups"), where),
        metadata=MappingProxyType(dict(sorted(values.items()))),
    )
    try:
        assert document.digest
    except UnicodeEncodeError:
        raise DataError(f"{where}: holds half a surrogate pair, which is no character.") from None
    return document


def corpus_settings(folder: Path) -> Mapping[str, Any]:
    """What `corpus.yaml` says of the whole corpus."""
    path = folder / SETTINGS_FILE
    if not path.is_file():
        return {}
    settings = mapping(_read(path), str(path))
    known = {"name": str, "description": str, "defaults": dict, "domains": dict}
    for key, value in settings.items():
        if key not in known:
            raise DataError(f"{path}: unknown key {key!r}.{near(key, list(known))} Known: {', '.join(known)}.")
        if not isinstance(value, known[key]):
            raise DataError(f"{path}: {key}: a {'mapping' if known[key] is dict else 'text'} is needed, not {value!r}.")
    return settings


def facts_by_id(folder: Path) -> dict[str, Mapping[str, Any]]:
    """What `corpus.d/*.yaml` says of each document."""
    facts: dict[str, Mapping[str, Any]] = {}
    for path in sorted((folder / FACTS_FOLDER).glob("*.yaml")):
        for name, about in mapping(_read(path), str(path)).items():
            if not isinstance(about, dict):
                raise DataError(f"{path}: {name}: a mapping of its title, version and so on is needed, not {about!r}.")
            if name in facts:
                raise DataError(f"{path}: {name!r} is described twice in {FACTS_FOLDER}.")
            facts[name] = about
    return facts


def check_all_used(facts: Mapping[str, object], ids: set[str]) -> None:
    """Refuse facts about a document that is not there: most likely a slip of the pen."""
    for name in facts:
        if name not in ids:
            raise DataError(f"{FACTS_FOLDER}: describes {name!r}, which is not in the corpus.{near(name, sorted(ids))}")


def _groups(value: Any, where: str) -> tuple[str, ...]:
    """Who may read a document; anything but names is refused, for a misread restriction would open the document."""
    if value is None or value == "":
        return ()
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and name.strip() for name in names):
        raise DataError(f"{where}: groups: names of groups are needed, as `[hr, legal]`, not {value!r}.")
    return tuple(sorted({name.strip() for name in names}))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
