"""A group's name belongs to a tenant: every form of the rule says the same, for any names."""

from hypothesis import given
from hypothesis import strategies as st

from serving.pipeline.index.base import Filter
from serving.pipeline.tenant_groups import full_names, group_meant, groups_let_in, name_in, short_names
from serving.pipeline.types import PUBLIC, Chunk

NAMES = st.text("ab/ ", max_size=5) | st.sampled_from(["public", "public/a", "acme/hr", "hr", "acme"])


def opens(document_tenant: str, names: set[str], tenant: str, groups: set[str]) -> bool:
    return Filter(tenant, frozenset(groups)).admits(Chunk("d#0-1", "d", 0, 1, "x", tenant=document_tenant, groups=tuple(sorted(names))))


def test_a_bare_name_is_of_the_documents_tenant_and_a_full_one_of_the_tenant_it_names() -> None:
    assert group_meant("hr", "acme") == ("acme", "hr")
    assert group_meant("globex/hr", "acme") == ("globex", "hr")
    assert group_meant("acme/eng/backend", PUBLIC) == ("acme", "eng/backend")
    assert [group_meant(name, "acme") for name in ("/staff", "hr/", "/", "")] == [("acme", name) for name in ("/staff", "hr/", "/", "")]


def test_a_document_of_nobodys_opens_to_its_own_groups_and_to_those_it_names() -> None:
    assert opens(PUBLIC, {"hr"}, PUBLIC, {"hr"})
    assert not opens(PUBLIC, {"hr"}, "acme", {"hr"})
    assert opens(PUBLIC, {"acme/hr"}, "acme", {"hr"})
    assert not opens(PUBLIC, {"acme/hr"}, "globex", {"hr"})
    assert not opens(PUBLIC, {"acme/hr"}, "globex", {"acme/hr"}), "a caller names no other tenant's groups"
    assert not opens(PUBLIC, {"acme/hr"}, PUBLIC, {"acme/hr"})
    assert opens("acme", {"hr"}, "acme", {"hr"})
    assert opens("acme", {"acme/hr"}, "acme", {"hr"})
    assert not opens("acme", {"globex/hr"}, "globex", {"hr"}), "another tenant's document stays closed"


@given(document=NAMES, names=st.sets(NAMES, min_size=1, max_size=3), tenant=NAMES, groups=st.sets(NAMES, max_size=3))
def test_the_names_to_search_for_are_those_that_let_in(document: str, names: set[str], tenant: str, groups: set[str]) -> None:
    let_in = not groups.isdisjoint(groups_let_in(names, document, tenant))
    beside = document == tenant and not names.isdisjoint(short_names(groups, tenant))
    assert let_in == (beside or not names.isdisjoint(full_names(groups, tenant)))


@given(tenant=NAMES, group=NAMES, other=NAMES, others=st.sets(NAMES, max_size=3))
def test_a_group_can_be_named_in_a_document_of_its_tenant_and_lets_in_nobody_else(
    tenant: str, group: str, other: str, others: set[str]
) -> None:
    name = name_in(tenant, group)
    if name is None:
        assert "/" in tenant or not tenant
        return
    assert opens(tenant, {name}, tenant, {group})
    assert opens(tenant, {name}, other, others) == (other == tenant and group in others)
