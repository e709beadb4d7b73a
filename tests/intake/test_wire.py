"""The body of a request, strictly: what two readers could understand differently is refused."""

from __future__ import annotations

import gzip
import json
import zlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import Undeliverable
from bot.intake import wire

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4), max_leaves=20,
)  # fmt: skip


def refused(body: bytes, content_type: str = "application/json") -> tuple[int, str]:
    with pytest.raises(Undeliverable) as caught:
        wire.json_of(body, content_type)
    return caught.value.status, caught.value.reason


@given(JSON)
def test_what_is_json_is_read_as_json(value: Any) -> None:
    assert wire.json_of(json.dumps(value).encode()) == value
    assert wire.json_of(b"\xef\xbb\xbf" + json.dumps(value, ensure_ascii=False).encode(), "text/plain") == value


@given(st.binary(max_size=60), st.sampled_from(["application/json", "application/x-www-form-urlencoded", "text/plain"]))
def test_any_bytes_give_a_value_or_a_status(body: bytes, content_type: str) -> None:
    try:
        wire.json_of(body, content_type)
    except Undeliverable as exc:
        assert exc.status in (400, 415)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"a": 1, "a": 2}', "duplicate-key"),
        (b'[{"x": {"a": 1, "\\u0061": 2}}]', "duplicate-key"),
        (b'{"a": NaN}', "json"),
        (b"{'a': 1}", "json"),
        (b'{"a": 1} {"a": 2}', "json"),
        (b"", "json"),
        (b"[" * 5000 + b"]" * 5000, "json"),
        (b"[" * 300 + b"]" * 300, "depth"),
        (b'{"a":' * 70 + b"1" + b"}" * 70, "depth"),
        (b'{"a": "\xff"}', "utf-8"),
        ('{"a": 1}'.encode("utf-16"), "utf-8"),
        (b"1" * 5000, "json"),
    ],
)
def test_what_is_odd_is_refused_with_its_reason(body: bytes, reason: str) -> None:
    assert refused(body) == (400, reason)


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/xml", "image/png", "jsonish"])
def test_another_content_type_is_not_guessed_at(kind: str) -> None:
    assert refused(b"{}", kind) == (415, "content-type")


def test_a_form_as_github_sends_it_when_a_hook_is_set_so() -> None:
    form = "application/x-www-form-urlencoded; charset=utf-8"
    assert wire.json_of(b"payload=%7B%22a%22%3A%201%7D", form) == {"a": 1}
    assert refused(b"payload=%7B%7D&payload=%7B%7D", form) == (400, "form")
    assert refused(b"other=1", form) == (400, "form")


def test_packed_bodies_are_unpacked_within_bounds() -> None:
    assert wire.unpacked(gzip.compress(b'{"a": 1}'), "gzip") == b'{"a": 1}'
    assert wire.unpacked(zlib.compress(b"{}"), "deflate") == b"{}"
    assert wire.unpacked(b"{}", "") == b"{}"
    bomb = gzip.compress(b"0" * (wire.MAX_BODY + 1))
    assert len(bomb) < 100_000
    for body, encoding, status in [
        (bomb, "gzip", 413), (b"{}", "gzip", 400), (gzip.compress(b"{}")[:-4], "gzip", 400), (b"{}", "br", 415),
        (b"{}", "gzip, gzip", 415),
    ]:  # fmt: skip
        with pytest.raises(Undeliverable) as caught:
            wire.unpacked(body, encoding)
        assert caught.value.status == status


def test_documents_in_a_row_with_and_without_lines_between_them() -> None:
    assert list(wire.documents('{"a": 1}{"b": 2}\n\n[3]\n')) == [{"a": 1}, {"b": 2}, [3]]
    with pytest.raises(Undeliverable):
        list(wire.documents('{"a": 1}, {"b": 2}'))
    with pytest.raises(Undeliverable, match="more than 3"):
        list(wire.documents("{}" * 4, most=3))
