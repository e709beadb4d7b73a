"""Evaluate IAM policies: pure, text and values in, a verdict out.

Source: IAM User Guide, "Policy evaluation logic" and "IAM JSON policy elements: Condition operators". What is not
understood fails closed: an unknown operator, or a value that cannot be compared, keeps an Allow from matching and
makes a Deny match.
"""

from __future__ import annotations

import fnmatch
import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal

Verdict = Literal["allow", "deny", "none"]  # deny is an explicit one
Context = Mapping[str, Any]  # condition keys in lower case -> a string or a list of strings; absent keys are absent


def evaluate(documents: Iterable[str], action: str, resource: str, context: Context) -> Verdict:
    """What identity policies together say of an action on a resource. An explicit Deny beats every Allow."""
    found: Verdict = "none"
    for document in documents:
        for statement in statements(document):
            if not _covers(statement, action, resource, context) or not _holds(statement, context):
                continue
            if statement.get("Effect") != "Allow":
                return "deny"
            found = "allow"
    return found


def trust(document: str, names: Mapping[str, str], action: str, context: Context) -> tuple[Verdict, set[str]]:
    """What a role's trust policy says of a caller, and under which of its names an Allow let it in.

    ``names`` are the caller's principals, name -> kind ("AWS" or "Federated").
    """
    through: set[str] = set()
    for statement in statements(document):
        matched = _principals(statement, names)
        actions = _listed(statement.get("Action"))
        if not matched or not any(_like(action, a, fold=True) for a in actions) or not _holds(statement, context):
            continue
        if statement.get("Effect") != "Allow":
            return "deny", set()
        through |= matched
    return ("allow" if through else "none"), through


@lru_cache(maxsize=512)
def statements(document: str) -> tuple[dict[str, Any], ...]:
    """The statements of a policy document."""
    return tuple(_listed(json.loads(document).get("Statement")))


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _like(value: str, pattern: str, *, fold: bool = False) -> bool:
    if fold:
        value, pattern = value.lower(), pattern.lower()
    return re.fullmatch(fnmatch.translate(pattern.replace("[", "[[]")), value) is not None


def _substitute(text: str, context: Context) -> str:
    def value(match: re.Match[str]) -> str:
        found = context.get(match[1].lower())
        return found if isinstance(found, str) else "\0"  # an absent key makes a resource that matches nothing

    return re.sub(r"\$\{([^}]+)\}", value, text)


def _covers(statement: dict[str, Any], action: str, resource: str, context: Context) -> bool:
    if "NotAction" in statement:
        acts = not any(_like(action, a, fold=True) for a in _listed(statement["NotAction"]))
    else:
        acts = any(_like(action, a, fold=True) for a in _listed(statement.get("Action")))
    if not acts:
        return False
    if "NotResource" in statement:
        return not any(_like(resource, _substitute(r, context)) for r in _listed(statement["NotResource"]))
    return any(_like(resource, _substitute(r, context)) for r in _listed(statement.get("Resource")))


def _principals(statement: dict[str, Any], names: Mapping[str, str]) -> set[str]:
    """The caller's names that a Principal names. NotPrincipal in an Allow is not understood: nobody."""
    if "NotPrincipal" in statement:
        return set() if statement.get("Effect") == "Allow" else set(names)
    principal = statement.get("Principal")
    if principal == "*":
        return set(names)
    if not isinstance(principal, dict):
        return set()
    listed = {(kind, str(name)) for kind, entries in principal.items() for name in _listed(entries)}
    return {name for name, kind in names.items() if (kind, name) in listed or (kind, "*") in listed}


def _holds(statement: dict[str, Any], context: Context) -> bool:
    unknown_holds = statement.get("Effect") != "Allow"
    for operator, block in (statement.get("Condition") or {}).items():
        for key, wanted in block.items():
            verdict = _condition(operator, key, [str(w) if not isinstance(w, bool) else str(w).lower()
                                                 for w in _listed(wanted)], context)  # fmt: skip
            if verdict is False or (verdict is None and not unknown_holds):
                return False
    return True


def _condition(operator: str, key: str, wanted: list[str], context: Context) -> bool | None:
    """True, False, or None when it is not understood."""
    present = key.lower() in context
    if operator == "Null":
        return present != (wanted[0].lower() == "true")
    name, _, rest = operator.partition(":")
    quantifier, base = (name, rest) if rest else ("", name)
    if_exists = base.endswith("IfExists")
    base = base.removesuffix("IfExists")
    negated = base in _NEGATED
    compare = _COMPARE.get(_NEGATED.get(base, base))
    if compare is None or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        return None
    if not present:
        return if_exists or negated or quantifier == "ForAllValues"
    values = [str(v) for v in _listed(context[key.lower()])]
    wanted = [_substitute(w, context) for w in wanted]
    try:
        each = [any(compare(value, w) for w in wanted) != negated for value in values]
    except ValueError:
        return None
    return any(each) if quantifier == "ForAnyValue" else all(each)


def _date(text: str) -> datetime:
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _in_network(value: str, network: str) -> bool:
    return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)


_COMPARE: dict[str, Callable[[str, str], bool]] = {
    "StringEquals": lambda v, w: v == w,
    "StringEqualsIgnoreCase": lambda v, w: v.lower() == w.lower(),
    "StringLike": _like,
    "ArnEquals": _like,
    "ArnLike": _like,
    "Bool": lambda v, w: v.lower() == w.lower(),
    "IpAddress": _in_network,
    "NumericEquals": lambda v, w: float(v) == float(w),
    "NumericLessThan": lambda v, w: float(v) < float(w),
    "NumericLessThanEquals": lambda v, w: float(v) <= float(w),
    "NumericGreaterThan": lambda v, w: float(v) > float(w),
    "NumericGreaterThanEquals": lambda v, w: float(v) >= float(w),
    "DateEquals": lambda v, w: _date(v) == _date(w),
    "DateLessThan": lambda v, w: _date(v) < _date(w),
    "DateLessThanEquals": lambda v, w: _date(v) <= _date(w),
    "DateGreaterThan": lambda v, w: _date(v) > _date(w),
    "DateGreaterThanEquals": lambda v, w: _date(v) >= _date(w),
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
    "NotIpAddress": "IpAddress",
}
