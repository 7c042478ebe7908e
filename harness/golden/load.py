"""Reading golden sets: every line checked, every file held against its sum."""

import json
from pathlib import Path

import yaml
from pydantic import ValidationError

from harness.golden.case import Case
from harness.golden.sets import Card, GoldenSet
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import DataError
from serving.pipeline.registry import explain, near

SEALED = ("cases.jsonl", "CARD.md")


def golden_sets(root: Path) -> list[str]:
    """The names of all golden sets below `datasets/`, as name/vN."""
    cards = sorted((root / "golden").glob("*/v*/cases.jsonl"))
    return [f"{card.parent.parent.name}/{card.parent.name}" for card in cards]


def load_golden(root: Path, name: str, *, sealed: bool = True) -> GoldenSet:
    """Load `datasets/golden/<name>/v<N>`; the newest version when `name` has none."""
    known = golden_sets(root)
    if "/" not in name:
        versions = [other for other in known if other.split("/")[0] == name]
        name = max(versions, key=lambda other: int(other.rsplit("/v", 1)[1]), default=name)
    folder = root / "golden" / name
    if not (folder / "cases.jsonl").is_file():
        raise DataError(f"No golden set {name!r}.{near(name, known)} Known: {', '.join(known) or 'none'}. A set is a folder {folder}/.")
    if sealed:
        _verify(folder, name)
    cases, lines = _read_cases(folder / "cases.jsonl")
    if not cases:
        raise DataError(f"{folder / 'cases.jsonl'}: no cases.")
    return GoldenSet(folder, _read_card(folder / "CARD.md"), tuple(cases), lines, sha256_file(folder / "cases.jsonl")[:16])


def _verify(folder: Path, name: str) -> None:
    mend = f"If the change is meant, run: touchstone golden seal {name}"
    sums = folder / "SHA256"
    if not sums.is_file():
        raise DataError(f"{folder} has no SHA256 file. Run: touchstone golden seal {name}")
    lines = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in lines:
        digest, _, file = line.partition("  ")
        if file not in SEALED or not (folder / file).is_file():
            raise DataError(f"{sums}: {line!r} names no file of the set. {mend}")
        if sha256_file(folder / file) != digest:
            raise DataError(f"{folder / file} is not what {sums} says. {mend}")
    if missing := set(SEALED) - {line.partition("  ")[2] for line in lines}:
        raise DataError(f"{sums} has no sum of {', '.join(sorted(missing))}. {mend}")


def _read_cases(path: Path) -> tuple[list[Case], dict[str, int]]:
    cases: list[Case] = []
    lines: dict[str, int] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}") from None
    for number, line in enumerate(text.split("\n"), start=1):  # quotes may hold other line separators, which JSON keeps
        if not line.strip():
            continue
        try:
            case = Case.model_validate(json.loads(line))
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number}: not JSON: {error.msg} at column {error.colno}.") from None
        except ValidationError as error:
            raise DataError(explain(error, f"{path}:{number}", list(Case.model_fields))) from None
        if case.id in lines:
            raise DataError(f"{path}:{number}: case id {case.id!r} stands in line {lines[case.id]} already.")
        cases.append(case)
        lines[case.id] = number
    return cases, lines


def _read_card(path: Path) -> Card:
    try:
        text = path.read_text(encoding="utf-8")
        _, head, _ = text.split("---\n", 2)
        return Card.model_validate(yaml.safe_load(head))
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}: a golden set needs a card that names its corpus.") from None
    except ValidationError as error:
        raise DataError(explain(error, str(path), list(Card.model_fields))) from None
    except (ValueError, yaml.YAMLError) as error:
        raise DataError(f"{path}: front matter between two lines '---' is needed: {error}") from None
