"""The body of a request -> JSON values, strictly: whatever is odd is refused with a status and a word for the counter.

Two readers that understand one body differently are how a check is passed by: duplicate keys, other encodings than
UTF-8, NaN and the like are refused, not guessed at. Sizes and depth are bounded before anything is built from them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs

from bot.errors import Undeliverable

MAX_BODY = 25 * 1024 * 1024  # GitHub's own bound of a payload; nobody else sends more
MAX_DEPTH = 64
MAX_DOCUMENTS = 100_000  # findings of a report that has one a line


def unpacked(body: bytes, encoding: str) -> bytes:
    """The body without its content encoding. Raises Undeliverable: 415 for one we do not know, 413 for a bomb."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Undeliverable("this content encoding is not taken; send it plain or as gzip", 415, "encoding")
    reader = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = reader.decompress(body, MAX_BODY + 1)
    except zlib.error:
        raise Undeliverable("the body is not what its content encoding says", 400, "encoding") from None
    if len(plain) > MAX_BODY:
        raise Undeliverable("the body unpacks to more than 25 MB", 413, "size")
    if not reader.eof:
        raise Undeliverable("the packed body ends too soon", 400, "encoding")
    return plain


def json_of(body: bytes, content_type: str = "application/json") -> Any:
    """The JSON of a body, or of the form field ``payload`` (GitHub, when a hook is set so). Raises Undeliverable."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        fields = parse_qs(text_of(body), max_num_fields=10)
        if len(fields.get("payload", [])) != 1:
            raise Undeliverable("a form must have one field named payload", 400, "form")
        return loads(fields["payload"][0])
    if not (kind in ("", "text/plain", "text/json") or kind.endswith("json")):
        raise Undeliverable("the content type must be application/json", 415, "content-type")
    return loads(text_of(body))


def text_of(body: bytes) -> str:
    """UTF-8, with or without its mark. Raises Undeliverable."""
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Undeliverable("the body is not UTF-8", 400, "utf-8") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        raise Undeliverable("a key stands twice in one object", 400, "duplicate-key")
    return table


def _no_constant(name: str) -> Any:
    raise Undeliverable(f"{name} is not JSON", 400, "json")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_twins, parse_constant=_no_constant)


def loads(text: str) -> Any:
    """One JSON document. Raises Undeliverable."""
    found = list(documents(text, most=2))
    if len(found) != 1:
        raise Undeliverable("the body must be one JSON document", 400, "json")
    return found[0]


def documents(text: str, most: int = MAX_DOCUMENTS) -> Iterator[Any]:
    """JSON documents one after the other, with or without lines between them (Kingfisher writes two in a row).

    Raises Undeliverable at the first that is none.
    """
    at, count = _skip(text, 0), 0
    while at < len(text):
        if count == most:
            raise Undeliverable(f"more than {most} JSON documents in one body", 413 if most > 2 else 400, "json")
        try:
            value, at = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            raise Undeliverable("the body is not JSON", 400, "json") from None
        _check_depth(value)
        yield value
        at, count = _skip(text, at), count + 1


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r\n":
        at += 1
    return at


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            inner for one in level if isinstance(one, dict | list)
            for inner in (one.values() if isinstance(one, dict) else one)
        ]  # fmt: skip
        if not level:
            return
    raise Undeliverable(f"the JSON is nested deeper than {MAX_DEPTH}", 400, "depth")


def strings(value: Any) -> Iterator[str]:
    """Every text in a JSON value."""
    stack = [value]
    while stack:
        one = stack.pop()
        if isinstance(one, str):
            yield one
        elif isinstance(one, dict):
            stack += one.values()
        elif isinstance(one, list):
            stack += one
