"""Translates a `Filter` to SQL for LanceDB; it agrees with `Filter.admits` for any strings."""

from collections.abc import Iterable, Iterator

from serving.pipeline.index.base import Filter, metadata_entries
from serving.pipeline.tenant_groups import full_names, short_names
from serving.pipeline.types import PUBLIC

NOTHING, EVERYTHING = "false", "true"


def sql_condition(where: Filter) -> str:
    """The condition on the columns tenant, open, groups, domain, facts and document_id."""
    without = _list(where.without)
    left_out = [] if without == "()" else [f"document_id NOT IN {without}"]
    if where.everything:
        return left_out[0] if left_out else EVERYTHING
    parts = [f"tenant IN {_list([PUBLIC, where.tenant])}"]
    parts.append(f"({' OR '.join(_group_conditions(where))})")
    if where.domains is not None:
        domains = _list(where.domains)
        parts.append(NOTHING if domains == "()" else f"domain IN {domains}")
    parts += [f"array_has(facts, {sql_literal(fact)})" if storable(fact) else NOTHING for fact in metadata_entries(where.metadata)]
    return " AND ".join(parts + left_out)


def _group_conditions(where: Filter) -> Iterator[str]:
    """Each of which lets a document in, as far as its groups go."""
    yield "open"
    if (full := _list(full_names(where.groups, where.tenant))) != "()":
        yield f"array_has_any(groups, make_array{full})"
    if (short := _list(short_names(where.groups, where.tenant))) != "()" and storable(where.tenant):
        yield f"(tenant = {sql_literal(where.tenant)} AND array_has_any(groups, make_array{short}))"


def sql_literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def storable(text: str) -> bool:
    """Whether a text can be stored at all; half a surrogate pair cannot, and so equals nothing stored."""
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _list(texts: Iterable[str]) -> str:
    return f"({', '.join(sql_literal(text) for text in sorted(set(texts)) if storable(text))})"
