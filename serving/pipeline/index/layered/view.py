"""What is searched at one moment: a proven index, less some of its documents, and the added documents."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType

from serving.pipeline.index.layered.segment import LiveSegment
from serving.pipeline.types import PUBLIC

_OF_QUERY: ContextVar[dict[int, "LayeredView"] | None] = ContextVar("the views of the query that is being answered", default=None)


@dataclass(frozen=True, slots=True)
class LayeredView:
    """One state of the corpus that is served; it never changes."""

    segments: tuple[LiveSegment, ...] = ()
    hidden: frozenset[str] = frozenset()  # documents of the proven index that are not there any more, or were replaced
    version: str = ""  # a digest of every change to the proven corpus; empty: there is none
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))  # the same of what belongs to each tenant
    added: int = 0  # documents
    removed: int = 0  # documents of the proven corpus that were deleted
    added_chunks: int = 0
    hidden_chunks: int = 0  # of the proven index

    @property
    def is_plain(self) -> bool:
        """Whether the proven index is all there is."""
        return not self.segments and not self.hidden

    def version_for(self, tenant: str) -> str:
        """What changes with every change that this tenant's answers may depend on: to its own and to public documents."""
        ours = [self.versions.get(name, "") for name in dict.fromkeys((PUBLIC, tenant))]
        return "+".join(ours) if any(ours) else ""


PLAIN = LayeredView()


@contextmanager
def one_view() -> Iterator[None]:
    """Within it, every search of a store sees the same state, whatever is swapped in meanwhile."""
    token = _OF_QUERY.set({})
    try:
        yield
    finally:
        _OF_QUERY.reset(token)


def view_of_query(store: object, current: Callable[[], LayeredView]) -> LayeredView:
    """The view that the query being answered has of a store: the current one when it first looks."""
    seen = _OF_QUERY.get()
    return current() if seen is None else seen.setdefault(id(store), current())
