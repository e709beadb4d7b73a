"""Secrets are taken out of what Slack sends before anybody sees it: no listener, no log, no row.

A value that is recognised, and whatever stands in a field that asks for a secret, is sealed in the vault and replaced
everywhere in the payload by its fingerprint. ``restore`` puts it back, in memory, for the one who hands it on.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bot.redact import DRAWN, Scrubber
from bot.slack.payloads import Payload
from bot.triage.identify import Found, Recognizer
from bot.triage.liveness import session_token_label
from bot.vault import Vault

SECRET_FIELDS = ("leaked_secret", "answer_secret")  # action ids of inputs whose whole value is a secret
TELLING = 12  # a shorter entry of a form may be a word that Slack's own keys hold: it is taken from its field only
MARKER = re.compile(r"\[secret (hmac:[0-9a-f]{12})\]")
_LINK = re.compile(r"<((?:https?|mailto)[^|>\s]*)(?:\|[^>]*)?>")


@dataclass(frozen=True, slots=True)
class Seal:
    """A value to be sealed with the row that lands. It shows no value."""

    label: str
    value: str = field(repr=False)
    credential: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A payload without its secrets, and what was taken out."""

    payload: Payload
    seals: tuple[Seal, ...]


def plain(text: str) -> str:
    """Text as its writer typed it: Slack escapes three characters and puts links in angle brackets."""
    return html.unescape(_LINK.sub(r"\1", text))


@dataclass(frozen=True, slots=True)
class Border:
    """Where payloads come in."""

    vault: Vault
    recognizer: Recognizer

    def take(self, payload: Payload) -> Taken:
        """The payload without its secrets."""
        fields = list(_secret_fields(payload))
        said = "\n".join(plain(text) for text in _free_text(payload))
        found = [one for one in self.recognizer.find(said) if one.value]
        drawn = _drawn_words(payload, said, found)
        if not (fields or found or drawn):
            return Taken(payload, ())
        seals = [Seal(f"field:{k}", value) for k, (_, value) in enumerate(fields)]
        seals += [Seal(f"drawn:{k}", value) for k, value in enumerate(drawn)]
        for k, one in enumerate(found):
            seals.append(Seal(f"found:{k}", one.value, one.key))
            if one.session_token:
                seals.append(Seal(session_token_label(one.credential), one.session_token))
        scrubber = Scrubber(self.vault.fingerprinter)
        telling = [seal.value for seal in seals if seal.credential or len(seal.value) >= TELLING]
        scrubber.add(*map(self.vault.fingerprinter.secret, telling))
        for element, value in fields:  # as a whole, however short: a scrubber leaves short words alone
            element["value"] = self._marker(value)
        return Taken(scrubber.scrub_any(payload), tuple(seals))

    def restore(self, owner: str, text: str) -> str:
        """The text with the values that its markers stand for, as far as the owner still holds them."""
        held = {secret.fingerprint: secret.reveal() for secret in self.vault.held(owner)}
        return MARKER.sub(lambda match: held.get(match[1], match[0]), text)

    def _marker(self, value: str) -> str:
        return f"[secret {self.vault.fingerprint(value)}]"


def _secret_fields(payload: Payload) -> Iterator[tuple[dict[str, Any], str]]:
    """Every input that asks for a secret and has one: the element that holds it, and the value."""
    view = payload.get("view")
    tables = [view.get("state")] if isinstance(view, dict) else []
    for state in [*tables, payload.get("state")]:
        values = state.get("values", {}) if isinstance(state, dict) else {}
        for block in values.values():
            for action, element in block.items():
                if action in SECRET_FIELDS and str(element.get("value") or "").strip():
                    yield element, str(element["value"]).strip()
    for action in payload.get("actions") or ():
        if action.get("action_id") in SECRET_FIELDS and str(action.get("value") or "").strip():
            yield action, str(action["value"]).strip()


def _free_text(payload: Payload) -> Iterator[str]:
    """What people have typed or pasted. Ids and addresses of Slack's own are not searched."""
    if "command" in payload:
        yield str(payload.get("text", ""))
    for name in ("message", "event"):
        part = payload.get(name)
        if isinstance(part, dict):
            for inner in ("text", "blocks", "attachments", "files"):
                yield from _strings(part.get(inner))
    view = payload.get("view")
    for state in (view.get("state") if isinstance(view, dict) else None, payload.get("state")):
        if isinstance(state, dict):
            yield from (str(text) for text in _named(state.get("values"), "value"))
    for action in payload.get("actions") or ():
        if action.get("type") == "plain_text_input":
            yield str(action.get("value") or "")


def _drawn_words(payload: Payload, said: str, found: list[Found]) -> list[str]:
    """Words of a command that no rule knows and that look drawn by a machine all the same. Commands are typed: no
    ordinary word of theirs looks so.
    """
    if "command" not in payload:
        return []
    words = [word for word in said.split() if DRAWN.fullmatch(word) and "://" not in word]
    known = [text for one in found for text in (one.value, one.session_token) if text]
    return [word for word in words if not any(text in word for text in known)]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _named(value: Any, name: str) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name and isinstance(inner, str):
                yield inner
            else:
                yield from _named(inner, name)
