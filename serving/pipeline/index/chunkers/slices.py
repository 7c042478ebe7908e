"""Turns ranges of a document into its chunks."""

from collections.abc import Iterable, Iterator, Sequence

from serving.pipeline.text.headings import Heading, HeadingPath
from serving.pipeline.types import Chunk, Document


def slices(document: Document, ranges: Iterable[tuple[int, int]], text_headings: Sequence[Heading]) -> Iterator[Chunk]:
    """One chunk for each range with anything to read in it, without the white space at its ends."""
    ordinal, path = 0, HeadingPath(text_headings)
    for first, last in ranges:
        text = document.text[first:last].strip()
        if not text:
            continue
        start = first + document.text[first:last].index(text)
        yield Chunk(
            id=f"{document.id}#{start}-{start + len(text)}",
            document_id=document.id,
            start=start,
            end=start + len(text),
            text=text,
            ordinal=ordinal,
            title=document.title,
            heading=path.forward(start),
            domain=document.domain,
            source=document.source,
            version=document.version,
            tenant=document.tenant,
            groups=document.groups,
            metadata=document.metadata,
        )
        ordinal += 1
