"""CloudTrail: log files of a folder (gzip or not), answers of LookupEvents, exports with a record a line.

Read for speed: a file is unpacked by isal and decoded by msgspec, which builds only what is judged. One file is in
memory at a time (a log file holds some minutes), lines are read in blocks, so memory does not grow with the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from isal import igzip
from isal.igzip_lib import IsalError

from bot.errors import InputError
from bot.signals.facts import Mint, Origin, Use, Who, utc

BLOCK = 8 * 1024 * 1024
_STAMP = re.compile(r"_(\d{8}T\d{4}Z)_")  # account_CloudTrail_region_20261126T0610Z_unique.json.gz
_GZIP = b"\x1f\x8b"


MINTS = ("AssumeRoleWithWebIdentity",)


class Call(msgspec.Struct, frozen=True, gc=False):
    """One record, of which only what is judged is read (User Guide, "Record contents"); names are the record's own."""

    eventTime: str = ""  # whole seconds, UTC
    eventSource: str = ""
    eventName: str = ""
    awsRegion: str = ""
    sourceIPAddress: str = ""
    recipientAccountId: str = ""
    userIdentity: msgspec.Raw = msgspec.Raw(b"null")  # the same bytes for all calls of a session: decoded once
    errorCode: str = ""
    eventID: str = ""
    responseElements: msgspec.Raw = msgspec.Raw(b"null")


class _Event(msgspec.Struct):
    CloudTrailEvent: str = ""


class _Document(msgspec.Struct):
    Records: list[Call] = []
    Events: list[_Event] = []


class _Credentials(msgspec.Struct):
    accessKeyId: str = ""


class _Role(msgspec.Struct):
    arn: str = ""


class _Answer(msgspec.Struct):
    credentials: _Credentials | None = None
    assumedRoleUser: _Role | None = None


_DOCUMENT, _CALLS = msgspec.json.Decoder(_Document), msgspec.json.Decoder(list[Call])
_CALL, _WHO = msgspec.json.Decoder(Call), msgspec.json.Decoder(Who)
_ANSWER, _EVENT, _ANY = msgspec.json.Decoder(_Answer), msgspec.json.Decoder(_Event), msgspec.json.Decoder()


class Identities:
    """userIdentity as it stands -> ``Who``. It forgets what it knew when it knows too much."""

    def __init__(self, most: int = 50_000) -> None:
        self._most = most
        self._known: dict[bytes, Who] = {}

    def of(self, raw: bytes) -> Who:
        """What these bytes say."""
        found = self._known.get(raw)
        if found is None:
            if len(self._known) >= self._most:
                self._known.clear()
            found = self._known[raw] = _who(raw)
        return found


def _who(raw: bytes) -> Who:
    try:
        return _WHO.decode(raw).named()
    except msgspec.ValidationError:  # a field that is null, or of another type than documented, counts as absent
        found = _clean(_ANY.decode(raw))
        return msgspec.convert(found, Who, strict=False).named() if isinstance(found, dict) else Who()


def facts(calls: Iterable[Call], origin: Origin, identities: Identities) -> list[Use | Mint]:
    """What the records of one file say: each kind of use once, and every session that a web identity got."""
    first: dict[tuple[bytes, str, str, str, str, str, str], Call] = {}
    last: dict[tuple[bytes, str, str, str, str, str, str], Call] = {}
    minted = False
    rows = list(calls)
    raw, before = b"", None
    for c in rows:  # the one loop that every record goes through
        if c.userIdentity != before:  # a session's calls stand together, and comparing is cheaper than hashing
            before = c.userIdentity
            raw = bytes(before)
        key = (raw, c.eventSource, c.eventName, c.awsRegion, c.recipientAccountId,
               c.sourceIPAddress, c.errorCode)  # fmt: skip
        if key in first:
            last[key] = c
        else:
            first[key] = c
            minted = minted or c.eventName in MINTS
    found: list[Use | Mint] = []
    for key, one in first.items():
        raw, source, action, region, account, address, refused = key
        newest = last.get(key, one)
        found.append(Use(
            at=utc(min(one.eventTime, newest.eventTime)), until=utc(max(one.eventTime, newest.eventTime)),
            origin=origin, who=identities.of(raw), service=source.removesuffix(".amazonaws.com"), action=action,
            region=region, account=account, address=address, event=newest.eventID, refused=refused,
        ))  # fmt: skip
    if minted:
        found += [_mint(c, origin, identities) for c in rows if c.eventName in MINTS and not c.errorCode]
    return found


def _mint(call: Call, origin: Origin, identities: Identities) -> Mint:
    who = identities.of(bytes(call.userIdentity))
    raw = bytes(call.responseElements)
    answer = _Answer() if raw == b"null" else _ANSWER.decode(raw)
    return Mint(
        at=utc(call.eventTime), origin=Origin(origin.source, f"{origin.where} event {call.eventID}"),
        subject=who.userName, address=call.sourceIPAddress, provider=who.identityProvider,
        session=answer.credentials.accessKeyId if answer.credentials else "",
        role=answer.assumedRoleUser.arn if answer.assumedRoleUser else "",
    )  # fmt: skip


