"""Rules of a domain: which queries a check concerns."""

from collections.abc import Iterable

from serving.pipeline.guard.base import Check, CheckContext


def concerns(check: Check, context: CheckContext) -> bool:
    """Whether a check is for this query: one without `domains` is for all.

    With passages, their domains decide; without, the query's. A query without domains concerns every domain, so that leaving them out
        does not evade a rule.
    """
    domains = frozenset[str](getattr(check, "domains", ()))
    if not domains:
        return True
    if context.passages:
        return any(hit.chunk.domain in domains for hit in context.passages)
    query = context.query
    allowed = query.principal.domains
    return _meets(domains, query.domains or None) and _meets(domains, allowed)


def _meets(domains: frozenset[str], where: Iterable[str] | None) -> bool:
    return where is None or not domains.isdisjoint(where)
