"""What of the added documents is searched: each wanted one that is indexed, and of the proven index what was not deleted or replaced."""

from collections.abc import Sequence
from types import MappingProxyType

from serving.documents.record import DocumentRecord
from serving.documents.store import DocumentSet
from serving.pipeline.digest import digest_all
from serving.pipeline.index.layered.segment import LiveSegment, Segment
from serving.pipeline.index.layered.view import LayeredView
from serving.pipeline.types import PUBLIC


def layered_view(wanted: DocumentSet, segments: Sequence[Segment], proven: dict[str, int]) -> LayeredView:
    """What is to be searched: each wanted document that is indexed, and of the proven index what was not deleted or replaced."""
    contents = {record.id: record.content for record in wanted.records.values() if record.live}
    deleted = {record.id for record in wanted.records.values() if record.state == "deleted"}
    shown: set[str] = set()
    live: list[LiveSegment] = []
    for segment in segments:
        alive = {one.id for one in segment.documents if contents.get(one.id) == one.content and one.id not in shown}
        shown |= alive
        if alive:
            live.append(LiveSegment(segment, segment.without(one.id for one in segment.documents if one.id not in alive)))
    hidden = (deleted | shown) & proven.keys()
    by_tenant: dict[str, list[str]] = {}
    changed: list[str] = []
    for record in wanted.records.values():
        if record.id in shown or record.id in deleted:
            change = f"{record.id}\n{record.content if record.id in shown else 'deleted'}"
            changed.append(change)
            for tenant in _tenants(record, proven):
                by_tenant.setdefault(tenant, []).append(change)
    return LayeredView(
        segments=tuple(live),
        hidden=frozenset(hidden),
        version=digest_all(changed) if changed else "",
        versions=MappingProxyType({tenant: digest_all(change) for tenant, change in by_tenant.items()}),
        added=len(shown),
        removed=len(deleted & proven.keys()),
        added_chunks=sum(one.count for one in live),
        hidden_chunks=sum(proven[ident] for ident in hidden),
    )


def _tenants(record: DocumentRecord, proven: dict[str, int]) -> tuple[str, ...]:
    """Whose answers a change of a document may change: of one in the proven corpus, perhaps everybody's."""
    return (PUBLIC,) if record.id in proven else (record.tenant,)
