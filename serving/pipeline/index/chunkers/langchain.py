"""LangChain's text splitters as chunkers; every piece must be an exact slice of the document."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from serving.pipeline.errors import ConfigError
from serving.pipeline.index.chunkers.slices import slices
from serving.pipeline.index.chunkers.windows import SPACE
from serving.pipeline.models.langchain import PassThroughParams, constructed
from serving.pipeline.text.headings import headings
from serving.pipeline.types import Chunk, Document

if TYPE_CHECKING:
    from langchain_text_splitters import TextSplitter

Place = tuple[int, int]  # of a piece: where it starts and ends


class SplitterChunker:
    """Cuts where a LangChain text splitter cuts; one that rewrites text or leaves any out is a `ConfigError`."""

    class Params(PassThroughParams):
        """Handed to the splitter's class as they are."""

    version: ClassVar[str] = "1"
    wrapped: ClassVar["type[TextSplitter]"]

    def __init__(self, params: Params) -> None:
        self._splitter = constructed(self.wrapped, params.arguments, "chunker")

    def split(self, document: Document) -> Iterator[Chunk]:
        """The document's chunks in order."""
        pieces = [piece.strip() for piece in self._splitter.split_text(document.text)]
        ranges = piece_places(document.text, [piece for piece in pieces if piece])
        if ranges is None:
            raise ConfigError(self._refusal(document, pieces))
        return slices(document, ranges, headings(document.text))

    def _refusal(self, document: Document, pieces: Sequence[str]) -> str:
        """Which piece is not in the document, or that something is left out."""
        name = f"{self.wrapped.__module__}:{self.wrapped.__qualname__}"
        rewritten = next((piece for piece in pieces if piece not in document.text), None)
        if rewritten is not None:
            return f"The chunker {name!r} rewrites text: {rewritten[:60]!r} is not in {document.id!r}. A chunk is an exact slice."
        mend = "Choose parameters that keep separators, such as keep_separator: true."
        return f"The chunker {name!r} leaves out text of {document.id!r} that is not white space. {mend}"


def piece_places(text: str, pieces: Sequence[str]) -> list[Place] | None:
    """Where the pieces lie, in order and leaving out nothing but white space; `None` where they cannot lie so.

    A repeated piece may lie in several places. All paths are followed, and of those that reach the end the first, with the
    most likely places, is taken. A piece within the one before it adds nothing and has no place.
    """
    paths: dict[Place, _Path | None] = {(-1, 0): None}  # the last place, and the way to it
    for piece in pieces:
        extended: dict[Place, _Path | None] = {}
        for before, path in paths.items():
            for place in _candidate_places(text, piece, before):
                extended.setdefault(place, _extended(path, before, place))
        paths = extended
    for (_, end), path in paths.items():
        if not text[end:].strip():
            return _places_of(path)
    return None


@dataclass(frozen=True, slots=True)
class _Path:
    last: Place
    before: "_Path | None"


def _extended(path: _Path | None, before: Place, place: Place) -> _Path | None:
    """The path extended by a place; a place with the start of the one before replaces it."""
    if place == before:
        return path
    return _Path(place, path.before if path and place[0] == before[0] else path)


def _places_of(path: _Path | None) -> list[Place]:
    places_found: list[Place] = []
    while path is not None:
        places_found.append(path.last)
        path = path.before
    return places_found[::-1]


def _candidate_places(text: str, piece: str, before: Place) -> Iterator[Place]:
    """Where a piece may lie after the one before it: right behind it, else overlapping it as little as may be, else within it."""
    start, end = before
    white_space = SPACE.match(text, end)
    next_start = white_space.end() if white_space else end
    if text.startswith(piece, next_start):
        yield next_start, next_start + len(piece)
    first = max(start, 0)
    place = text.rfind(piece, first, end + len(piece))
    while place >= 0 and place + len(piece) > end:
        yield place, place + len(piece)
        place = text.rfind(piece, first, place + len(piece) - 1)
    if text.find(piece, first, end) >= 0:
        yield before
