"""Signal 4: encodings of known secrets, secrets by their look, and text that must stay silent."""

from __future__ import annotations

import base64
import io
import json
import pickle
import zipfile
from collections import Counter
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import pytest

from bot.errors import InputError
from bot.signals import build_logs
from bot.signals.collect import logs as collected
from bot.signals.encodings import Known, Reading
from bot.signals.facts import Origin, Text
from bot.signals.findings import Sure
from bot.signals.given import Given
from bot.triage.identify import Recognizer
from tests.conftest import made_up_key
from tests.signals import logs

GIVEN = Given(now=datetime(2026, 12, 1, tzinfo=UTC))
KEY = b"a key for tests, never for more!"


@cache
def recognizer() -> Recognizer:
    return Recognizer().warm()


def text_of(text: str) -> Text:
    return Text(origin=Origin("run-log", "log.txt"), name="log.txt", pieces=lambda: iter([(1, text)]))


def test_every_encoding_at_every_place_is_found_but_those_that_are_listed() -> None:
    noise, missed, seen = logs.log(40, 3), Counter[tuple[str, str]](), 0
    for how, where, value, lines in logs.planted(5):
        known = Known(KEY)
        name = known.add(value)
        known.add("another-secret-that-is-not-there")
        hits = known.find(Reading(logs.stamped([*noise[:20], *lines, *noise[20:]])))
        assert {hit.secret for hit in hits} <= {name}
        seen += 1
        missed[how, where] += not hits
    assert {key for key, count in missed.items() if count} == set(logs.MISSES)
    assert seen == 5 * len(logs.ENCODINGS) * len(logs.PLACES)


def test_a_hit_says_on_which_line_and_how() -> None:
    value, known = logs.secrets(1)[0], Known(KEY)
    known.add(value, "hmac:abc")
    text = logs.stamped([*logs.log(10), f"T={base64.b64encode(value.encode()).decode()}", *logs.log(5), value[::-1]])
    assert [(h.line, h.encoding, h.secret) for h in known.find(Reading(text))] == [
        (11, "base64", "hmac:abc"), (17, "reversed", "hmac:abc"),
    ]  # fmt: skip


def test_fingerprints_hold_no_secret_and_mean_nothing_under_another_key() -> None:
    value, known = logs.secrets(1)[0], Known(KEY)
    known.add(value)
    kept = json.dumps(known.as_json())
    for form in (value, value[:8], base64.b64encode(value.encode()).decode()[:8], value.encode().hex()[:12]):
        assert form not in kept
    again = Known.of_json(json.loads(kept), KEY)
    assert again.find(Reading(value))
    assert not Known.of_json(json.loads(kept), b"x" * 32).find(Reading(value))


def test_one_character_short_is_no_hit() -> None:
    value, known = logs.secrets(1)[0], Known(KEY)
    known.add(value)
    assert known.find(Reading(f"t={value[:-1]} t={value[1:]}")) == []


def test_a_private_key_is_known_by_its_lines() -> None:
    lines = ["-----BEGIN OPENSSH PRIVATE " + "KEY-----", *logs.secrets(3, 5), "-----END OPENSSH PRIVATE " + "KEY-----"]
    known = Known(KEY)
    name = known.add("\n".join(lines))
    found = known.find(Reading(logs.stamped(["before", *(f"  {line}" for line in lines), "after"])))
    assert {hit.secret for hit in found} == {name}


def test_a_secret_that_is_too_short_is_refused() -> None:
    with pytest.raises(InputError, match="fewer than 8"):
        Known(KEY).add("short")


def found_in(text: str) -> list[tuple[str, str, Sure]]:
    leaks = build_logs.leaks([text_of(text)], GIVEN, recognizer=recognizer())
    return [(leak.kind, leak.value, leak.finding.sure) for leak in leaks]


