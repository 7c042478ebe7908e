"""Who reads an upload: what its uploader says, within what the uploader may; never what the file says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from serving.app.core.problems import refused_field
from serving.app.documents.wire import UploadIn
from serving.keys import Caller
from serving.pipeline.errors import DataError
from serving.pipeline.index.access import Access, read_access, sounds_like
from serving.pipeline.index.facts import HEAD_BYTES, document_of
from serving.pipeline.index.front_matter import NOTHING, read_front_matter, refuse_unread
from serving.pipeline.index.loaders.base import decoded
from serving.pipeline.plain_yaml import LocatedYaml
from serving.pipeline.tenant_groups import name_in
from serving.pipeline.types import STATUS

MARKDOWN = frozenset({".md", ".markdown"})
PACKED = frozenset({".pdf", ".docx"})
ACCESS_KEYS = frozenset({"tenant", "groups", "access", "domain"})
FRONT_MATTER_LINES = 200  # of a text, in which something that looks like front matter is looked for
MEND = "What a file says of its readers is not followed: say `groups` with the upload"


@dataclass(frozen=True, slots=True)
class UploadReaders:
    """Who may read an upload."""

    tenant: str
    groups: tuple[str, ...]
    domain: str


def readers_of(caller: Caller, fields: UploadIn) -> UploadReaders:
    """The readers that an uploader chooses; where the upload names no groups, those of its key."""
    groups = sorted(caller.groups) if fields.groups is None else sorted(set(fields.groups))
    if foreign := [group for group in groups if group not in caller.groups]:
        own = ", ".join(sorted(caller.groups)) or "none"
        raise refused_field("groups", f"{', '.join(foreign)}: not among the groups of this key ({own})")
    if fields.groups is None and (meant := [name for name in fields.metadata if sounds_like(name)]):
        raise refused_field("metadata", f"{meant[0]!r} restricts nobody here. Say `groups` beside it, or give it another name")
    names = [name_in(caller.tenant, group) for group in groups]
    if None in names:
        raise refused_field("groups", f"no document can name a group of the tenant {caller.tenant!r} whose name has a slash")
    return UploadReaders(caller.tenant, tuple(name for name in names if name), _domain(caller, fields.domain))


def front_matter_fields(data: bytes, name: str, suffix: str, *, readers_given: bool) -> UploadIn:
    """The fields that a file's front matter gives, without its readers; they are held to what a form may say.

    A restriction in the file that would not hold is refused, unless the upload says itself who reads it.
    """
    try:
        values = _front_matter(data, name, suffix, readers_given=readers_given)
        document = document_of(name, "", {key: value for key, value in values.items() if key not in ACCESS_KEYS}, Access(), name)
    except DataError as error:
        what = str(error).partition(". ")[0].rstrip(".")  # how the readers of a corpus are said helps nobody here
        raise refused_field("file", what if readers_given else f"{what}. {MEND}") from None
    metadata = dict(document.metadata)
    in_file = {"title": document.title, "version": document.version, "status": metadata.pop(STATUS, ""), "metadata": metadata}
    try:
        return UploadIn.model_validate(in_file)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise refused_field("file", f"its front matter: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _front_matter(data: bytes, name: str, suffix: str, *, readers_given: bool) -> Mapping[str, Any]:
    if suffix in PACKED:
        return {}
    markdown = suffix in MARKDOWN
    text = decoded(data if markdown else data[:HEAD_BYTES])[0]
    located, first = read_front_matter(text, name) if markdown else (NOTHING, 1)
    if not readers_given:
        _refuse_restriction(located, name)
        refuse_unread("\n".join(text.split("\n", first + FRONT_MATTER_LINES)[first - 1 : first - 1 + FRONT_MATTER_LINES]), name, first)
    return dict(located.data)


def _refuse_restriction(located: LocatedYaml, name: str) -> None:
    """Refuse front matter that keeps a document from anybody, or nearly does: it would not hold."""
    rule = read_access(located.data, lambda keys: f"{name}:{located.lines.get(keys, 1)}")
    if rule.tenant or rule.groups:
        raise DataError(f"{rule.where['groups' if rule.groups else 'tenant']}: restricts its readers")


def _domain(caller: Caller, wanted: str) -> str:
    if caller.domains is None:
        return wanted or "general"
    if wanted in caller.domains:
        return wanted
    if not wanted and len(caller.domains) == 1:
        return next(iter(caller.domains))
    own = ", ".join(sorted(caller.domains)) or "none"
    raise refused_field(
        "domain", f"{wanted!r} is not among the domains of this key ({own})" if wanted else f"name one of this key's: {own}"
    )
