"""Reading golden sets: every line is checked, every file verified against its sum."""

from pathlib import Path

from pydantic import ValidationError

from harness.golden.case import Case
from harness.golden.lines import read_rows, refuse
from harness.golden.sets import Card, GoldenSet
from harness.settings import ambiguous, no_project
from serving.pipeline.digest import sha256_file
from serving.pipeline.errors import ConfigError, DataError
from serving.pipeline.plain_yaml import YamlError, load_plain
from serving.pipeline.registry import explain, near

SEALED = ("cases.jsonl", "CARD.md")


def golden_sets(root: Path) -> list[str]:
    """The names of all golden sets below `datasets/`, as name/vN."""
    folders = [path.parent for path in (root / "golden").glob("*/v*/cases.jsonl")]
    known = [folder for folder in folders if folder.name[1:].isdecimal() and not folder.parent.name.startswith(".")]  # .x: being written
    return [f"{folder.parent.name}/{folder.name}" for folder in sorted(known, key=lambda path: (path.parent.name, int(path.name[1:])))]


def load_golden(root: Path, name: str, *, sealed: bool = True) -> GoldenSet:
    """Load `datasets/golden/<name>/v<N>`; the newest version when `name` has none."""
    known = golden_sets(root)
    if not isinstance(name, str):
        raise ConfigError(f"A golden set is named by a text, such as {known[0] if known else 'mine/v1'!r}, not {name!r}.")
    if name == "":
        raise ambiguous("golden set", root / "golden", " with --golden, or as the argument of golden …")
    if "/" not in name:
        versions = [other for other in known if other.split("/")[0] == name]
        name = max(versions, key=lambda other: int(other.rsplit("/v", 1)[1]), default=name)
    folder = root / "golden" / name
    if not (folder / "cases.jsonl").is_file():
        if not (root / "golden").is_dir():
            raise DataError(f"No golden set {name!r}: {no_project(root / 'golden')}")
        raise DataError(f"No golden set {name!r}.{near(name, known)} Known: {', '.join(known) or 'none'}. A set is a folder {folder}/.")
    if sealed:
        _verify(folder, name)
    cases, numbers = _read_cases(folder / "cases.jsonl")
    if not cases:
        raise DataError(f"{folder / 'cases.jsonl'}: no cases.")
    return GoldenSet(folder, _read_card(folder / "CARD.md"), tuple(cases), numbers, sha256_file(folder / "cases.jsonl")[:16])


def _verify(folder: Path, name: str) -> None:
    mend = f"If the change is meant, run: touchstone golden seal {name}"
    sums = folder / "SHA256"
    if not sums.is_file():
        raise DataError(f"{folder} has no SHA256 file. Run: touchstone golden seal {name}")
    entries = sums.read_text(encoding="utf-8", errors="replace").splitlines()
    for line in entries:
        digest, _, file = line.partition("  ")
        if file not in SEALED or not (folder / file).is_file():
            raise DataError(f"{sums}: {line!r} names no file of the set. {mend}")
        if sha256_file(folder / file) != digest:
            raise DataError(f"{folder / file} is not what {sums} says. {mend}")
    if missing := set(SEALED) - {line.partition("  ")[2] for line in entries}:
        raise DataError(f"{sums} has no sum of {', '.join(sorted(missing))}. {mend}")


def _read_cases(path: Path) -> tuple[list[Case], dict[str, int]]:
    cases: list[Case] = []
    numbers: dict[str, int] = {}
    problems: list[str] = []
    for line, case in read_rows(path, Case, problems):
        if case.id in numbers:
            problems.append(f"{line.where}: case id {case.id!r} stands in line {numbers[case.id]} already.")
            continue
        cases.append(case)
        numbers[case.id] = line.number
    refuse(problems)
    return cases, numbers


def _read_card(path: Path) -> Card:
    try:
        text = path.read_text(encoding="utf-8-sig")
        if text.count("---\n") < 2:
            raise DataError(f"{path}: front matter between two lines '---' is needed, with the keys {', '.join(Card.model_fields)}.")
        _, head, _ = text.split("---\n", 2)
        return Card.model_validate(load_plain(head, first_line=2))
    except FileNotFoundError:
        raise DataError(f"No file {str(path)!r}: a golden set needs a card that names its corpus.") from None
    except ValidationError as error:
        raise DataError(explain(error, str(path), list(Card.model_fields))) from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not UTF-8. Save the file as UTF-8.") from None
    except YamlError as error:
        raise DataError(f"{path}:{error.line}: the front matter cannot be read: {error}.") from None
