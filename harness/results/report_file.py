"""An evaluation as JSONL, written and read: the header, then a line per case."""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError

from harness.results.case_result import CaseResult
from harness.results.header import Header
from harness.results.report import EvalReport
from serving.pipeline.codec import Codec
from serving.pipeline.errors import DataError, IntegrityError
from serving.storage.files import write_text

_HEADER = Codec(Header)
_ROW = Codec(CaseResult)
WITHOUT_SUM = '{"config"'  # how a header begins in a file of an earlier version
_SUM = re.compile(r'\{"sha256": "([0-9a-f]{64})", ')


def report_text(report: EvalReport) -> str:
    """An evaluation as JSONL: the header, then a line per case."""
    values = [_HEADER.dump(report.header), *(_ROW.dump(row) for row in report.rows)]
    return with_sum("\n".join(json.dumps(value, ensure_ascii=False) for value in values) + "\n")


def with_sum(text: str) -> str:
    """A text of JSON objects whose first one begins with the SHA-256 of the text as it was."""
    return f'{{"sha256": "{hashlib.sha256(text.encode()).hexdigest()}", {text[1:]}'


def write_report(report: EvalReport, path: Path) -> None:
    """Write an evaluation to a file."""
    write_text(path, report_text(report))


def read_report(path: Path, transform: Callable[[CaseResult], CaseResult] = lambda row: row) -> EvalReport:
    """Read an evaluation; `transform` is applied to each row as it is read, since whole rows are large."""
    try:
        text = path.read_bytes().decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}. Make one: touchstone eval") from None
    return parse_report(text, str(path), transform)


def parse_report(text: str, source: str, transform: Callable[[CaseResult], CaseResult] = lambda row: row) -> EvalReport:
    """An evaluation from its JSONL, checked against its sum; one of an earlier version has none."""
    if match := _SUM.match(text):
        text = "{" + text[match.end() :]
        if hashlib.sha256(text.encode()).hexdigest() != match[1]:
            raise IntegrityError(f"{source}: was changed since it was written: its sum is another. Put it back, or evaluate again.")
    elif not text.startswith(WITHOUT_SUM):  # a sum whose own name was changed is none that could be left out
        raise DataError(f"{source}:1: not a line of an evaluation.")
    lines = text.removesuffix("\n").split("\n")  # JSON keeps the other line separators of documents
    number = 0
    try:
        header = _HEADER.parse(lines[0])
        rows = []
        for number, line in enumerate(lines[1:], start=1):  # noqa: B007 — named in the error below
            rows.append(transform(_ROW.parse(line)))
    except ValidationError:
        raise DataError(f"{source}:{number + 1}: not a line of an evaluation.") from None
    return EvalReport(header, tuple(rows))
