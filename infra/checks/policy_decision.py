"""Whether policies of IAM allow a request: actions, resources, conditions and policy variables, as far as ours use them.

An operator or a shape that is not known here is an error and never a guess. Where npm is there, `iam-simulate` is asked the same.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


class UnknownPolicy(Exception):
    """A policy that this cannot judge."""


@dataclass(frozen=True)
class Request:
    """One call: what is done to what, and what AWS knows of who does it."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


def allowed(policies: Iterable[Mapping[str, Any] | str], request: Request) -> bool:
    """Whether one statement allows it and none denies it."""
    matching = [one["Effect"] for policy in policies for one in _statements(policy) if _matches(one, request)]
    return "Allow" in matching and "Deny" not in matching


def trusted(policy: Mapping[str, Any] | str, principal: str, action: str, context: Mapping[str, str]) -> bool:
    """Whether a role's trust policy lets a principal (a service, an account's ARN or an identity provider) take it on."""
    matching = []
    for one in _statements(policy):
        if "NotPrincipal" in one:
            raise UnknownPolicy(f"NotPrincipal in {one}")
        named = one["Principal"] if isinstance(one["Principal"], Mapping) else {"*": one["Principal"]}
        principals = [name for names in named.values() for name in _list(names)]
        if any(name in ("*", principal) for name in principals) and _acts(one, action) and _holds(one.get("Condition", {}), context):
            matching.append(one["Effect"])
    return "Allow" in matching and "Deny" not in matching


def _statements(policy: Mapping[str, Any] | str) -> list[Mapping[str, Any]]:
    found = json.loads(policy) if isinstance(policy, str) else policy
    statements = _list(found["Statement"])
    for one in statements:
        if unknown := set(one) - {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "Condition"}:
            raise UnknownPolicy(f"{', '.join(sorted(unknown))} in {one}")
    return statements


def _matches(statement: Mapping[str, Any], request: Request) -> bool:
    if not _acts(statement, request.action) or not _holds(statement.get("Condition", {}), request.context):
        return False
    patterns = _list(statement.get("Resource", statement.get("NotResource")))
    found = any(_like(pattern, request.resource, request.context) for pattern in patterns)
    return found if "Resource" in statement else not found


def _acts(statement: Mapping[str, Any], action: str) -> bool:
    found = any(_like(one.lower(), action.lower(), {}) for one in _list(statement.get("Action", statement.get("NotAction"))))
    return found if "Action" in statement else not found


def _holds(conditions: Mapping[str, Mapping[str, Any]], context: Mapping[str, str]) -> bool:
    return all(_one_holds(operator, key, _list(values), context) for operator, keys in conditions.items() for key, values in keys.items())


def _one_holds(operator: str, key: str, values: list[str], context: Mapping[str, str]) -> bool:
    name, optional = (operator.removesuffix("IfExists"), operator.endswith("IfExists"))
    known = {one.lower(): value for one, value in context.items()}
    if name not in ("StringEquals", "StringLike", "StringNotEquals", "ArnEquals", "ArnLike", "Bool"):
        raise UnknownPolicy(f"the operator {operator}")
    if key.lower() not in known:
        return optional or name == "StringNotEquals"
    value = known[key.lower()]
    if name == "StringNotEquals":
        return value not in values
    if name == "Bool":
        return value.lower() in [str(one).lower() for one in values]
    if name == "StringEquals":
        return any(value == _filled(one, context) for one in values)
    return any(_like(one, value, context) for one in values)


def _like(pattern: str, value: str, context: Mapping[str, str]) -> bool:
    filled = _filled(pattern, context)
    if filled is None:
        return False
    return re.fullmatch("".join({"*": ".*", "?": "."}.get(letter, re.escape(letter)) for letter in filled), value, re.DOTALL) is not None


def _filled(pattern: str, context: Mapping[str, str]) -> str | None:
    """A pattern with its variables filled in; none where one is not known, since then it matches nothing."""
    known = {one.lower(): value for one, value in context.items()}
    missing = []

    def value(found: re.Match[str]) -> str:
        name = found[1].lower()
        if name not in known:
            missing.append(name)
            return ""
        if re.search(r"[*?$]", known[name]):
            raise UnknownPolicy(f"the value {known[name]!r} of {name}")
        return known[name]

    filled = re.sub(r"\$\{([^}]+)\}", value, pattern)
    return None if missing else filled


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
