"""Every pattern of the package takes time in proportion to its text, whatever the text.

A pattern is tried on texts made of its own parts: what leads up to each repeat, what the repeat repeats, and an end that fails.
"""

import ast
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from itertools import islice, product
from pathlib import Path
from re import _constants as codes  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

import pytest

from tests.support.growth import FLOOR_S, least_seconds, outgrown

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("serving", "harness", "touchstone")
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if path.stem != "__main__" and "re" in path.read_text(encoding="utf-8")
]
LENGTHS = (24, 400, 1000, 4000)  # short ones first: some patterns double with each character
HOPELESS_S = 0.25
ENDS = ("", "\0")
PLAIN = (
    " ",
    "a",
    "A",
    "0",
    "\n",
    "a ",
    "a\n",
    "0 ",
    "0,",
    "a.",
    "A. ",
    "- ",
    "| ",
    "\t \n",
    "é",
    "(",
    "[",
    "*",
    "_",
    "#",
    '"',
    "a: ",
    "1-a",
)
TRUSTED = {r"<(script|style)>(.*?)</\1>": "reads the page that we ship"}  # patterns that meet no text from outside
Attempt = Callable[[re.Pattern[Any], Any], object]
TRIES: Mapping[str, Attempt] = {
    "search": lambda pattern, text: pattern.search(text),
    "match": lambda pattern, text: pattern.match(text),
    "fullmatch": lambda pattern, text: pattern.fullmatch(text),
    "finditer": lambda pattern, text: sum(1 for _ in pattern.finditer(text)),
}
LIKE_FINDITER = frozenset(["finditer", "findall", "sub", "subn", "split"])
SOURCES = {path: path.read_text(encoding="utf-8") for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))}


@dataclass(frozen=True, slots=True)
class Use:
    """A pattern of a module, and the methods that it is called by; all where that cannot be told."""

    pattern: re.Pattern[Any]
    methods: frozenset[str] = frozenset(TRIES)


def patterns_of(module: str) -> list[Use]:
    """Every pattern that a module keeps, in names, classes and containers, and every constant that it gives to `re`."""
    loaded = pytest.importorskip(module, exc_type=ModuleNotFoundError)
    assert loaded.__file__
    tree = ast.parse(SOURCES[Path(loaded.__file__)])
    imported = {alias.asname or alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
    uses = list(_constants(tree, vars(loaded)))
    for name, value in vars(loaded).items():
        if name not in imported:
            methods = methods_of(name, Path(loaded.__file__)) if isinstance(value, re.Pattern) else frozenset(TRIES)
            uses += [Use(pattern, methods) for pattern in _within(value, module, depth=4)]
    found: dict[tuple[str | bytes, int], Use] = {}
    for use in uses:
        key = (use.pattern.pattern, use.pattern.flags)
        found[key] = Use(use.pattern, use.methods | found[key].methods) if key in found else use
    return list(found.values())


@cache
def methods_of(name: str, path: Path) -> frozenset[str]:
    """The methods by which a name is called anywhere, a private one in its file; all if it is also used without one, as when given away."""
    called: set[str] = set()
    for source in [SOURCES[path]] if name.startswith("_") else SOURCES.values():
        for line in source.splitlines():
            if not line.startswith(("from ", f"{name} = ", f"{name}: ")):
                for use in re.finditer(rf"\b{name}\b(?:\.(\w+)\()?", line):
                    called.add(use[1] or "")
    called.discard("pattern")
    known = frozenset("finditer" if method in LIKE_FINDITER else method for method in called)
    return known if known and known <= set(TRIES) else frozenset(TRIES)


def _within(value: object, module: str, depth: int) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, Mapping):
        for item in [*value.keys(), *value.values()]:
            yield from _within(item, module, depth - 1)
    elif depth and isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from _within(item, module, depth - 1)
    elif depth and isinstance(value, type) and value.__module__ == module:
        for item in vars(value).values():
            yield from _within(item, module, depth - 1)
    elif depth and hasattr(value, "__slots__") and type(value).__module__ == module:
        for name in type(value).__slots__:
            yield from _within(getattr(value, name, None), module, depth - 1)


