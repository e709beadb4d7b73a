"""The border: what a source has seen -> what may be written down, and the values to seal with it.

All in memory. The recogniser says what a value is; what the sender calls it counts only where there is no value. Every
credential has names under which any other report of it is known: its key, digests of its halves under our own key, and
what its scanner calls it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from bot.accounts import account_of_key
from bot.intake.delivery import Seen, plain
from bot.intake.kinds import provider_of
from bot.model import Credential
from bot.redact import Fingerprinter, Scrubber
from bot.store import canonical
from bot.triage.identify import Found, Recognizer
from bot.triage.rules import AWS_ID

GENERIC = "generic"
SHORTEST = 6  # characters of a value: a shorter one cannot be looked for, and is no secret


@dataclass(slots=True)
class Crossed:
    """``cases`` may be written down; ``secrets`` are (label, value, key of the credential), to be sealed."""

    cases: list[dict[str, Any]] = field(default_factory=list)
    secrets: dict[str, tuple[str, str]] = field(default_factory=dict, repr=False)


class Border:
    """Takes secrets out of what was seen."""

    def __init__(self, recognizer: Recognizer, fingerprinter: Fingerprinter) -> None:
        self._recognizer, self._fingerprinter = recognizer, fingerprinter

    def cross(self, source: str, seen: Iterable[Seen], scrubber: Scrubber) -> Crossed:
        """Every sighting as a case. ``scrubber`` knows every value from here on."""
        rows = list(seen)
        found = [self._found(one) for one in rows]
        pairs = self._pairs(rows, found)
        crossed = Crossed()
        for one, hits in zip(rows, found, strict=True):
            whole = list({hit.key: hit for hit in (pairs.get(_half(h), h) for h in hits)}.values())
            for hit in whole:
                for value in (hit.value, hit.session_token):
                    if value:
                        scrubber.add(self._fingerprinter.secret(value))
            credentials = self._credentials(one, whole, scrubber)
            for credential, value, beside in credentials:
                if value:
                    crossed.secrets[f"leaked:{credential.key}"] = (value, credential.key)
                crossed.secrets |= {label: (text, "") for label, text in beside.items()}
            for credential, value, _ in credentials:
                crossed.cases.append(self._case(source, one, credential, value))
            if not credentials:
                crossed.cases.append(self._case(source, one, None, ""))
        for case in crossed.cases:  # a value of a later sighting may stand in an earlier one's words
            words = {name: case[name] for name in _WORDS}
            together = "\n\x1f\n".join([*case["names"], *(words[name] for name in _WORDS if name != "names")])
            if scrubber.scrub(together) != together:
                case.update(scrubber.scrub_any(words))
        return crossed

    def _found(self, one: Seen) -> list[Found]:
        text = "\n".join(dict.fromkeys(part for part in (one.text, one.value) if part))
        return [hit for hit in self._recognizer.find(text) if hit.kind != GENERIC] if text else []

    def _pairs(self, rows: list[Seen], found: list[list[Found]]) -> dict[str, Found]:
        """Halves of AWS pairs that a scanner has put into two findings of one file: half -> the whole."""
        files: dict[tuple[str, str, str], list[int]] = {}
        for k, one in enumerate(rows):
            if any(hit.kind.startswith("aws-") and not hit.complete for hit in found[k]):
                files.setdefault((one.repository, one.commit, one.where), []).append(k)
        pairs: dict[str, Found] = {}
        for group in files.values():
            if len(group) > 1:
                text = "\n".join(rows[k].text or rows[k].value for k in sorted(group, key=lambda k: rows[k].line))
                for hit in self._recognizer.find(text):
                    if hit.complete and hit.kind == "aws-access-key":
                        pairs |= {hit.id: hit, hit.value: hit}
        return pairs

    def _credentials(
        self, one: Seen, hits: list[Found], scrubber: Scrubber
    ) -> list[tuple[Credential, str, dict[str, str]]]:
        """The credentials of a sighting with their values; one without a value has a name in the value's place."""
        if hits:
            return [(hit.credential, hit.value, hit.beside) for hit in hits]
        called = one.kind or self._recognizer.called(one.called)
        if len(one.value) >= SHORTEST:
            scrubber.add(self._fingerprinter.secret(one.value))
            # Forty characters, or an id that is none, are no key of AWS because somebody calls them so.
            kind = GENERIC if called.startswith("aws-") or not called else called
            provider = provider_of(kind) if kind != GENERIC else scrubber.scrub(one.called)[:100] or "unknown"
            print_ = self._fingerprinter.of(one.value)
            return [(Credential(provider=provider, kind=kind, fingerprint=print_), one.value, {})]
        if one.id:
            known = AWS_ID.fullmatch(one.id)
            kind = called or ("aws-access-key" if known else GENERIC)
            account = account_of_key(one.id) if known else ""
            name = scrubber.scrub(one.id)
            return [(Credential(provider=provider_of(kind), kind=kind, id=name, account=account), "", {})]
        stand_in = self._sha1(one.hashed) if one.hashed else (one.names[0] if one.names else "")
        if not stand_in:
            return []
        kind = called or GENERIC
        return [(Credential(provider=provider_of(kind), kind=kind, fingerprint=stand_in), "", {})]

    def _sha1(self, digest: str) -> str:
        """An unsalted SHA-1 under our own key: it still tells equal from different, and no longer can be guessed."""
        return "sha1:" + self._fingerprinter.of(f"sha1:{digest}").removeprefix("hmac:")

    def _names(self, one: Seen, credential: Credential, value: str) -> Iterator[str]:
        yield credential.key
        for half in (value, credential.id):
            if half:
                yield self._sha1(hashlib.sha1(half.encode(), usedforsecurity=False).hexdigest())
        if one.hashed:
            yield self._sha1(one.hashed)
        yield from one.names

    def _case(self, source: str, one: Seen, credential: Credential | None, value: str) -> dict[str, Any]:
        names = dict.fromkeys(self._names(one, credential, value)) if credential else ()
        where = [source, one.place or [one.repository, one.commit, one.where, one.line, one.url, one.run_url]]
        return {
            "credential": asdict(credential) if credential else None, "names": list(names),
            "place": hashlib.sha256(canonical(where).encode()).hexdigest()[:16], "called": one.called,
            "where": one.where, "line": one.line, "repository": one.repository, "commit": one.commit, "url": one.url,
            "run_url": one.run_url, "exposure": one.exposure.value, "validity": one.validity,
            "severity": plain(one.severity.lower(), 20), "alert": one.alert, "rank": one.rank,
        }  # fmt: skip


_WORDS = ("names", "called", "where", "repository", "commit", "url", "run_url")


def _half(hit: Found) -> str:
    """What tells an incomplete half of an AWS pair: its id, or its secret."""
    return (hit.id or hit.value) if hit.kind == "aws-access-key" and not hit.complete else ""
