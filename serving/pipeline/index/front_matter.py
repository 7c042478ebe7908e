"""Front matter: the `key: value` lines between two lines `---` at the very top of a Markdown file.

What looks like it and is not read, there or in any other file, is refused where it holds a field that restricts readers.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NoReturn

from serving.pipeline.errors import DataError
from serving.pipeline.index.access import HOW, is_slip, sounds_like
from serving.pipeline.plain_yaml import LocatedYaml, YamlError, load_located

NOTHING = LocatedYaml(MappingProxyType({}), MappingProxyType({}))
HEAD_CHARACTERS = 64_000  # of a page, in which `<meta name=…>` is looked for
HEAD_LINES = 120  # lines of a text in which something that looks like front matter is looked for
FIRST_FENCE = 40  # lines within which its first line would stand
LINE = 400  # characters of a line that are looked at
CERTAIN = frozenset(["acl", "acls", "allowed groups", "access groups", "allowed_groups", "access_groups", "allowedgroups", "accessgroups"])
IN_A_PAGE = CERTAIN | {"access", "permissions", "visibility", "roles", "readers"}
_INVISIBLE = re.compile("[\u200b-\u200f\u2060\ufeff\u00ad]")
_FENCE = re.compile(r"\s*(?:(?:-{2,}|\+{2,}|[\u2012-\u2015]+|={3,}|~{3,}|;{3,}|`{3,}|<!--+|/\*+)(?:$|\s|\w)|\.{3,}$|\{$|-->|\*/)")
_KEY = re.compile(r"""[\s>*+\-#/|"'`{(\[<!;%.,@$&\\\u2012-\u2015]{0,12}(\w[\w.\-]{0,40}(?: [\w\-]{1,20}){0,2})["'`]?\s{0,8}[:=\uff1a]""")
_RULE = re.compile(r"""[ \t{\-.@$]{0,4}["']?(\w[\w.\-]{0,40}(?: [\w\-]{1,20}){0,2})["']?[ ]{0,4}[:=]""")
_META = re.compile(r"""<meta\b[^>]{0,300}?\bname\s{0,4}=\s{0,4}["']?([\w.\-]{1,40})""", re.IGNORECASE)
_GOES_ON = re.compile(r"\s*(?:$|[-#%/*\]\[{}(),\"'>|<!]|//)|\s\s")  # blank, a comment, an item of a list or an indented line


def split_front_matter(text: str, name: str) -> tuple[str, Mapping[str, Any]]:
    """The text without its front matter, and the front matter; a text without any is returned whole."""
    front, first = read_front_matter(text, name)
    if first == 1:
        return text, {}
    return "\n".join(text.split("\n")[first - 1 :]).lstrip("\n"), front.data


def read_front_matter(text: str, name: str) -> tuple[LocatedYaml, int]:
    """The front matter of a text with the line of every key, and the first line after it: 1 where there is none."""
    lines = text.split("\n")
    last = None
    if lines[0].rstrip() == "---":
        last = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() == "---"), None)
    if last is None:
        return NOTHING, 1
    return read_mapping("\n".join(lines[1:last]), name, first_line=2), last + 2


def read_mapping(text: str, name: str, first_line: int = 1) -> LocatedYaml:
    """A YAML mapping whose scalars are all texts as written, so that 1.10 and 2026-03-01 stay what they look like."""
    try:
        located = load_located(text, first_line=first_line, texts=True)
    except YamlError as error:
        raise DataError(f"{name}:{error.line}: not YAML: {error}") from None
    if located.data in (None, ""):
        return NOTHING
    if not isinstance(located.data, dict):
        raise DataError(f"{name}:{first_line}: `key: value` lines are needed, not {str(located.data)[:80]!r}.")
    return located


def refuse_unread(text: str, name: str, first_line: int = 1, *, unfenced: bool = True) -> None:
    """Refuse a text whose head has an access field that would not be read, such as front matter with four dashes."""
    for match in _META.finditer(text, 0, HEAD_CHARACTERS):
        if _in_a_page(match[1]):
            _refuse(match[1], name, first_line + text.count("\n", 0, match.start()))
    lines = [_INVISIBLE.sub("", line[:LINE]) for line in text.split("\n", HEAD_LINES)[:HEAD_LINES]]
    for number, key in _unread(lines, unfenced=unfenced):
        if sounds_like(key):
            _refuse(key, name, first_line + number)


def _refuse(key: str, name: str, line: int) -> NoReturn:
    raise DataError(
        f"{name}:{line}: `{key}` is not read here, so it restricts nobody. Only Markdown has front matter: `key: value` lines between"
        f" two lines `---`, the first of them the first line of the file. {HOW}; for other files in corpus.d."
    )


def refuse_rules(text: str, name: str) -> None:
    """Refuse a file of data that is no document, where it holds a field about access as the files of rules do."""
    for number, line in enumerate(text.split("\n"), 1):
        match = _RULE.match(line[:LINE])
        if match and is_certain(match[1]):
            raise DataError(
                f"{name}:{number}: `{match[1]}` is not read here, so it restricts nobody. Rules stand in corpus.yaml and corpus.d/*.yaml"
                " at the top of the corpus. If this is none, begin the file's name with a dot."
            )


def _unread(lines: Sequence[str], *, unfenced: bool) -> Iterator[tuple[int, str]]:
    """The keys that look as if they were meant to be read, with the numbers of their lines from 0."""
    for number, line in enumerate(lines[:FIRST_FENCE]):
        if _FENCE.match(line):
            yield from _keys_from(lines, number)
    start = next((number for number, line in enumerate(lines) if unfenced and line.strip()), len(lines))
    for number, key in _keys_from(lines, start, fenced=False):
        if is_certain(key) or (key.islower() and " " not in key):
            yield number, key


def is_certain(key: str) -> bool:
    """Whether a key must have been meant wherever it stands: `Access: by the main gate` need not."""
    return (is_slip(key) and sounds_like(key) in ("tenant", "groups")) or key.casefold() in CERTAIN


def _in_a_page(name: str) -> bool:
    return is_certain(name) or name.casefold() in IN_A_PAGE


def _keys_from(lines: Sequence[str], start: int, *, fenced: bool = True) -> Iterator[tuple[int, str]]:
    """The keys of the lines from a place on, as long as they look like `key: value`; without a fence a blank line after one ends them."""
    found = False
    for number, line in enumerate(lines[start:], start):
        if match := _KEY.match(line):
            found = True
            yield number, match[1]
            continue
        ended = _FENCE.match(line) if fenced else found and not line.strip()
        if number > start and (ended or not _GOES_ON.match(line)):
            return
