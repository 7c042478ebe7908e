"""The queue of a golden set: proposed cases wait here for a reviewer; nothing else leads into the set.

`datasets/golden/<name>/queue.jsonl` holds one candidate per line. It is changed under a lock and replaced whole, so that
several writers lose nothing of each other's and a killed one leaves the old file or the new.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from harness.golden.candidate import Candidate
from harness.golden.lines import SourceLine, lines
from serving.pipeline.errors import DataError, StoreError
from serving.pipeline.registry import explain, near
from serving.storage.files import write_text
from serving.storage.lock import file_lock

FILE = "queue.jsonl"
SUMS = "queue.sha256"  # of the queue as it was written last


@dataclass(frozen=True, slots=True)
class AddResult:
    """The candidates that were added to a queue, and those that it had already."""

    new: tuple[Candidate, ...]
    known: tuple[Candidate, ...]  # in the queue already, left as they were


class Queue:
    """The candidates of one golden set, in the order they came."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder  # datasets/golden/<name>
        self.path = folder / FILE

    def read(self) -> tuple[Candidate, ...]:
        """Every candidate, or a `DataError` with file and line number."""
        if not self.path.exists():
            self._check_sum(b"")
            return ()
        line_numbers: dict[str, int] = {}
        candidates: list[Candidate] = []
        for line in lines(self.path):
            candidate = _parse_line(line)
            if candidate.id in line_numbers:
                raise DataError(f"{line.where}: candidate {candidate.id!r} stands in line {line_numbers[candidate.id]} already.")
            line_numbers[candidate.id] = line.number
            candidates.append(candidate)
        self._check_sum(self.path.read_bytes())
        return tuple(candidates)

    def get(self, ident: str) -> Candidate:
        """The candidate of an id."""
        return _find(self.read(), ident, self.path)

    def add(self, candidates: Iterable[Candidate]) -> AddResult:
        """Append those that are not there yet."""
        with self.locked():
            queued = {candidate.id: candidate for candidate in self.read()}
            new: dict[str, Candidate] = {}
            known: list[Candidate] = []
            for candidate in candidates:
                if candidate.id in queued:
                    known.append(queued[candidate.id])
                elif candidate.id in new:
                    known.append(new[candidate.id])
                else:
                    new[candidate.id] = candidate
            if new:
                self._write([*queued.values(), *new.values()])
        return AddResult(tuple(new.values()), tuple(known))

    def change(self, ident: str, change: Callable[[Candidate], Candidate]) -> Candidate:
        """Replace one candidate by what `change` makes of it as it stands now."""
        with self.locked():
            candidates = self.read()
            before = _find(candidates, ident, self.path)
            after = change(before)
            self._write([after if candidate.id == ident else candidate for candidate in candidates])
        return after

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Lock the set's folder, so that reading and replacing are one step; the lock ends with its process."""
        with ExitStack() as stack:
            try:
                stack.enter_context(file_lock(self.folder, create=False))
            except OSError as error:
                raise StoreError(f"{self.folder} cannot be opened: {error.strerror or error}.") from error
            for name in (FILE, SUMS):
                for left in self.folder.glob(f".{name}.*"):  # what a killed writer, who held the lock, had not written to its end
                    left.unlink(missing_ok=True)
            yield

    def mark_published(self, ids: Iterable[str], version: str) -> None:
        """Record which version candidates went into; the caller holds the lock."""
        chosen = set(ids)
        self._write(
            [candidate.model_copy(update={"published": version}) if candidate.id in chosen else candidate for candidate in self.read()]
        )

    def _write(self, candidates: Iterable[Candidate]) -> None:
        text = "".join(f"{json.dumps(_as_line(candidate), ensure_ascii=False)}\n" for candidate in candidates)
        before = self.path.read_bytes() if self.path.exists() else b""
        write_text(self._sums, f"{_sum(before)}\n{_sum(text.encode())}\n")  # either may be what a killed process leaves
        write_text(self.path, text)
        write_text(self._sums, f"{_sum(text.encode())}\n")

    @property
    def _sums(self) -> Path:
        return self.folder / SUMS

    def _check_sum(self, data: bytes) -> None:
        """A `DataError` where the queue is not as it was written last; a queue of an earlier version has no sum."""
        if self._sums.exists() and _sum(data) not in self._sums.read_text(encoding="utf-8", errors="replace").split():
            state = "has other candidates than were written last" if data.strip() else "is gone or empty"
            raise DataError(f"{self.path} {state}. Put it back (git checkout), or where that is meant remove {self._sums}.")


def _sum(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _find(candidates: Iterable[Candidate], ident: str, path: Path) -> Candidate:
    known = {candidate.id: candidate for candidate in candidates}
    if ident not in known:
        raise DataError(f"No candidate {ident!r} in {path}.{near(ident, list(known))} See them: touchstone golden review NAME --json")
    return known[ident]


def _as_line(candidate: Candidate) -> dict[str, object]:
    """A candidate as it is written: empty fields are left out."""
    return candidate.model_dump(mode="json", exclude_defaults=True) | {"state": candidate.state}


def _parse_line(line: SourceLine) -> Candidate:
    try:
        return Candidate.model_validate(line.row)
    except ValidationError as error:
        raise DataError(explain(error, line.where, list(Candidate.model_fields))) from None
