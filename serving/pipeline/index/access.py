"""Who may read a document: a closed schema, so that a misspelt restriction is refused and never opens a document."""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from serving.pipeline.errors import DataError
from serving.pipeline.tenant_groups import SEPARATOR, group_meant
from serving.pipeline.types import PUBLIC

Where = Callable[[tuple[str, ...]], str]  # from the keys that lead to a field to its file and line

FIELDS = ("tenant", "groups", "access", "domain")  # the only spellings; `domain` belongs to them since callers may be held to domains
HOW = "Who may read a document is said by `groups: [hr, legal]`, `tenant: acme` or `access: public`, spelled so"
EMPTY = frozenset(["", "~", "null"])
DISTANCES = {"tenant": 2, "groups": 2, "access": 1, "domain": 1}  # slips of the pen up to which a key is taken for a field
KEYS_KNOWN = 10_000  # a corpus has a few keys, in every one of its documents
SYNONYMS = frozenset(
    """
    acl acls permission permissions perm perms permit permitted visibility visible access accesses restricted restriction restrictions
    role roles reader readers readable viewer viewers viewable audience audiences allow allowed allowlist deny denied denylist
    confidential confidentiality classification classified clearance sensitivity secrecy secret private privacy public security
    entitlement entitlements rights grant grants principal principals member members membership user users authorized authorised
    authorization authorisation authz share shared sharing org orgs organization organisation workspace tenancy rbac abac
    """.split()  # noqa: SIM905  a list of quoted words is hard to read
)
LOOKALIKES = str.maketrans("асԁеɡһіјоруѕхтгпԛαονρτɑ", "acdeghijopysxtrnqaovpta")  # Cyrillic, Greek and phonetic letters
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+")


