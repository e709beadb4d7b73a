"""References in playbooks: what type ``$triage.stores`` has, whether it fits an action's input, and its value.

A reference is a whole value, ``$root.field.field``; there is no text with holes and there are no expressions. A
number steps into a list: ``$triage.owners.0.name``. Types are read from the dataclasses themselves.
"""

from __future__ import annotations

import dataclasses
import functools
import re
import types
import typing
from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

import pydantic
import pydantic_core

from bot.errors import InputError
from bot.strictyaml import Node, Problems, hint, items, kind_of, table

T = TypeVar("T")

REFERENCE = re.compile(r"\$([a-z][a-z0-9-]*)((?:\.[a-z0-9_]+)*)")
_HOLE = re.compile(r"\$\{|\$[a-z][a-z0-9-]*\.[a-z]")
_WORDS = {
    str: "text",
    int: "a number",
    float: "a number",
    bool: "true or false",
    datetime: "a time",
    type(None): "nothing",
}


def parse(text: object) -> tuple[str, ...] | None:
    """The parts of a reference, or None when this is none."""
    found = REFERENCE.fullmatch(text) if isinstance(text, str) else None
    return (found[1], *found[2].split(".")[1:]) if found else None


def resolve(value: Any, facts: Mapping[str, Any]) -> Any:
    """The value with each reference in it replaced by what ``facts`` hold: dataclasses, or JSON-like tables and lists.

    Raises InputError, naming the reference, when it is not there.
    """
    if isinstance(value, Mapping):
        return {key: resolve(inner, facts) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(inner, facts) for inner in value]
    parts = parse(value)
    if parts is None:
        return value
    here: Any = facts
    for part in parts:
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif dataclasses.is_dataclass(here) and part in (field.name for field in dataclasses.fields(here)):
            here = getattr(here, part)
        elif isinstance(here, (list, tuple)) and part.isdecimal() and int(part) < len(here):
            here = here[int(part)]
        else:
            raise InputError(f"{value} has no value here: nothing is known as {part!r}")
    return here


_ADAPTERS: dict[Any, pydantic.TypeAdapter[Any]] = {}


def adapter(kind: Any) -> pydantic.TypeAdapter[Any]:
    """Dataclass <-> JSON; building one takes milliseconds, so each is kept."""
    if kind not in _ADAPTERS:
        _ADAPTERS[kind] = pydantic.TypeAdapter(kind)
    return _ADAPTERS[kind]


def bind(wanted: type[T], value: Any) -> T:
    """A resolved value as the wanted dataclass, strictly: text does not become a number. Raises InputError."""
    try:
        return adapter(wanted).validate_json(pydantic_core.to_json(value), strict=True)  # type: ignore[no-any-return]
    except pydantic.ValidationError as exc:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors(include_input=False))
        raise InputError(f"this does not fit {wanted.__name__}: {said}") from None


def type_of(parts: Sequence[str], scope: Mapping[str, Any]) -> Any:
    """The type at the end of a reference. ``scope`` maps names to types, or to tables of them. Raises InputError."""
    here: Any = scope
    for index, part in enumerate(parts):
        said = "$" + ".".join(parts[:index])
        known = _inside(here, part)
        if part not in known:
            if index == 0:
                raise InputError(f"${part} is not known{hint(part, known)}")
            if not known:
                raise InputError(f"{said} is {name_of(here)} and has no {part!r}")
            raise InputError(f"{said} has no {part!r}{hint(part, known)}")
        here = known[part]
    if isinstance(here, Mapping):
        raise InputError(f"${'.'.join(parts)} is not a value; name one of {', '.join(sorted(here))} in it")
    return here


def _inside(here: Any, part: str) -> Mapping[str, Any]:
    """What can be named within a type."""
    if isinstance(here, Mapping):
        return here
    here = _without_none(here)
    if here is Any:
        return {part: Any}
    if fields := fields_of(here):
        return {name: kind for name, (kind, _needed) in fields.items()}
    element = element_of(here)
    if element is not None and part.isdecimal():
        return {part: element}
    if typing.get_origin(here) is dict:
        return {part: typing.get_args(here)[1]}
    return {}


