"""What bot/redact.py must hold: nothing decodable to a secret remains, and text without secrets is left alone."""

from __future__ import annotations

import base64
import binascii
import io
import json
import logging
import logging.handlers
import pickle
import random
import re
import string
import sys
from collections.abc import Callable, Iterator
from re import _parser as sre_parse  # type: ignore[attr-defined]
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from bot import redact
from bot.logs import ScrubFilter, ScrubProcessor, install
from bot.redact import SHAPES, Fingerprinter, Scrubber

PRINTS = Fingerprinter(b"a key of the tests, thirty-two b")
ALNUM = string.ascii_letters + string.digits


def scrubber(*values: str) -> Scrubber:
    made = Scrubber(PRINTS)
    made.add(*(PRINTS.secret(v) for v in values))
    return made


def chars(n: int, alphabet: str = ALNUM, seed: int = 7) -> str:
    chance = random.Random(seed)
    return "".join(chance.choice(alphabet) for _ in range(n))


# How a value of bytes may stand in a text. Each takes what surrounds it too: that moves base64's start.
def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def wrapped(data: bytes) -> str:
    return base64.encodebytes(data).decode()


def as_log(text: str) -> str:
    return "".join(f"2026-11-23T04:59:26.1234567Z {line}\n" for line in text.splitlines())


ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "base64": b64,
    "base64 without padding": lambda d: b64(d).rstrip("="),
    "base64 urlsafe": lambda d: base64.urlsafe_b64encode(d).decode(),
    "base64 urlsafe without padding": lambda d: base64.urlsafe_b64encode(d).decode().rstrip("="),
    "base64 twice": lambda d: b64(b64(d).encode()),
    "base64 wrapped": wrapped,
    "base64 wrapped, spaces for line ends": lambda d: wrapped(d).strip().replace("\n", " "),
    "base64 wrapped, in a log": lambda d: as_log(wrapped(d)),
    "base64 wrapped, in gh's view of a log": lambda d: "".join(
        f"deploy\tSmoke test\t{line}\n" for line in as_log(wrapped(d)).splitlines()
    ),
    "base64 wrapped, in JSON": lambda d: json.dumps({"log": as_log(wrapped(d))}),
    "base64 wrapped twice, in a log": lambda d: as_log(wrapped(wrapped(d).encode())),
    "base64 in a query": lambda d: "https://example.com/?q=" + quote(b64(d), safe=""),
    "hex": lambda d: d.hex(),
    "hex in capitals": lambda d: d.hex().upper(),
    "hex with colons": lambda d: d.hex(":"),
    "hex escapes": lambda d: "".join(f"\\x{byte:02x}" for byte in d),
    "hex wrapped, in a log": lambda d: as_log(re.sub("(.{60})", r"\1\n", d.hex())),
    "every byte per cent": lambda d: "".join(f"%{byte:02X}" for byte in d),
    "base64 of hex": lambda d: b64(d.hex().encode()),
    "base64 of UTF-16": lambda d: b64(d.decode().encode("utf-16-le")),
}

TEXTUAL: dict[str, Callable[[str], str]] = {
    "raw": str,
    "json": json.dumps,
    "json, not only ascii": lambda v: json.dumps(v, ensure_ascii=False),
    "json in json": lambda v: json.dumps(json.dumps(v)),
    "url": lambda v: quote(v, safe=""),
    "url in small letters": lambda v: re.sub("%[0-9A-F]{2}", lambda m: m.group().lower(), quote(v, safe="")),
    "form": quote_plus,
    "repr": repr,
}

PRINTABLE = st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_categories=("Cs", "Cc"))
values = st.text(PRINTABLE, min_size=8, max_size=80)
around = st.text(st.characters(min_codepoint=32, max_codepoint=0x17F, exclude_categories=("Cs", "Cc")), max_size=70)


