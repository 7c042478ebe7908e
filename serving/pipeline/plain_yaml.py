"""The one reader of YAML: plain data with known line numbers, in time and memory bounded by the text's length.

Refused, with the line: a key given twice, `<<`, anchors that are used (`*name`), tags, more than one document, and more
nesting or size than a file written by hand has. A date stays the text it looks like.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

MOST_CHARACTERS = 4_000_000
MOST_DEPTH = 50
MOST_NODES = 500_000
_NULL, _BOOL = "tag:yaml.org,2002:null", "tag:yaml.org,2002:bool"
_INT, _FLOAT, _STR = "tag:yaml.org,2002:int", "tag:yaml.org,2002:float", "tag:yaml.org,2002:str"
_SCALARS = frozenset([_NULL, _BOOL, _INT, _FLOAT, _STR])
_EVENTS: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml reads five times as fast
_CONSTRUCTOR: Any = yaml.constructor.SafeConstructor
_RESOLVER: Any = yaml.resolver.Resolver
_LONG_NUMBER = 300  # characters: a longer one is an attack or a slip, and costs its square to convert
_SIXTIES = re.compile(r"[-+]?[0-9][0-9_]*(?::[0-9]+)+(?:\.[0-9_]*)?\Z")  # YAML 1.1 takes 12:30 for 750


class YamlError(ValueError):
    """A text that is not the YAML read here: `str(error)` says why, `line` where."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


@dataclass(frozen=True, slots=True)
class LocatedYaml:
    """The data of a text, and the line of every key in it."""

    data: Any
    lines: Mapping[tuple[str, ...], int]  # by the keys that lead there


def load_plain(text: str | bytes, *, first_line: int = 1) -> Any:
    """The data of a text, or a `YamlError`."""
    return load_located(text, first_line=first_line).data


def load_located(text: str | bytes, *, first_line: int = 1, texts: bool = False) -> LocatedYaml:
    """The data of a text with the lines of its keys; with `texts` every scalar stays as it is written, so 1.10 is not 1.1."""
    if len(text) > MOST_CHARACTERS:
        raise YamlError(f"has {len(text):,} characters; at most {MOST_CHARACTERS:,} are read", first_line)
    reader = _Reader(first_line, texts)
    try:
        for event in yaml.parse(text, Loader=_EVENTS):
            reader.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        ends = text.count("\n") if isinstance(text, str) else text.count(b"\n")
        line = min(mark.line, ends) if mark else 0
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or " ".join(str(error).split())
        raise YamlError(str(reason), first_line + line) from None
    except UnicodeError as error:
        raise YamlError(str(error), first_line) from None
    return LocatedYaml(reader.data, reader.lines)


class _PlainDumper(yaml.SafeDumper):
    """The safe dumper, which writes what occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_plain(data: Any) -> str:
    """The text that `load_plain` reads, with the keys in their order."""
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False)


_NO_KEY: Any = object()


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end was not read yet."""

    value: Any
    path: tuple[str, ...]
    key: Any = _NO_KEY


@dataclass(slots=True)
class _Reader:
    """Builds the data from the parser's events, without recursion."""

    first_line: int
    texts: bool
    data: Any = None
    lines: dict[tuple[str, ...], int] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=list)
    _documents: int = 0
    _nodes: int = 0

    def take(self, event: Any) -> None:
        """Take in one event."""
        line = self.first_line + event.start_mark.line
        for problem in self._problems(event):
            raise YamlError(problem, line)
        if isinstance(event, yaml.ScalarEvent):
            self._add(self._scalar(event, line), line)
        elif isinstance(event, yaml.SequenceStartEvent | yaml.MappingStartEvent):
            value: Any = [] if isinstance(event, yaml.SequenceStartEvent) else {}
            path = self._add(value, line)
            self._open.append(_Open(value, path))
        elif isinstance(event, yaml.CollectionEndEvent):
            self._open.pop()

    def _problems(self, event: Any) -> Iterator[str]:
        if isinstance(event, yaml.AliasEvent):
            yield f"the alias *{str(event.anchor)[:60]} is not allowed: write the value out"
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                yield "a second document begins here; one is read"
        if isinstance(event, yaml.NodeEvent):
            self._nodes += 1
            if self._nodes > MOST_NODES:
                yield f"more than {MOST_NODES:,} values; that many are read"
            tag = str(getattr(event, "tag", None) or "!")
            if tag not in ("!", _STR) or (tag == _STR and not isinstance(event, yaml.ScalarEvent)):
                yield f"the tag {tag[:60]} is not allowed; plain values are"
            if isinstance(event, yaml.CollectionStartEvent) and len(self._open) >= MOST_DEPTH:
                yield f"nested too deeply; {MOST_DEPTH} levels are read"

    def _add(self, value: Any, line: int) -> tuple[str, ...]:
        """Put a value in its place; returns the keys that lead to it."""
        if not self._open:
            self.data = value
            return ()
        parent = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
            return parent.path
        if parent.key is _NO_KEY:
            self._begin(parent, value, line)
            return parent.path
        parent.value[parent.key] = value
        path = (*parent.path, str(parent.key))
        parent.key = _NO_KEY
        return path

    def _begin(self, parent: _Open, key: Any, line: int) -> None:
        if isinstance(key, list | dict):
            raise YamlError("a key must be a single value, not a list or a mapping", line)
        path = (*parent.path, str(key))
        if key in parent.value:
            raise YamlError(f"the key {str(key)[:60]!r} is given twice; first in line {self.lines.get(path, line)}", line)
        parent.key = key
        self.lines[path] = line

    def _scalar(self, event: Any, line: int) -> Any:
        """The value of a scalar: a text, a number, a truth value or None."""
        text: str = event.value
        is_key = bool(self._open) and isinstance(self._open[-1].value, dict) and self._open[-1].key is _NO_KEY
        if is_key and text == "<<" and event.implicit[0]:
            raise YamlError("the merge key << is not allowed: write the keys out", line)
        tag = _resolved(text) if event.implicit[0] and not self.texts else _STR
        if tag == _STR:
            return text
        try:
            return _CONSTRUCTOR.yaml_constructors[tag](_CONSTRUCTOR(), yaml.ScalarNode(tag, text))
        except (ValueError, LookupError):  # 0x_ has the shape of a number
            return text


def _resolved(text: str) -> str:
    """The tag of a scalar without quotes."""
    if len(text) > _LONG_NUMBER or _SIXTIES.match(text):
        return _STR
    resolvers = _RESOLVER.yaml_implicit_resolvers
    for tag, pattern in [*resolvers.get(text[:1], ()), *resolvers.get(None, ())]:
        if pattern.match(text):
            return str(tag) if tag in _SCALARS else _STR
    return _STR