def fields_of(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    """Field -> (type, whether it must be given) of a dataclass; empty for anything else."""
    return _fields(kind) if isinstance(kind, type) and dataclasses.is_dataclass(kind) else {}


@functools.cache
def _fields(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    hints = typing.get_type_hints(kind)
    return {
        field.name: (
            hints[field.name],
            field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
        )
        for field in dataclasses.fields(kind)
        if field.init
    }


def element_of(kind: Any) -> Any:
    """What a list of this type holds, or None when it is no list."""
    kind = _without_none(kind)
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and len(args) == 2 and args[1] is Ellipsis:
        return args[0]
    return args[0] if origin is list else None


def _options(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) if typing.get_origin(kind) in (typing.Union, types.UnionType) else (kind,)


def _without_none(kind: Any) -> Any:
    left = [option for option in _options(kind) if option is not type(None)]
    return left[0] if len(left) == 1 else kind


def fits(given: Any, wanted: Any) -> bool:
    """Whether a value of the one type can stand where the other is wanted. None is found when it is resolved."""
    if given is Any or wanted is Any or given == wanted:
        return True
    if len(_options(given)) > 1:
        return all(fits(option, wanted) for option in _options(given) if option is not type(None))
    if len(_options(wanted)) > 1:
        return any(fits(given, option) for option in _options(wanted))
    if element_of(given) is not None and element_of(wanted) is not None:
        return fits(element_of(given), element_of(wanted))
    if typing.get_origin(given) is dict and typing.get_origin(wanted) is dict:
        return all(map(fits, typing.get_args(given), typing.get_args(wanted)))
    if typing.get_origin(wanted) is typing.Literal:
        return any(fits(given, type(choice)) for choice in typing.get_args(wanted))
    if not (isinstance(given, type) and isinstance(wanted, type)):
        return False
    return (given is int and wanted is float) or (issubclass(given, wanted) and (given is not bool or wanted is bool))


def name_of(kind: Any) -> str:
    """A type in words."""
    if isinstance(kind, Mapping):
        return "a table"
    if len(_options(kind)) > 1:
        return " or ".join(name_of(option) for option in _options(kind))
    if element_of(kind) is not None:
        return f"a list of {name_of(element_of(kind))}"
    if typing.get_origin(kind) is typing.Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return "one of " + ", ".join(map(str, _choices(kind)))
    return _WORDS.get(kind, "a table" if typing.get_origin(kind) is dict else getattr(kind, "__name__", str(kind)))


def _choices(kind: Any) -> tuple[Any, ...]:
    return typing.get_args(kind) or tuple(choice.value for choice in kind)


def check(node: Node, wanted: Any, scope: Mapping[str, Any], what: str, problems: Problems) -> None:
    """Every way in which a written value, with the references in it, does not fit the wanted type."""
    value = node.value
    if isinstance(value, str) and (value.startswith("$") or _HOLE.search(value)):
        _check_reference(node, wanted, scope, what, problems)
        return
    options = _options(wanted)
    if len(options) > 1:
        tries = [Problems("") for _ in options]
        for option, found in zip(options, tries, strict=True):
            check(node, option, scope, what, found)
        if all(tries):
            problems.add(node.line, f"{what} must be {name_of(wanted)}, this is {kind_of(value)}")
        return
    if wanted is Any:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else ()
        for child in inner:
            check(child, Any, scope, what, problems)
    elif fields := fields_of(wanted):
        needed = [name for name, (_kind, must) in fields.items() if must]
        for name, child in table(node, what, problems, fields.keys(), needed).items():
            check(child, fields[name][0], scope, f"{what}.{name}", problems)
    elif (element := element_of(wanted)) is not None:
        for child in items(node, what, problems):
            check(child, element, scope, what, problems)
    elif typing.get_origin(wanted) is dict:
        for name, child in table(node, what, problems, value if isinstance(value, dict) else ()).items():
            check(child, typing.get_args(wanted)[1], scope, f"{what}.{name}", problems)
    elif not _plain_fits(value, wanted):
        shown = repr(value) if isinstance(value, (str, int, float, bool)) else kind_of(value)
        problems.add(node.line, f"{what} must be {name_of(wanted)}, this is {shown[:60]}")


def _plain_fits(value: Any, wanted: Any) -> bool:
    if typing.get_origin(wanted) is typing.Literal or (isinstance(wanted, type) and issubclass(wanted, Enum)):
        return any(value == choice and type(value) is type(choice) for choice in _choices(wanted))
    if wanted is datetime:
        try:
            return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
        except ValueError:
            return False
    return type(value) is wanted or (wanted is float and type(value) is int)


def _check_reference(node: Node, wanted: Any, scope: Mapping[str, Any], what: str, problems: Problems) -> None:
    parts = parse(node.value)
    if parts is None:
        problems.add(node.line, f"{what}: a reference is the whole value, such as $triage.repository; this is not one")
        return
    try:
        given = type_of(parts, scope)
    except InputError as exc:
        problems.add(node.line, f"{what}: {exc}")
        return
    if not fits(given, wanted):
        problems.add(node.line, f"{what} must be {name_of(wanted)}, {node.value} is {name_of(given)}")


def schema_of(kind: Any) -> dict[str, Any]:
    """The JSON Schema of a type's written values; references may stand anywhere in it."""
    ref = {"type": "string", "pattern": f"^{REFERENCE.pattern}$"}
    simple = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null", datetime: "string"}
    if kind in simple:
        return {"anyOf": [ref, {"type": simple[kind]}]} if kind is not str else {"type": "string"}
    if len(_options(kind)) > 1:
        return {"anyOf": [schema_of(option) for option in _options(kind)]}
    if (element := element_of(kind)) is not None:
        return {"anyOf": [ref, {"type": "array", "items": schema_of(element)}]}
    if fields := fields_of(kind):
        needed = [name for name, (_kind, must) in fields.items() if must]
        properties = {name: schema_of(inner) for name, (inner, _must) in fields.items()}
        table_of = {"type": "object", "properties": properties, "required": needed, "additionalProperties": False}
        return {"anyOf": [ref, table_of]}
    if typing.get_origin(kind) is dict:
        return {"anyOf": [ref, {"type": "object", "additionalProperties": schema_of(typing.get_args(kind)[1])}]}
    if typing.get_origin(kind) is typing.Literal or (isinstance(kind, type) and issubclass(kind, Enum)):
        return {"anyOf": [ref, {"enum": list(_choices(kind))}]}
    return {}
