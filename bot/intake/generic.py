"""A source of your own: where in its JSON the fields stand, and how it signs. Data, read from ``BULKHEAD_SOURCES``.

    datadog:
      title: Datadog, our template
      signature: {header: x-signature, timestamp: x-timestamp, message: "timestamp.body"}
      each: alerts
      fields: {value: token, called: rule, repository: repo, where: file, line: line, url: link}

Without ``signature`` a shared token is all it can show, so it opens and asks. Paths are dotted; a number counts from 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.errors import InputError, Undeliverable
from bot.intake import proof
from bot.intake.delivery import Delivery, Reading, Seen, Sender, at_path, number_at, plain, secret_at, text_at
from bot.intake.kinds import kind_of
from bot.intake.wire import json_of, unpacked
from bot.model import Exposure, Trust
from bot.strictyaml import Node, Problems, read, table, text

FIELDS = ("value", "called", "id", "repository", "commit", "where", "line", "url", "run_url", "visibility", "severity",
          "validity", "alert", "by", "text")  # fmt: skip
MESSAGES = {"body": "{body}", "timestamp.body": "{stamp}.{body}", "timestamp:body": "{stamp}:{body}",
            "timestampbody": "{stamp}{body}", "v0:timestamp:body": "v0:{stamp}:{body}"}  # fmt: skip
NAME = re.compile(r"[a-z][a-z0-9-]{1,40}")
_PATH = re.compile(r"[\w@$-]+(?:\.[\w@$-]+){0,9}")
_EXPOSURES = {"public": Exposure.PUBLIC, "private": Exposure.INTERNAL, "internal": Exposure.INTERNAL}
_LIVE, _DEAD = ("valid", "active", "live", "true", "verified"), ("invalid", "inactive", "dead", "revoked", "false")
_VALIDITY = dict.fromkeys(_LIVE, "live") | dict.fromkeys(_DEAD, "dead")
WINDOW = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """How a source signs. ``timestamp`` is a header that the signature covers."""

    header: str
    prefix: str = ""
    digest: str = "sha256"
    encoding: str = "hex"
    timestamp: str = ""
    message: str = "body"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """One source of your own."""

    name: str
    title: str
    fields: Mapping[str, str]
    each: str = ""
    signature: Signature | None = None

    def prove(self, delivery: Delivery, secrets: tuple[str, ...]) -> Sender:
        """By its signature, or by a shared token, which proves less. Raises Undeliverable."""
        way = self.signature
        if way is None:
            proof.bearer(delivery.header("authorization"), delivery.token, secrets)
            return Sender(trust=Trust.UNSIGNED, by=self.title)
        stamp = delivery.header(way.timestamp) if way.timestamp else ""
        before, _, after = MESSAGES[way.message].replace("{stamp}", stamp).partition("{body}")
        message = before.encode() + delivery.body + after.encode()
        given = delivery.header(way.header)
        proof.signed(given, message, secrets, prefix=way.prefix, digest=way.digest, encoding=way.encoding)
        if way.timestamp:
            proof.fresh(stamp, delivery.at, WINDOW)
        return Sender(trust=Trust.SIGNED, by=self.title)

    def read(self, delivery: Delivery, _sender: Sender) -> Reading:
        """The fields, where they are said to stand. Raises Undeliverable when it is no JSON."""
        value = json_of(unpacked(delivery.body, delivery.header("content-encoding")), delivery.header("content-type"))
        rows = at_path(value, self.each) if self.each else value
        found = [row for row in (rows if isinstance(rows, list) else [rows]) if isinstance(row, dict)]
        if len(found) > 5000:
            raise Undeliverable("more than 5000 alerts in one delivery; split it", 413, "findings")
        seen = tuple(one for row in found if (one := self._seen(row)) is not None)
        by = self._text(found[0], "by") if found else ""
        text_ = self._text(found[0], "text") if found else ""
        note = "" if seen else "no field leads to a value, an id, a run or an alert"
        return Reading(event="alert", seen=seen, by=by or self.title, text=text_ or f"{self.title}: alert", note=note)

    def _text(self, row: dict[str, Any], name: str) -> str:
        return text_at(row, self.fields[name]) if name in self.fields else ""

    def _seen(self, row: dict[str, Any]) -> Seen | None:
        value = secret_at(row, self.fields["value"]) if "value" in self.fields else ""
        called, alert = self._text(row, "called"), self._text(row, "alert")
        if not (value or alert or self._text(row, "id") or self._text(row, "run_url")):
            return None
        return Seen(
            called=called, kind=kind_of(called), value=value, text=value, id=self._text(row, "id"),
            names=(f"{self.name}:{alert}",) if alert else (), where=self._text(row, "where"),
            line=number_at(row, self.fields["line"]) if "line" in self.fields else 0,
            repository=self._text(row, "repository"), commit=self._text(row, "commit"), url=self._text(row, "url"),
            run_url=self._text(row, "run_url"), severity=self._text(row, "severity"),
            exposure=_EXPOSURES.get(self._text(row, "visibility").lower(), Exposure.UNKNOWN),
            validity=_VALIDITY.get(self._text(row, "validity").lower(), ""),
        )  # fmt: skip


def load(path: Path, taken: frozenset[str]) -> dict[str, Mapped]:
    """The sources of a file. Raises PlaybookError with every mistake and its line, InputError when it is not there.

    ``taken``: names of the sources that we ship.
    """
    try:
        written = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"BULKHEAD_SOURCES names {path}, which cannot be read as text") from None
    problems = Problems(str(path))
    top = read(written, str(path))
    rows = table(top, "the sources", problems, top.value if isinstance(top.value, dict) else ())
    found = {}
    for name, node in rows.items():
        if not NAME.fullmatch(name) or name in taken:
            problems.add(node.line, f"{name[:60]!r} is no name for a source of your own: lower case, not one of ours")
            continue
        found[name] = _mapped(name, node, problems)
    problems.refuse()
    return found


def _mapped(name: str, node: Node, problems: Problems) -> Mapped:
    keys = table(node, f"the source {name}", problems, ("title", "signature", "each", "fields"), ("fields",))
    fields = {}
    for field, path in table(keys["fields"], "fields", problems, FIELDS).items() if "fields" in keys else ():
        fields[field] = _path(path, field, problems)
    if "fields" in keys and not {"value", "id", "run_url", "alert"} & fields.keys():
        problems.add(keys["fields"].line, "fields must lead to a value, an id, a run_url or an alert")
    return Mapped(
        name=name, title=text(keys["title"], "title", problems, most=60) if "title" in keys else name, fields=fields,
        each=_path(keys["each"], "each", problems) if "each" in keys else "",
        signature=_signature(keys["signature"], problems) if "signature" in keys else None,
    )  # fmt: skip


def _path(node: Node, what: str, problems: Problems) -> str:
    found = text(node, what, problems, most=200)
    if found and not _PATH.fullmatch(found):
        problems.add(node.line, f"{what} must be a dotted path, as in alert.secret.value")
    return plain(found)


def _signature(node: Node, problems: Problems) -> Signature:
    known = ("header", "prefix", "digest", "encoding", "timestamp", "message")
    keys = table(node, "signature", problems, known, ("header",))
    given = {key: text(value, f"signature.{key}", problems, most=100) for key, value in keys.items()}
    allowed = {"digest": proof.DIGESTS, "encoding": ("hex", "base64"), "message": tuple(MESSAGES)}
    for key, values in allowed.items():
        if key in given and given[key] not in values:
            problems.add(keys[key].line, f"signature.{key} must be one of {', '.join(values)}")
    if bool(given.get("timestamp")) != ("timestamp" in given.get("message", "body")):
        problems.add(node.line, "a timestamp counts only where the message that is signed holds it, and the other way")
    for key in ("header", "timestamp"):
        given[key] = given.get(key, "").lower()
    return Signature(**given)
