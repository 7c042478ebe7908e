"""Which rows a filter admits; agrees with `Filter.admits` for any strings."""

from collections.abc import Sequence
from functools import lru_cache, reduce

import numpy as np
from numpy.typing import NDArray

from serving.pipeline.index.base import Filter, metadata_entries
from serving.pipeline.index.resident.mapped import Array, MappedArrays
from serving.pipeline.index.resident.packed import Rows, RowsByText, packed_rows
from serving.pipeline.tenant_groups import full_names, short_names
from serving.pipeline.types import PUBLIC, Chunk

REMEMBERED = 32  # filters whose rows are kept: principals come again
Mask = NDArray[np.bool_]


class AdmittedRows:
    """The rows of filters, as bitmaps joined from the rows of each tenant, group, domain and entry of metadata.

    With `live`, rows that it does not hold are admitted by no filter.
    """

    def __init__(self, arrays: MappedArrays, rows: int, live: Mask | None = None) -> None:
        self._tenants, self._groups = RowsByText(arrays, "tenants"), RowsByText(arrays, "groups")
        self._domains, self._facts = RowsByText(arrays, "domains"), RowsByText(arrays, "facts")
        self._documents = RowsByText(arrays, "documents")
        self._open: Mask = arrays["open"]
        self._live = live
        self._rows = rows
        self._remembered = lru_cache(maxsize=REMEMBERED)(self._compute)

    def rows(self, where: Filter) -> Rows | None:
        """The rows that a filter admits, in order; None for all of them."""
        if where.everything and not where.without and self._live is None:
            return None
        facts = tuple(metadata_entries(where.metadata))
        return self._remembered(where.everything, where.tenant, where.groups, where.domains, facts, where.without)

    def _compute(
        self,
        everything: bool,
        tenant: str,
        groups: frozenset[str],
        domains: frozenset[str] | None,
        facts: tuple[str, ...],
        without: frozenset[str],
    ) -> Rows | None:
        mask = np.ones(self._rows, np.bool_) if self._live is None else self._live.copy()
        if not everything:
            own = self._any(self._tenants, [tenant])
            named = self._any(self._groups, sorted(full_names(groups, tenant)))
            beside = own & self._any(self._groups, sorted(short_names(groups, tenant)))
            mask &= (own | self._any(self._tenants, [PUBLIC])) & (self._open | named | beside)
            if domains is not None:
                mask &= self._any(self._domains, sorted(domains))
            mask = reduce(lambda narrowed, fact: narrowed & self._any(self._facts, [fact]), facts, mask)
        for document_id in without:
            mask[self._documents.rows(document_id)] = False
        return None if mask.all() else np.flatnonzero(mask).astype(np.uint32)

    def _any(self, rows_by_text: RowsByText, texts: Sequence[str]) -> Mask:
        mask = np.zeros(self._rows, np.bool_)
        for text in texts:
            mask[rows_by_text.rows(text)] = True
        return mask


def packed_access(chunks: Sequence[Chunk]) -> dict[str, Array]:
    """The arrays of `AdmittedRows`."""
    tenants: dict[str, list[int]] = {}
    groups: dict[str, list[int]] = {}
    domains: dict[str, list[int]] = {}
    facts: dict[str, list[int]] = {}
    for row, chunk in enumerate(chunks):
        tenants.setdefault(chunk.tenant, []).append(row)
        domains.setdefault(chunk.domain, []).append(row)
        for group in set(chunk.groups):
            groups.setdefault(group, []).append(row)
        for fact in metadata_entries(chunk.metadata):
            facts.setdefault(fact, []).append(row)
    lists = {"tenants": tenants, "groups": groups, "domains": domains, "facts": facts}
    packed = {key: array for name, rows in lists.items() for key, array in packed_rows(name, rows).items()}
    return packed | {"open": np.array([not chunk.groups for chunk in chunks], np.bool_)}