def files(path: Path) -> list[Path]:
    """The log files of a folder in the order of their times; CloudTrail's digests are none. Raises InputError."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path} is neither a folder nor a file")
    found = [
        each for each in path.rglob("*")
        if each.name.endswith((".json", ".json.gz", ".jsonl", ".jsonl.gz")) and "CloudTrail-Digest" not in each.parts
    ]  # fmt: skip
    if not found:
        raise InputError(f"{path} holds no *.json, *.json.gz or *.jsonl of CloudTrail")
    return sorted(found, key=_order)


def _order(path: Path) -> tuple[str, str]:
    match = _STAMP.search(path.name)
    return (match[1] if match else "", str(path))


def read(path: Path, identities: Identities | None = None) -> Iterator[list[Use | Mint]]:
    """What every file says, one file or one block of lines at a time. Raises InputError, naming the file."""
    known = identities or Identities()
    for file in files(path):
        try:
            for origin, calls in _read(file):
                yield facts(calls, origin, known)
        except (OSError, IsalError, EOFError) as exc:  # type: ignore[misc]  # its stub knows no base
            raise InputError(f"{file} cannot be unpacked: {exc}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as exc:
            raise InputError(f"{file} holds no records of CloudTrail: {str(exc)[:120]}") from None


def of_bytes(data: bytes, name: str) -> list[Call]:
    """The records of one log file, packed or not. Raises InputError, naming it."""
    try:
        return decoded(igzip.decompress(data) if data.startswith(_GZIP) else data)
    except (IsalError, EOFError) as exc:  # type: ignore[misc]  # its stub knows no base
        raise InputError(f"{name} cannot be unpacked: {exc}") from None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as exc:
        raise InputError(f"{name} holds no records of CloudTrail: {str(exc)[:120]}") from None


def _read(file: Path) -> Iterator[tuple[Origin, list[Call]]]:
    with file.open("rb") as raw:
        head = raw.read(2)
    if ".jsonl" in file.name:
        yield from _lines(file, packed=head == _GZIP)
        return
    data = file.read_bytes()
    if head == _GZIP:
        data = igzip.decompress(data)
    yield Origin("cloudtrail", str(file)), decoded(data)


def _lines(file: Path, *, packed: bool) -> Iterator[tuple[Origin, list[Call]]]:
    """A record a line, a block of lines at a time."""
    number = 0
    with igzip.open(file, "rb") if packed else file.open("rb") as lines:
        while block := lines.readlines(BLOCK):
            rows = [call for line in block if line.strip() for call in decoded(line)]
            yield Origin("cloudtrail", f"{file}:{number + 1}"), rows
            number += len(block)


def decoded(data: bytes) -> list[Call]:
    """The records of a document: a log file, an answer of LookupEvents, a list, or one record. Raises DecodeError."""
    try:
        start = data[:64].lstrip()[:1]
        if start == b"[":
            return _CALLS.decode(data)
        found = _DOCUMENT.decode(data)
        if not (found.Records or found.Events):
            return _single(data)
        return found.Records + [_CALL.decode(each.CloudTrailEvent) for each in found.Events]
    except msgspec.ValidationError:
        return _lenient(_ANY.decode(data))


def _single(data: bytes) -> list[Call]:
    """One record or one event of LookupEvents; nothing for a document that has none."""
    call = _CALL.decode(data)
    if call.eventName:
        return [call]
    event = _EVENT.decode(data)
    if event.CloudTrailEvent:
        return [_CALL.decode(event.CloudTrailEvent)]
    raw = _ANY.decode(data)
    if isinstance(raw, dict) and ("Records" in raw or "Events" in raw):
        return []
    raise msgspec.DecodeError("there is neither Records nor Events nor an eventName in it")


def _lenient(found: Any) -> list[Call]:
    """The same where a field is null or of another type than documented: such a field counts as absent."""
    rows = found
    if isinstance(found, dict):
        events = [_ANY.decode(row["CloudTrailEvent"]) for row in found.get("Events") or ()]
        rows = [*(found.get("Records") or ()), *events] or [found]
    return [_call(row) for row in rows if isinstance(row, dict)]


def _call(row: dict[str, Any]) -> Call:
    whole = {name: value for name, value in row.items() if name in Call.__struct_fields__ and value is not None}
    texts = {name: str(value) for name, value in whole.items() if not isinstance(value, dict)}
    return _CALL.decode(msgspec.json.encode(whole | texts))


def _clean(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _clean(each) for name, each in value.items() if each is not None}
    return value if isinstance(value, str | list) else str(value)
