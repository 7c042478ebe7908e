"""Reading users' files line by line; every problem becomes one line with file and line number."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from serving.pipeline.errors import DataError
from serving.pipeline.registry import explain

M = TypeVar("M", bound=BaseModel)

FILE_BYTES = 1_000_000_000  # of a file that is read line by line
JSON_BYTES = 200_000_000
LINE_BYTES = 32_000_000
MAX_PROBLEMS = 20  # printed before "… and n more"
BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of a file, not blank, and where it stands (file:line)."""

    where: str
    number: int
    raw: bytes

    @property
    def text(self) -> str:
        """The line as text."""
        try:
            return self.raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.where}: not UTF-8 (byte {error.start + 1}). Save the file as UTF-8.") from None

    @property
    def row(self) -> dict[str, Any]:
        """The line as a JSON object."""
        value = parse(self.text, self.where)
        if not isinstance(value, dict):
            raise DataError(f"{self.where}: an object {{…}} is needed, not {self.text.strip()[:60]!r}.")
        return value


def lines(path: Path) -> Iterator[SourceLine]:
    """The lines of a file that are not blank, without a byte order mark and carriage returns."""
    check_size(path, FILE_BYTES)
    try:
        with path.open("rb") as file:
            number = 0
            while raw := file.readline(LINE_BYTES + 1):
                number += 1
                if len(raw) > LINE_BYTES:
                    raise DataError(f"{path}:{number}: is longer than {LINE_BYTES / 1e6:g} MB, the most that one line may have.")
                raw = raw.removeprefix(BOM) if number == 1 else raw
                if raw.strip():
                    yield SourceLine(f"{path}:{number}", number, raw.rstrip(b"\r\n"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None


def read_rows(path: Path, model: type[M], problems: list[str], fields: Sequence[str] = ()) -> Iterator[tuple[SourceLine, M]]:
    """Every line with its model; a line that cannot be read is added to the problems instead."""
    for line in lines(path):
        try:
            row = model.model_validate(line.row)
        except DataError as error:
            problems.append(str(error))
        except ValidationError as error:
            problems.append(explain(error, line.where, list(fields or model.model_fields)))
        else:
            yield line, row


def read_json(path: Path) -> Any:
    """A file that is one JSON document."""
    check_size(path, JSON_BYTES)
    try:
        data = path.read_bytes().removeprefix(BOM)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from None
    try:
        return parse(data.decode("utf-8"), str(path), file=True)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}:{line}: not UTF-8. Save the file as UTF-8.") from None


def parse(text: str, where: str, *, file: bool = False) -> Any:
    """JSON as Python values; with `file` the line within the text is added to `where`."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{where}:{error.lineno}" if file else where
        raise DataError(f"{where}: not JSON: {error.msg} at column {error.colno}.") from None
    except RecursionError:
        raise DataError(f"{where}: the JSON is nested too deep.") from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{where}: not JSON: {str(error).split(';')[0]}.") from None


def check_size(path: Path, most: int) -> None:
    """Refuse what is no file, or too large a file."""
    if not path.is_file():
        raise DataError(f"No file {str(path)!r}." if not path.exists() else f"{path}: is not a file.")
    size = path.stat().st_size
    if size > most:
        raise DataError(f"{path}: has {size / 1e6:,.0f} MB; at most {most / 1e6:,g} MB are read. Split it.")


def refuse(problems: Sequence[str]) -> None:
    """Raise a `DataError` with all problems, a line each; return when there are none."""
    if problems:
        more = len(problems) - MAX_PROBLEMS
        raise DataError("\n".join(problems[:MAX_PROBLEMS]) + (f"\n… and {more} more" if more > 0 else ""))
