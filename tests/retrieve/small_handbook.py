"""One short document and ways to cut it."""

from serving.pipeline.types import Chunk, Document

HANDBOOK = Document(
    id="handbook",
    title="Handbook",
    domain="hr",
    text=(
        "Annual leave is 25 days a year. Unused leave ends on 31 March of the next year, unless the line manager agrees otherwise. "
        "Sick leave is paid in full for six weeks. A doctor's note is needed from the fourth day. "
        "Parental leave is 18 weeks for either parent. It can be split into two parts with the consent of the team."
    ),
)


def cut(document: Document, size: int, overlap: int) -> list[Chunk]:
    """Windows of a fixed size, none of them stripped, so that neighbours always overlap."""
    found = []
    for ordinal, start in enumerate(range(0, max(len(document.text) - overlap, 1), size - overlap)):
        end = min(start + size, len(document.text))
        found.append(chunk_of(document, start, end, ordinal))
    return found


def chunk_of(document: Document, start: int, end: int, ordinal: int) -> Chunk:
    return Chunk(
        id=f"{document.id}#{start}-{end}",
        document_id=document.id,
        start=start,
        end=end,
        text=document.text[start:end],
        ordinal=ordinal,
        title=document.title,
        domain=document.domain,
        tenant=document.tenant,
        groups=document.groups,
        metadata=document.metadata,
    )


def whole(document: Document) -> Chunk:
    return chunk_of(document, 0, len(document.text), 0)
