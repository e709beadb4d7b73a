"""Kingfisher's library behind ``bot.world.LongTail``: its live checks and its revocations, of 488 rules (1.5.0).

A rule says where a value goes and how the answer is read; what the provider answers beside its status does not come
back from the library. Only the real World holds one: ``World`` refuses it in any other.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from kingfisher_sdk import Revoker, ValidationResult, Validator

from bot.errors import Unavailable
from bot.model import OTHER, Liveness, Secret
from bot.triage.identify import Recognizer
from bot.world import TailRule

ASK_S, CUT_S = 10.0, 20.0  # for each request, and for all of one question or cut
_HOST = re.compile(r"https?://([A-Za-z0-9.-]+(?::\d+)?)")
_OWN = re.compile(r"BASE_URL|getOrDefault|ENDPOINT")  # an address that can be set: some run it themselves
_AWAY = ("unavailable", "not_attempted")
_T = TypeVar("_T")


class Tail:
    """The library, with the rules that the recogniser has loaded. ``loopback``: for tests, whose provider is there."""

    def __init__(self, recognizer: Recognizer, *, loopback: bool = False) -> None:
        self._recognizer, self._loopback = recognizer, loopback
        self.knows = cache(self._knows)

    def _knows(self, kind: str) -> TailRule | None:
        rule = self._recognizer.other_kinds.get(kind)
        if rule is None:
            return None
        told = self._recognizer.scanner.rules.detail(rule)
        words = json.dumps([told["validation"], told["revocation"]])
        return TailRule(
            rule=rule, checks=bool(told["validation"]), revokes=bool(told["revocation"]),
            hosts=tuple(dict.fromkeys(_HOST.findall(words))), elsewhere=bool(_OWN.search(words)),
            links=tuple(link for link in told["references"] if link.startswith("https://")),
        )  # fmt: skip

    def tried(self, kind: str, secret: Secret, around: Secret | None) -> tuple[Liveness, str]:
        """By the rule's own check. A value that its rule does not know without its surroundings is unknown."""
        known = self.knows(kind)
        if known is None or not known.checks:
            return Liveness.UNKNOWN, f"Kingfisher has no check for a {kind.removeprefix(OTHER)}"
        found = self._asked(kind, known, secret, around)
        if found is None:
            return Liveness.UNKNOWN, f"the rule {known.rule} does not know the value without the text that it stood in"
        status = f" with {found.http_status}" if found.http_status else ""
        host = " or ".join(known.hosts) or "its provider"
        if found.outcome == "verified_active":
            return Liveness.LIVE, f"{host} accepts it{status}"
        if found.outcome == "verified_inactive":
            return Liveness.DEAD, f"{host} refuses it{status}"
        why = found.reason or "; ".join(issue.message for issue in found.input_diagnostics) or found.outcome
        if found.outcome in _AWAY:
            raise Unavailable(f"{host} did not say whether the {known.rule} works: {why}", provider="kingfisher")
        return Liveness.UNKNOWN, f"the check of {known.rule} says nothing: {why}"

    def revoke(self, kind: str, secret: Secret, around: Secret | None) -> tuple[bool, str]:
        """By the rule's own revocation: of what a check has found to work, or of the value where there is no check."""
        known = self.knows(kind)
        if known is None or not known.revokes:
            return False, f"Kingfisher cannot revoke a {kind.removeprefix(OTHER)}"
        cut: tuple[Any, ...] = known.rule, secret.reveal()
        if known.checks:
            found = self._asked(kind, known, secret, around)
            if found is None or not found.revocation_ready:
                why = (found.revocation_reason or found.outcome) if found else "its surroundings are not held"
                return False, f"{known.rule} cannot be revoked by the library: {why}"
            cut = (found,)
        revoker = Revoker(self._recognizer.scanner.rules, timeout=ASK_S)
        try:
            said = _called(lambda: revoker.revoke(*cut, confirm=True, timeout=CUT_S), f"revoke the {known.rule}")
        except ValueError:
            return False, f"{known.rule} cannot be revoked by the library: something that it needs is not known"
        status = f" with {said.http_status}" if said.http_status else ""
        return said.revoked, f"{' or '.join(known.hosts)} has {'' if said.revoked else 'not '}confirmed it{status}"

    def _asked(self, kind: str, known: TailRule, secret: Secret, around: Secret | None) -> ValidationResult | None:
        """What the check says of this very value; None when its rule does not find it in what is held."""
        value, needed = secret.reveal(), self._needed(known.rule) - {known.rule}
        validator = Validator(timeout=ASK_S, allow_internal_ips=self._loopback)
        texts = [base64.b64decode(around.reveal()).decode()] if around else []
        for text in (*texts, value):
            found = self._recognizer.scanner.scan(text)
            own = [each for each in found if each.rule_id == known.rule and each.secret == value]
            if own:
                break
        else:
            return None
        # What belongs to it goes along; other findings of the text are shown to nobody.
        batch = own[:1] + [each for each in found if each.rule_id in needed]
        return _called(lambda: validator.validate(batch, timeout=CUT_S), f"check the {kind}")[0]

    def _needed(self, rule: str) -> set[str]:
        """The rules that find what belongs to a value of this one: the other half, an account."""
        rules, found, left = self._recognizer.scanner.rules, {rule}, [rule]
        while left:
            for each in rules.detail(left.pop())["depends_on_rule"]:
                if each is not None and each["rule_id"] not in found:
                    found.add(each["rule_id"])
                    left.append(each["rule_id"])
        return found


def _called(call: Callable[[], _T], what: str) -> _T:
    """Call the library. Raises Unavailable for what it could not do, or did and does not know the end of."""
    try:
        return call()
    except (RuntimeError, TimeoutError) as exc:
        raise Unavailable(f"could not {what}: {type(exc).__name__}", provider="kingfisher") from None