def test_tokens_and_keys_in_a_log_whatever_way_they_stand_there() -> None:
    key_id, secret = made_up_key()
    npm = logs.secrets(2)[1]
    environment = f"HOME=/root\nAWS_ACCESS_KEY_ID={key_id}\nAWS_SECRET_ACCESS_KEY={secret}\nPATH=/bin\n"
    block = base64.encodebytes(environment.encode()).decode().split()
    lines = [*logs.log(300), *block, *logs.log(300, 2), f"NODE_AUTH_TOKEN={npm}", *logs.log(50, 3)]
    assert set(found_in(logs.stamped(lines))) == {
        ("aws-access-key", secret, Sure.LIKELY), ("npm-token", npm, Sure.LIKELY),
    }  # fmt: skip


def test_a_log_without_secrets_is_silent() -> None:
    lines = [*logs.log(2000, 11), "Authorization: Bearer ***", "TOKEN=***", "https://***:***@example.org/", "a" * 4000]
    assert found_in(logs.stamped(lines)) == []


def test_no_finding_shows_a_value_and_a_leak_is_never_pickled() -> None:
    npm = logs.secrets(2)[1]
    (leak,) = build_logs.leaks([text_of(f"T={npm}\n")], GIVEN, recognizer=recognizer())
    assert npm not in repr(leak)
    assert npm not in json.dumps(leak.finding.as_json())
    with pytest.raises(TypeError):
        pickle.dumps(leak)


def test_by_shape_alone_where_there_is_no_recogniser() -> None:
    npm = logs.secrets(2)[1]
    lines = [*logs.log(50), f"T={npm}", base64.b64encode(f"x {npm[:-1]}Z y".encode()).decode()]
    leaks = list(build_logs.leaks([text_of(logs.stamped(lines))], GIVEN))
    assert {leak.value for leak in leaks} == {npm, npm[:-1] + "Z"}


def zipped(files: dict[str, str]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


def test_a_zip_streams_and_reads_each_line_once(tmp_path: Path) -> None:
    npm = logs.secrets(2)[1]
    long = logs.stamped([*logs.log(30_000), f"T={npm}"])  # three pieces
    path = tmp_path / "logs_18400000001.zip"
    path.write_bytes(zipped({"0_deploy.txt": long, "deploy/1_Set up.txt": long, "system.txt": "nothing\n"}))
    texts = list(collected.read(path, "o/r"))
    assert [(t.name, t.run) for t in texts] == [("0_deploy.txt", 18400000001), ("system.txt", 18400000001)]
    sizes = [len(piece) for _, piece in texts[0].pieces()]
    assert len(sizes) > 2
    assert max(sizes) <= collected.PIECE + 2 * collected.OVERLAP
    (leak,) = build_logs.leaks(texts, GIVEN, recognizer=recognizer())
    assert "line 30001 of" in leak.finding.says
    assert leak.finding.subject == "o/r run 18400000001"


def test_a_secret_on_the_seam_of_two_pieces_is_whole(tmp_path: Path) -> None:
    value, known = logs.secrets(1)[0], Known(KEY)
    known.add(value)
    encoded = base64.b64encode(f"{'x' * 300}{value}".encode()).decode()
    block = [encoded[k : k + 76] for k in range(0, len(encoded), 76)]
    size = 4 * collected.OVERLAP
    for before in range(60):
        filler = "some words\n" * ((size - before * 13) // 11)
        pieces = collected.pieces(io.BytesIO((filler + "\n".join(block) + "\nend\n").encode()), size)
        assert any(known.find(Reading(piece), line) for line, piece in pieces), before


@pytest.mark.parametrize("data", [b"PK\x03\x04 no zip", b"PK\x05\x06" + b"\0" * 18 + b"rest"])
def test_a_damaged_zip_is_a_sentence_or_an_empty_log(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "logs_1234567.zip"
    path.write_bytes(data)
    try:
        assert list(build_logs.leaks(collected.read(path), GIVEN)) == []
    except InputError as exc:
        assert "zip" in str(exc)