@dataclass(frozen=True, slots=True)
class AccessRule:
    """What one place says about who may read a document; what it does not say is empty."""

    tenant: str = ""
    groups: tuple[str, ...] = ()
    public: bool = False  # it says in so many words that everyone may
    where: Mapping[str, str] = field(default_factory=dict)  # file and line, by field

    @property
    def stated(self) -> bool:
        """Whether it says anything."""
        return bool(self.tenant or self.groups or self.public)


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read a document, after the rules applied so far."""

    tenant: str = PUBLIC
    groups: tuple[str, ...] = ()
    stated: bool = False
    tenant_from: str = ""  # the file and line that restricted it
    groups_from: str = ""

    def narrowed(self, rule: AccessRule) -> "Access":
        """The same as a rule that comes later narrows it; a rule that would let in anybody else is refused."""
        if not rule.stated:
            return self
        if rule.public and (self.tenant != PUBLIC or self.groups):
            source = self.groups_from or self.tenant_from
            raise DataError(f"{rule.where['access']}: `access: public` would open what {source} restricts. Narrow it, or say nothing.")
        if rule.tenant and self.tenant not in (PUBLIC, rule.tenant):
            raise DataError(
                f"{rule.where['tenant']}: tenant {rule.tenant!r} would open what {self.tenant_from} keeps for tenant {self.tenant!r}."
                " A document may narrow what its corpus restricts, never widen it."
            )
        tenant, groups = rule.tenant or self.tenant, rule.groups or self.groups
        among = {group_meant(name, tenant) for name in self.groups}
        outside = sorted(name for name in rule.groups if self.groups and group_meant(name, tenant) not in among)
        if outside:
            raise DataError(
                f"{rule.where['groups']}: groups {', '.join(outside)} would read what {self.groups_from} keeps"
                f" for {', '.join(self.groups)}."
                " A document may narrow what its corpus restricts, never widen it."
            )
        of_others = [name for name in groups if group_meant(name, tenant)[0] != tenant] if tenant != PUBLIC else []
        if of_others and (rule.groups or len(of_others) == len(groups)):
            where = rule.where["groups" if rule.groups else "tenant"]
            raise DataError(
                f"{where}: groups {', '.join(of_others)} are of another tenant than the document's, {tenant!r}: nobody reads it."
            )
        access = replace(self, stated=True)
        if rule.tenant:
            access = replace(access, tenant=rule.tenant, tenant_from=rule.where["tenant"])
        if rule.groups:
            access = replace(access, groups=rule.groups, groups_from=rule.where["groups"])
        return access


def read_access(fields: Mapping[str, Any], where: Where, plain_fields: frozenset[str] = frozenset()) -> AccessRule:
    """The rule that some fields of a document make; a field that sounds like one and is none is refused with its line.

    A name in `plain_fields` is metadata that the corpus declares to say nothing about access.
    """
    for path, key in _keys(fields):
        if len(path) > 1 and key in FIELDS:
            raise DataError(f"{where(path)}: `{key}` inside `{path[-2]}` is not read. Write it beside the document's title.")
        meant = "" if key in FIELDS else sounds_like(key)
        if meant and not (key in plain_fields and not is_slip(key)):
            mend = f"Did you mean `{meant}`?" if is_slip(key) else "If it says nothing about access, list it in corpus.yaml: plain_fields"
            raise DataError(f"{where(path)}: `{key}` looks like a restriction and is none. {HOW}. {mend}")
    at = {name: where((name,)) for name in FIELDS if name in fields}
    if "domain" in fields and _is_empty(fields["domain"]):
        raise DataError(f"{at['domain']}: domain: is empty. Name it, or leave the line out.")
    rule = AccessRule(
        tenant=_tenant(fields["tenant"], at["tenant"]) if "tenant" in fields else "",
        groups=group_names(fields["groups"], at["groups"]) if "groups" in fields else (),
        public=_is_public(fields["access"], at["access"]) if "access" in fields else False,
        where=at,
    )
    if rule.public and (rule.groups or rule.tenant not in ("", PUBLIC)):
        raise DataError(f"{at['access']}: `access: public` contradicts the restriction beside it. Keep one of them.")
    return rule


@lru_cache(maxsize=KEYS_KNOWN)
def sounds_like(key: str) -> str:
    """The field that a key may have been meant for, or an empty text; case, number, spelling and known synonyms are seen through."""
    spelled = _letters(key)
    for name, distance in DISTANCES.items():
        if spelled and slips(spelled, name, distance) <= distance:
            return name
    words = [_letters(word) for word in _WORD.findall(unicodedata.normalize("NFKC", key))]
    for word in (spelled, *words):
        if word in SYNONYMS:
            return "groups"
        for name in ("tenant", "groups"):
            if slips(word, name, 1) <= 1:
                return name
    return ""


@lru_cache(maxsize=KEYS_KNOWN)
def is_slip(key: str) -> bool:
    """Whether a key is one of the fields but for its spelling, and not another word for one."""
    spelled = _letters(key)
    return any(slips(spelled, name, distance) <= distance for name, distance in DISTANCES.items())


def group_names(value: Any, where: str) -> tuple[str, ...]:
    """Names of groups; anything else is refused, for a misread restriction would open the document."""
    if _is_empty(value):
        raise DataError(f"{where}: groups: is empty, which restricts nobody. Name the groups, or write `access: public`.")
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) and not _is_empty(name) for name in names):
        raise DataError(f"{where}: groups: names of groups are needed, as `[hr, legal]`, not {value!r}.")
    return tuple(sorted({_group(name.strip(), where) for name in names}))


def slips(text: str, other: str, most: int) -> int:
    """How many letters must be changed, added, left out or swapped with the next; above `most`, some number above it."""
    if abs(len(text) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for place, letter in enumerate(text, 1):
        older, before, row = before, row, [place]
        for column, wanted in enumerate(other, 1):
            cost = min(before[column] + 1, row[-1] + 1, before[column - 1] + (letter != wanted))
            if place > 1 and column > 1 and letter == other[column - 2] and text[place - 2] == wanted:
                cost = min(cost, older[column - 2] + 1)
            row.append(cost)
    return row[-1]


def _keys(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every key in nested values, with the keys that lead to it."""
    todo: list[tuple[tuple[str, ...], Any]] = [(path, value)]
    while todo:
        above, node = todo.pop()
        if isinstance(node, Mapping):
            for key, inner in node.items():
                yield (*above, str(key)), str(key)
                todo.append(((*above, str(key)), inner))
        elif isinstance(node, list | tuple):
            todo += [(above, inner) for inner in node]


def _letters(key: str) -> str:
    """The letters of a key in lower case, without accents, and those of other scripts as the Latin ones they look like."""
    plain = unicodedata.normalize("NFKD", key).casefold().translate(LOOKALIKES)
    return "".join(letter for letter in plain if letter.isalpha())


def _is_empty(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().casefold() in EMPTY
    return value is None or (isinstance(value, list | tuple | Mapping) and not value)


def _tenant(value: Any, where: str) -> str:
    if not isinstance(value, str) or _is_empty(value):
        raise DataError(f"{where}: tenant: the name of one tenant is needed, not {value!r}. If everyone may read it: `access: public`.")
    name = value.strip()
    if name != PUBLIC and name.casefold() == PUBLIC:
        raise DataError(f"{where}: tenant: {name!r} is written `{PUBLIC}`.")
    return name


def _group(name: str, where: str) -> str:
    tenant, slash, group = name.partition(SEPARATOR)
    if slash and tenant and (not group or tenant.strip() != tenant or group.strip() != group):
        raise DataError(f"{where}: groups: {name!r}: a group of a certain tenant is written `tenant{SEPARATOR}group`.")
    return f"{_tenant(tenant, where)}{slash}{group}" if slash and tenant else name


def _is_public(value: Any, where: str) -> bool:
    if value != PUBLIC:
        raise DataError(f"{where}: access: only `public` can be said here, not {value!r}. {HOW}.")
    return True
