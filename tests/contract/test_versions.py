"""A version that was forgotten is found: the same inputs and the same version must give the same output.

    python -m tests.contract.test_versions --write          after a `version` was raised, or for a new name
    python -m tests.contract.test_versions --write --anew   after the fixed inputs were changed: writes every line anew

`versions.json` keeps a digest of each output and, apart, its numbers, which may differ in the last places between machines.
"""

import argparse
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving.pipeline.digest import digest_of
from serving.pipeline.errors import ConfigError
from serving.storage.files import write_text
from tests.contract.outputs import KINDS, UNTRIED, output

pytestmark = pytest.mark.filterwarnings(  # ragas opens a file of its own while it is imported, and leaves closing it to chance
    r"ignore:Exception ignored in. <_io.FileIO name='.*ragas.uuid\.json':pytest.PytestUnraisableExceptionWarning"
)

KEPT = Path(__file__).with_name("versions.json")
ROOT = Path(__file__).resolve().parents[2]
COMMAND = "python -m tests.contract.test_versions --write"
TOLERANCE = 2e-3
NAMES = [(kind, name) for kind, about in KINDS.items() for name in about.registry.own_names() if (kind, name) not in UNTRIED]


@dataclass(frozen=True, slots=True)
class Entry:
    """An output as it is kept."""

    digest: str  # of everything but the numbers
    numbers: tuple[float, ...] = ()

    @classmethod
    def of(cls, value: Any) -> "Entry":
        """The entry of an output."""
        numbers: list[float] = []
        digest = digest_of(_without_numbers(value, numbers))
        return cls(digest, tuple(numbers))

    def same(self, other: "Entry") -> bool:
        """Whether two outputs are one."""
        pairs = zip(self.numbers, other.numbers, strict=False)
        near = all(math.isclose(one, two, rel_tol=TOLERANCE, abs_tol=TOLERANCE) for one, two in pairs)
        return self.digest == other.digest and len(self.numbers) == len(other.numbers) and near


def _without_numbers(value: Any, numbers: list[float]) -> Any:
    if isinstance(value, float):
        numbers.append(round(value, 4))
        return "number"
    if isinstance(value, dict):
        return {key: _without_numbers(value[key], numbers) for key in sorted(value)}
    if isinstance(value, list | tuple):
        return [_without_numbers(one, numbers) for one in value]
    return value


def read() -> dict[str, Entry]:
    data = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.exists() else {}
    return {key: Entry(one["digest"], tuple(one.get("numbers", ()))) for key, one in data.items()}


def key_of(kind: str, name: str) -> str:
    return f"{kind} {name} @ {KINDS[kind].version(name)}"


def fault(kind: str, name: str, known: dict[str, Entry], now: Entry) -> str:
    """What is wrong with a name's output; empty where nothing is."""
    key = key_of(kind, name)
    if key not in known:
        return f"{key}: has no line in versions.json. Run: {COMMAND}"
    if known[key].same(now):
        return ""
    made = KINDS[kind].registry.load(name)
    return (
        f"{key}: its output changed and its version did not. Raise `version` of {made.__module__}.{made.__qualname__}, then run: {COMMAND} "
        "(or take the change back: whatever was kept or released under this version would be mistaken for the new output)"
    )


def outputs() -> Iterator[tuple[str, str, Entry]]:
    """Every output that can be had here; a metric whose package is missing is left out."""
    for kind, name in NAMES:
        try:
            yield kind, name, Entry.of(output(kind, name))
        except ConfigError as error:
            if "needs the package" not in str(error):
                raise


def write(*, anew: bool) -> list[str]:
    """Write lines for new names and versions and drop those of none; a changed output under its old version is refused."""
    known = read()
    found = {(kind, name): now for kind, name, now in outputs()}
    keys = {key_of(*one): now for one, now in found.items()}
    faults = [fault(*one, known, now) for one, now in found.items() if key_of(*one) in known]
    if any(faults) and not anew:
        return [one for one in faults if one]
    missing = tuple(f"{kind} {name} @ " for kind, name in NAMES if (kind, name) not in found)
    kept = {key: now if anew else known.get(key, now) for key, now in keys.items()}  # last places stay as they were
    kept |= {key: one for key, one in known.items() if key.startswith(missing)}
    lines = {key: {"digest": one.digest} | ({"numbers": one.numbers} if one.numbers else {}) for key, one in sorted(kept.items())}
    write_text(KEPT, "{\n" + ",\n".join(f" {json.dumps(key)}: {json.dumps(one)}" for key, one in lines.items()) + "\n}\n")
    return []


@pytest.mark.parametrize(("kind", "name"), NAMES)
@pytest.mark.slow
def test_the_same_version_gives_the_same_output(kind: str, name: str) -> None:
    try:
        now = Entry.of(output(kind, name))
    except ConfigError as error:
        if "needs the package" in str(error):
            pytest.skip(str(error))
        raise
    except KeyError as error:
        pytest.fail(f"{kind} {name!r} has no fixed input: {error}. Give it one in tests/contract, or say in UNTRIED why it needs none.")
    wrong = fault(kind, name, read(), now)
    assert not wrong, wrong


def test_no_line_is_left_of_a_version_that_is_gone() -> None:
    here = set()
    for kind, name in NAMES:
        try:
            here.add(key_of(kind, name))
        except ConfigError:  # its package is missing
            here |= {key for key in read() if key.startswith(f"{kind} {name} @ ")}
    assert set(read()) <= here, f"Run: {COMMAND}"


def test_every_table_of_plug_ins_is_tried_and_every_exception_exists() -> None:
    sources = [path.read_text(encoding="utf-8") for folder in ("serving", "harness") for path in (ROOT / folder).rglob("*.py")]
    tables = {kind for text in sources for kind in re.findall(r"^[A-Z_]+ = Registry\[[^\n]*\]\(\s*\"([^\"]+)\"", text, re.MULTILINE)}
    assert tables == set(KINDS), "a kind needs a line in tests/contract/outputs.py"
    assert {kind for kind, _ in UNTRIED} <= set(KINDS)
    assert [(kind, name) for kind, name in UNTRIED if name not in KINDS[kind].registry.names()] == []


def test_another_text_or_number_is_another_output_and_a_last_place_is_not() -> None:
    assert Entry.of(["a", 1, 0.5]).same(Entry.of(["a", 1, 0.5004]))
    assert not Entry.of(["a", 1, 0.5]).same(Entry.of(["a", 1, 0.51]))
    assert not Entry.of(["a", 1, 0.5]).same(Entry.of(["a", 2, 0.5]))
    assert not Entry.of(["a", None]).same(Entry.of(["a", 0.5]))


def test_a_forgotten_version_is_named_with_its_class_and_the_command() -> None:
    key = key_of("chunker", "sentence")
    told = fault("chunker", "sentence", {key: Entry("before")}, Entry("after"))
    assert told.startswith(f"{key}: its output changed and its version did not.")
    assert "Raise `version` of serving.pipeline.index.chunkers.sentence.SentenceChunker" in told
    assert COMMAND in told
    assert fault("chunker", "sentence", {}, Entry("after")) == f"{key}: has no line in versions.json. Run: {COMMAND}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", required=True)
    parser.add_argument("--anew", action="store_true", help="the fixed inputs were changed: write every line anew")
    if wrong := write(anew=parser.parse_args().anew):
        raise SystemExit("\n".join(wrong))