def leaves(text: str, value: str) -> list[str]:
    """Everything from which a value could be read: computed another way than the scrubber works (by stable cores)."""
    joined = re.sub(r"(?:[^\t\n]*\t){0,2}\d{4}-\d\d-\d\dT[\d:.]+Z ", "", text)
    squeezed = re.sub(r"\s|\\r|\\n|\\x|:", "", joined).replace("-", "+").replace("_", "/")
    found = [form for form in (value, quote(value, safe=""), json.dumps(value)[1:-1]) if form in text]
    data = value.encode()
    found += ["hex"] if data.hex() in squeezed.lower() else []
    for once in _cores(data):
        found += ["base64"] if once in squeezed else []
        found += ["base64x2" for twice in _cores(once.encode()) if twice in squeezed]
    return found


def _cores(data: bytes) -> list[str]:
    """The part of a value's base64 that does not depend on what stands around it, for each of three offsets."""
    cores = []
    for offset in range(3):
        encoded = b64(b"\0" * offset + data)
        cores.append(encoded[-(-offset * 8 // 6) : (offset + len(data)) * 8 // 6])
    return cores


@pytest.mark.parametrize("name", ENCODINGS)
@settings(max_examples=40, deadline=None)
@given(value=values, before=around, after=around, left=around, right=around)
@example(value="Kp9/xQ+2vL8==", before="", after="", left="Run env | base64\n", right="\nDone deploying")
@example(value="0000000a", before="x", after="yz", left="token=", right=" end")
@example(value="00000000", before="0" * 28, after="0" * 29, left="", right="0")
def test_nothing_decodable_remains(name: str, value: str, before: str, after: str, left: str, right: str) -> None:
    assume(value not in left + right + "[secret hmac:]")
    scrub = scrubber(value)
    text = left + " " + ENCODINGS[name]((before + value + after).encode()) + " " + right
    clean = scrub(text)
    assert leaves(clean, value) == []
    assert "[secret hmac:" in clean
    assert scrub(clean) == clean


@pytest.mark.parametrize("name", ["base64", "base64 urlsafe", "hex", "base64 twice"])
@settings(max_examples=40, deadline=None)
@given(value=values, left=st.text(ALNUM, max_size=9), right=st.text(ALNUM, max_size=9))
def test_nothing_remains_when_text_stands_right_against_it(name: str, value: str, left: str, right: str) -> None:
    encoded = ENCODINGS[name](value.encode()).rstrip("=")
    assert leaves(scrubber(value)(left + encoded + right), value) == []


@pytest.mark.parametrize("name", TEXTUAL)
@settings(max_examples=100, deadline=None)
@given(value=values, before=around, after=around)
def test_nothing_readable_remains(name: str, value: str, before: str, after: str) -> None:
    assume(value not in "[secret hmac:]")
    scrub = scrubber(value)
    clean = scrub(before + TEXTUAL[name](value) + after)
    assert TEXTUAL[name](value).strip("\"'") not in clean
    assert value not in clean
    assert scrub(clean) == clean


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=400))
def test_text_without_secrets_is_left_alone(text: str) -> None:
    assert scrubber(chars(24), chars(40, seed=8))(text) == text


def test_ordinary_log_is_left_alone() -> None:
    key_id = "AK" + "IA" + chars(16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
    log = as_log(
        f"Run aws s3 cp out/ s3://ferry-releases/\nAWS_ACCESS_KEY_ID: {key_id}\nAWS_SECRET_ACCESS_KEY: ***\n"
        f"commit {chars(40, '0123456789abcdef')}\nsha512-{b64(chars(64).encode())}\n"
        "remote: https://x-access-token:***@github.com/harbor-lights/ferry\nurl: postgres://ferry:${PASSWORD}@db/ferry\n"
        f"wrapped:\n{wrapped(('PATH=/usr/bin ' * 20).encode())}"
    )
    assert scrubber(chars(40, seed=9))(log) == log


def test_only_the_leak_goes_from_a_log() -> None:
    value = chars(40, ALNUM + "/+")
    dump = wrapped(f"HOME=/home/runner\nAWS_SECRET_ACCESS_KEY={value}\nCI=true\n".encode())
    text = as_log(f"Run env | base64\n{dump}Done deploying\n")
    lines = scrubber(value)(text).splitlines()
    assert lines[0].endswith("Run env | base64")
    assert lines[-1].endswith("Z Done deploying")
    assert {line.split(" ", 1)[1] for line in lines[1:-1]} == {f"[secret {PRINTS.of(value)}]"}


def test_first_word_of_the_next_line_goes_when_it_may_be_part_of_the_secret() -> None:
    value = chars(70)
    lines = wrapped(("x" * 30 + value).encode()).splitlines()
    assert leaves(scrubber(value)("\n".join(lines) + ", more"), value) == []


def test_several_values_each_get_their_own_fingerprint() -> None:
    one, two = chars(20, seed=1), chars(20, seed=2)
    clean = scrubber(one, two)(f"{one} {b64(two.encode())}")
    assert clean == f"[secret {PRINTS.of(one)}] [secret {PRINTS.of(two)}]"


def test_value_that_holds_another_goes_whole() -> None:
    inner = chars(12)
    outer = f"user:{inner}:host"
    assert scrubber(inner, outer)(outer) == f"[secret {PRINTS.of(outer)}]"


def test_lines_of_a_value_are_values() -> None:
    value = "\n".join(chars(40, seed=seed) for seed in range(3))
    clean = scrubber(value)(as_log(value))
    assert not [line for line in value.splitlines() if line in clean]


def test_short_value_is_left_out_and_does_not_shred() -> None:
    assert scrubber("abc")("abc abcdef") == "abc abcdef"


# A secret that nobody named. Built at run time, so that no scanner takes this file for a leak.
JWT = "ey" + "J" + chars(30) + "." + "ey" + "J" + chars(200, ALNUM + "-_") + "." + chars(86, ALNUM + "-_")
PEM_END = "PRIV" + "ATE KEY-----\n"
UNNAMED: dict[str, str] = {
    "github-pat-classic": "gh" + "p_" + chars(36),
    "github-oauth": "gh" + "o_" + chars(36),
    "github-installation": "gh" + "s_123456_" + JWT,
    "github-pat-fine-grained": "github" + "_pat_" + chars(22) + "_" + chars(59),
    "npm-token": "np" + "m_" + chars(36),
    "pypi-token": "py" + "pi-AgEIcHlwaS5vcmc" + chars(90),
    "rubygems-key": "ruby" + "gems_" + chars(48, "0123456789abcdef"),
    "crates-token": "ci" + "o" + chars(32),
    "dockerhub-pat": "dckr" + "_pat_" + chars(27),
    "dockerhub-oat": "dckr" + "_oat_" + chars(32),
    "slack-token": "xo" + "xb-" + chars(12, string.digits) + "-" + chars(12, string.digits) + "-" + chars(24),
    "slack-webhook": "https://hooks.slack" + ".com/services/T01234567/B01234567/" + chars(24),
    "vault-token": "hv" + "s." + chars(95),
    "cloudflare-token": "cf" + "at_" + chars(40) + chars(8, "0123456789abcdef"),
    "artifactory-token": "AK" + "Cp" + chars(69),
    "azure-client-secret": chars(3) + "8" + "Q~" + chars(34),
    "jwt": JWT,
    "aws-session": "IQoJ" + "b3JpZ2lu" + chars(400, ALNUM + "/+"),
    "aws-secret": "AWS_SECRET_" + "ACCESS_KEY=" + chars(40, ALNUM + "/+"),
    "authorization": "Authorization: " + "Bearer " + chars(30),
    "password-in-url": "postgres://ferry:" + chars(14) + "@db.example/ferry",
    "ssh-private-key": "-----BEGIN OPENSSH " + PEM_END + wrapped(chars(300).encode()) + "-----END OPENSSH " + PEM_END,
}  # fmt: skip


def test_every_shape_has_an_example() -> None:
    assert UNNAMED.keys() == SHAPES.keys()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", ["raw", "log", "json", "base64", "base64 twice"])
def test_secret_that_nobody_named_goes(shape: str, form: str) -> None:
    secret = UNNAMED[shape]
    match = SHAPES[shape].pattern.search(secret)
    assert match is not None
    value = match.groupdict().get("v") or match.group()
    plain = f"some words {secret}\nmore words\n"
    shown = {
        "raw": plain, "log": as_log(plain), "json": json.dumps({"log": plain}),
        "base64": as_log(wrapped(plain.encode())), "base64 twice": ENCODINGS["base64 twice"](plain.encode()),
    }[form]  # fmt: skip
    scrub = scrubber()
    clean = scrub(shown)
    assert "[secret hmac:" in clean
    assert [line for line in value.splitlines() if len(line) > 8 and leaves(clean, line)] == []
    assert scrub(clean) == clean


def test_cut_off_private_key_goes_as_far_as_it_stands() -> None:
    body = wrapped(chars(300).encode())
    clean = scrubber()(as_log("-----BEGIN RSA PRIV" + "ATE KEY-----\n" + body + "Error: no space left on device"))
    assert not [line for line in body.splitlines() if line in clean]
    assert "Error: no space left on device" in clean


def test_scrub_any_reaches_keys_and_nested_values() -> None:
    value = chars(20)
    clean = scrubber(value).scrub_any({value: [{"a": (value, 1, None, True)}, value.encode()], "b": 2.5})
    marker = f"[secret {PRINTS.of(value)}]"
    assert clean == {marker: [{"a": [marker, 1, None, True]}, marker], "b": 2.5}


def test_fingerprint_is_keyed_and_stable() -> None:
    assert re.fullmatch(r"hmac:[0-9a-f]{12}", PRINTS.of("x"))
    assert PRINTS.of("x") == PRINTS.of("x") != Fingerprinter(b"another key").of("x")
    assert "x-value" not in repr(PRINTS.secret("x-value"))


class Loud:
    """An object that shows a secret when it is printed, as a careless client would."""

    def __init__(self, value: str) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Client(token={self.value})"


def raise_with(value: str) -> None:
    raise ValueError(f"401 for {value}")


@pytest.fixture
def factory() -> Iterator[None]:
    """How records are made is a thing of the whole process."""
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def log(factory: None) -> tuple[logging.Logger, io.StringIO, str]:
    value = chars(32)
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(message)s %(body)s", defaults={"body": ""}))
    logger = logging.getLogger("tests.redact")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.DEBUG)
    install(scrubber(value), [handler])
    return logger, out, value


def test_no_log_record_lets_a_secret_through(log: tuple[logging.Logger, io.StringIO, str]) -> None:
    logger, out, value = log
    logger.debug("sent %s to %r", value, Loud(value))
    logger.info("with %(token)s", {"token": b64(value.encode())})
    logger.warning("more arguments %s than places", "one", value)  # noqa: PLE1205 - logging would print them all
    logger.warning("extra", extra={"body": {"headers": [Loud(value), value]}})
    try:
        raise_with(value)
    except ValueError:
        logger.exception("failed", stack_info=True)
    text = out.getvalue()
    assert leaves(text, value) == []
    assert text.count("[secret hmac:") >= 6
    assert "Traceback" in text
    assert "raise_with" in text


@pytest.mark.usefixtures("factory")
def test_a_handler_that_is_added_later_gets_scrubbed_records_too() -> None:
    value = chars(32)
    install(scrubber(value))
    out, kept = io.StringIO(), logging.handlers.BufferingHandler(100)
    late = logging.StreamHandler(out)
    late.setFormatter(logging.Formatter("%(message)s %(body)s", defaults={"body": ""}))
    logger = logging.getLogger("tests.redact.late")
    logger.handlers, logger.propagate = [kept, late], False
    logger.warning("sent %s to %r", value, Loud(value))
    logger.warning("more arguments %s than places", "one", value)  # noqa: PLE1205 - logging would print them all
    logger.warning("extra", extra={"body": {"headers": [Loud(value), value]}})
    try:
        raise_with(value)
    except ValueError:
        logger.exception("failed", stack_info=True)
    assert leaves(out.getvalue(), value) == []
    assert out.getvalue().count("[secret hmac:") >= 4
    assert "raise_with" in out.getvalue()
    assert leaves("".join(repr(record.__dict__) for record in kept.buffer), value) == []


@pytest.mark.usefixtures("factory")
def test_a_record_that_goes_to_another_process_takes_no_key_with_it() -> None:
    """logging.handlers.SocketHandler pickles a record's fields."""
    value = chars(32)
    install(scrubber(value))
    record = logging.getLogger("tests.redact.far").makeRecord("far", logging.INFO, "f", 1, "%s", (value,), None)
    assert record.__dict__.keys() <= logging.makeLogRecord({}).__dict__.keys()
    sent = logging.handlers.SocketHandler("127.0.0.1", 9).makePickle(record)
    assert value.encode() not in sent
    other = pickle.loads(pickle.dumps(record))  # noqa: S301 - what a QueueHandler between processes does
    assert other.getMessage() == record.getMessage() != value


@pytest.mark.usefixtures("factory")
def test_install_covers_the_root_handlers_once() -> None:
    root = logging.getLogger()
    handler = logging.StreamHandler(io.StringIO())
    root.addHandler(handler)
    try:
        install(scrubber())
        install(scrubber())
        assert [type(f) for f in handler.filters] == [ScrubFilter]
        assert logging.lastResort is not None
        assert [type(f) for f in logging.lastResort.filters] == [ScrubFilter]
    finally:
        root.removeHandler(handler)
        for left in (*root.handlers, *([logging.lastResort] if logging.lastResort else [])):
            left.filters = [f for f in left.filters if not isinstance(f, ScrubFilter)]


def test_structlog_events_are_scrubbed() -> None:
    value = chars(32)
    process = ScrubProcessor(scrubber(value))
    try:
        raise_with(value)
    except ValueError:
        told = {"event": value, "exc_info": True, "deep": [{value: value}], "client": Loud(value)}
        event = process(None, "error", told)
        given_tuple = process(None, "error", {"event": "x", "exc_info": sys.exc_info()})
    assert value not in repr(event) + repr(given_tuple)
    assert "Traceback" in event["exception"]
    assert "Traceback" in given_tuple["exception"]


def test_the_check_itself_sees_what_is_there() -> None:
    value = chars(16)
    for name in ("base64", "base64 twice", "hex", "base64 wrapped, in a log"):
        assert leaves(ENCODINGS[name](f"xy{value}z".encode()), value), name
    assert binascii.unhexlify(value.encode().hex()).decode() == value


def operations(parsed: Any) -> Iterator[str]:
    """The operations of a parsed pattern, however deep."""
    for operation, argument in parsed:
        yield str(operation)
        for part in argument if isinstance(argument, tuple | list) else (argument,):
            for inner in part if isinstance(part, list) else (part,):
                if isinstance(inner, sre_parse.SubPattern):
                    yield from operations(inner)


def test_no_pattern_holds_what_loops_for_ever_in_an_older_python() -> None:
    """Atomic groups and possessive quantifiers are broken in CPython 3.11.0 to 3.11.4; Debian 12 ships 3.11.2."""
    patterns = [p for p in vars(redact).values() if isinstance(p, re.Pattern)]
    patterns += [shape.pattern for shape in redact.SHAPES.values()]
    assert len(patterns) > 20
    assert list(operations(sre_parse.parse("(?>a)b++")))[:1] == ["ATOMIC_GROUP"], "the search would find them"
    for pattern in patterns:
        found = set(operations(sre_parse.parse(pattern.pattern, pattern.flags & ~re.DEBUG)))
        assert not found & {"ATOMIC_GROUP", "POSSESSIVE_REPEAT"}, pattern.pattern