def _constants(tree: ast.Module, names: Mapping[str, Any]) -> Iterator[Use]:
    """The patterns that are written where they are used: `re.sub(r"…", …)`; one given to `re.compile` may be used in any way."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == "re" and node.args):
            continue
        if node.func.attr != "escape" and isinstance(node.args[0], ast.Constant):
            flags = [keyword.value for keyword in node.keywords if keyword.arg == "flags"]
            flags += [arg for arg in node.args[1:] if ast.unparse(arg).startswith("re.")]
            pattern = re.compile(node.args[0].value, *(eval(ast.unparse(flag), {"re": re, **names}) for flag in flags))
            method = node.func.attr
            if method != "compile":
                yield Use(pattern, frozenset(["finditer" if method in LIKE_FINDITER else method]))
            elif node.col_offset and not _is_named(node, tree):
                yield Use(pattern)


def _is_named(call: ast.Call, tree: ast.Module) -> bool:
    return any(isinstance(node, ast.Assign | ast.AnnAssign) and node.value is call for node in tree.body)


def hostile_texts(pattern: re.Pattern[Any]) -> Iterator[Callable[[int], Any]]:
    """Makers of a text of a given length, each a text that the pattern may find hard."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    tree = parser.parse(source, pattern.flags & ~re.UNICODE if isinstance(pattern.pattern, bytes) else pattern.flags)
    pieces = dict.fromkeys(PLAIN)
    leads: dict[str, None] = {"": None}
    for lead, body in islice(_repeats(list(tree)), 40):
        leads[lead] = None
        pieces[body] = None
        pieces[lead + body] = None
    own = [piece for piece in pieces if piece and piece not in PLAIN]
    pairs = [first + second for first, second in islice(product(own, own), 24)]
    combined = [*((lead, piece) for lead in islice(leads, 8) for piece in own[:16]), *(("", piece) for piece in [*PLAIN, *own, *pairs])]
    for (lead, piece), end in product(dict.fromkeys(combined), ENDS):
        yield lambda length, lead=lead, piece=piece, end=end: _encoded(pattern, lead + piece * (length // len(piece) + 1) + end)


def _encoded(pattern: re.Pattern[Any], text: str) -> Any:
    return text if isinstance(pattern.pattern, str) else text.encode("latin-1", "replace")


def _repeats(tree: list[Any], lead: str = "") -> Iterator[tuple[str, str]]:
    """What leads up to each repeat of a pattern, and one turn of what it repeats."""
    for code, value in tree:
        if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            low, high, body = value
            if high > 8:
                for place in range(3):
                    yield lead, _sample(list(body), place)
            yield from _repeats(list(body), lead)
            lead += _sample(list(body)) * min(max(low, 1), 8)
        elif code is codes.SUBPATTERN:
            yield from _repeats(list(value[3]), lead)
            lead += _sample(list(value[3]))
        elif code is codes.BRANCH:
            for branch in value[1]:
                yield from _repeats(list(branch), lead)
            lead += _sample(list(value[1][0]))
        elif code in (codes.ASSERT, codes.ASSERT_NOT):
            yield from _repeats(list(value[1]), lead)
        elif code is codes.ATOMIC_GROUP:
            yield from _repeats(list(value), lead)
            lead += _sample(list(value))
        else:
            lead += _sample([(code, value)])


def _sample(tree: list[Any], place: int = 0) -> str:
    """A text that a part of a pattern matches; `place` chooses among classes and branches."""
    text = ""
    for code, value in tree:
        if code is codes.LITERAL:
            text += chr(value)
        elif code is codes.NOT_LITERAL:
            text += "a" if value != ord("a") else "b"
        elif code is codes.ANY:
            text += "a .\t"[place % 4]
        elif code is codes.IN:
            text += _member(value, place)
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            text += _sample(list(value[2]), place) * min(max(value[0], 1), 8)
        elif code is codes.SUBPATTERN:
            text += _sample(list(value[3]), place)
        elif code is codes.ATOMIC_GROUP:
            text += _sample(list(value), place)
        elif code is codes.BRANCH:
            text += _sample(list(value[1][place % len(value[1])]), place)
    return text


def _member(items: list[Any], place: int) -> str:
    return _members(tuple(items))[place % len(_members(tuple(items)))]


@cache
def _members(items: tuple[Any, ...]) -> str:
    """Up to four characters of a class, of different sorts."""
    one = re.compile("[" + "".join(map(_spelled, items)) + "]")
    found = "".join(char for char in " a0.A-,\n\"'(|*_:/#é" if one.match(char))[:4]
    if found:
        return found
    return next(chr(place) for place in range(0x2FFFF) if one.match(chr(place)))


def _spelled(item: tuple[Any, Any]) -> str:
    code, value = item
    if code is codes.NEGATE:
        return "^"
    if code is codes.LITERAL:
        return re.escape(chr(value))
    if code is codes.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    return {codes.CATEGORY_DIGIT: r"\d", codes.CATEGORY_NOT_DIGIT: r"\D", codes.CATEGORY_SPACE: r"\s"}.get(
        value, {codes.CATEGORY_NOT_SPACE: r"\S", codes.CATEGORY_WORD: r"\w", codes.CATEGORY_NOT_WORD: r"\W"}.get(value, "")
    )


def growth(attempt: Attempt, pattern: re.Pattern[Any], make: Callable[[int], Any]) -> str:
    """How an attempt outgrows its text; empty if it does not."""
    for length in LENGTHS:
        text = make(length)
        spent = least_seconds(partial(attempt, pattern), text)
        if spent > HOPELESS_S and (spent := least_seconds(partial(attempt, pattern), text)) > HOPELESS_S:
            return f"{spent:.2f} s on {length} characters"
    if spent <= FLOOR_S:
        return ""
    return outgrown(partial(attempt, pattern), make, length=LENGTHS[-1] // 2, times=2)


def outgrown_by(use: Use) -> str:
    """The first hostile text that a pattern outgrows, and how."""
    for make in hostile_texts(use.pattern):
        for method in sorted(use.methods):
            if how := growth(TRIES[method], use.pattern, make):
                return f"{use.pattern.pattern!r}.{method}({make(24)[:60]!r}…): {how}"
    return ""


@pytest.mark.parametrize("module", MODULES)
def test_every_pattern_of_a_module_is_linear(module: str) -> None:
    found = [how for use in patterns_of(module) if use.pattern.pattern not in TRUSTED and (how := outgrown_by(use))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("slow", [r"(a+)+$", r"[ \t]+(?=\n)", r"\s*x", r"(?:\w+\s?)*;", r"a.*b.*c", r"\d+(?:,\d+)*%"])
def test_a_slow_pattern_is_found(slow: str) -> None:
    assert outgrown_by(Use(re.compile(slow)))


@pytest.mark.parametrize("linear", [r"[a-z]{1,20}x", r"(?<!\s)\s+x", r"\bword\s+here", r"a|b|c+", r"\A\s*x"])
def test_a_linear_pattern_is_let_be(linear: str) -> None:
    assert not outgrown_by(Use(re.compile(linear)))
