"""Group names belong to a tenant: which group a name in a document means, and which callers it admits.

In a document `tenant/group` means that tenant's group, and any other name a group of the document's own tenant. The groups of a caller
are its tenant's, whatever is in their names.
"""

from collections.abc import Iterable

SEPARATOR = "/"


def group_meant(name: str, tenant: str) -> tuple[str, str]:
    """The tenant and the group that a name means in a document of a tenant."""
    named, separator, group = name.partition(SEPARATOR)
    return (named, group) if named and separator and group else (tenant, name)


def groups_let_in(names: Iterable[str], document_tenant: str, tenant: str) -> frozenset[str]:
    """The groups of a tenant that the names in a document let in, as its callers have them."""
    return frozenset(group for owner, group in (group_meant(name, document_tenant) for name in names) if owner == tenant)


def short_names(groups: Iterable[str], tenant: str) -> frozenset[str]:
    """The names without their tenant by which a document of it lets in some groups; a group that looks like `tenant/group` has none."""
    return frozenset(group for group in groups if group_meant(group, tenant) == (tenant, group))


def full_names(groups: Iterable[str], tenant: str) -> frozenset[str]:
    """The names by which a document of any tenant lets in some groups of one."""
    names = ((f"{tenant}{SEPARATOR}{group}", group) for group in groups)
    return frozenset(name for name, group in names if tenant and group and group_meant(name, "") == (tenant, group))


def name_in(tenant: str, group: str) -> str | None:
    """How a document of a tenant names a group of it; None where no name would mean it."""
    return next(iter([*short_names([group], tenant), *full_names([group], tenant)]), None)
