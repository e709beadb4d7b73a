"""A landed row -> its cases: what it says itself, what its run or image holds, and values that are fetched now.

Providers are asked here, after the delivery was acknowledged. One that is away makes the row wait for another round.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bot.errors import ProviderError, RateLimited, Unavailable
from bot.intake.border import Border
from bot.intake.delivery import Seen
from bot.intake.opening import Case
from bot.model import Credential, Exposure
from bot.playbook import Playbook, match
from bot.redact import Scrubber
from bot.store import Store
from bot.triage import find_in_image, find_in_run, refuse_other_github
from bot.triage.identify import Found, Recognizer
from bot.triage.migration import KIND as MIGRATION
from bot.triage.migration import order_of
from bot.vault import Vault
from bot.world import World

RUN_URL = re.compile(r"https?://[^/\s]+/([\w.-]+/[\w.-]+)/actions/runs/(\d+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cases:
    """Reads landed rows."""

    store: Store
    vault: Vault
    recognizer: Recognizer
    playbooks: Mapping[str, Playbook]
    worlds: Mapping[str, Callable[[str], World]]
    fetch_values: bool

    def of(self, row: dict[str, Any]) -> tuple[list[Case], str]:
        """What a landed row tells, with what its run or image holds; and why there may be nothing."""
        body = row["body"]
        if "cases" not in body:
            return self._reported(row), "no credential that a playbook knows was found in it"
        cases: list[Case] = []
        why = ""
        for one in body["cases"]:
            case = case_of(one)
            if one["run_url"]:
                found, run = self._in_run(row, one["run_url"]), RUN_URL.search(one["run_url"])
                there = replace(case, url=one["run_url"], repository=run[1] if run else case.repository)
                cases += [replace(there, credential=c, names=(c.key,)) for c in found]
                why = why or ("" if found else f"nothing that we know was found in {one['run_url']}")
            elif case.credential.kind and one["alert"] and self.fetch_values and not case.credential.id:
                cases += self._fetched(row, one, case)
            elif case.credential.kind:
                cases.append(case)
        return cases, why

    def _reported(self, row: dict[str, Any]) -> list[Case]:
        """A person's report: each credential once, the most telling form of it."""
        body, world = row["body"], self.worlds[row["body"]["world"]]
        credentials = [Credential(**c) for c in body["credentials"]]
        run = RUN_URL.search(body["url"]) if body["url"] else None
        if run is not None:
            credentials += self._in_run(row, body["url"])
        elif body["url"]:
            pulled = find_in_image(world(row["id"]), self.recognizer, body["url"])
            credentials += [credential_of(self.vault, f) for f in pulled if f.kind != "generic"]
        best: dict[str, Credential] = {}
        for one in credentials:
            if one.key not in best or (one.fingerprint and not best[one.key].fingerprint):
                best[one.key] = one
        named, exposure = RUN_URL.search(body["url"]), Exposure(body["exposure"])
        return [
            Case(credential=one, names=(one.key,), url=body["url"], exposure=exposure,
                 repository=named[1] if named else order_of(one).repository if one.kind == MIGRATION else "")
            for one in best.values() if match(self.playbooks, one) is not None
        ]  # fmt: skip

    def _in_run(self, row: dict[str, Any], url: str) -> list[Credential]:
        run = RUN_URL.search(url)
        if run is None:
            return []
        world = self.worlds[row["body"]["world"]](row["id"])
        refuse_other_github(world, url)
        found = find_in_run(world, self.recognizer, run[1], int(run[2]))
        return [credential_of(self.vault, f) for f in found if f.kind != "generic"]

    def _fetched(self, row: dict[str, Any], one: dict[str, Any], case: Case) -> list[Case]:
        """An alert that came without its value: GitHub is asked for it once, and it goes straight into the vault.

        Where that is not allowed the alert stands by its own name, and a person or a later report says what it is.
        """
        path = f"/repos/{one['repository']}/secret-scanning/alerts/{one['alert']}"
        world = self.worlds[row["body"]["world"]](row["id"])
        try:
            value = str(world.github.get(path).get("secret") or "")
        except (Unavailable, RateLimited):
            raise
        except ProviderError as exc:
            return [replace(case, note=f"Its value could not be fetched: {exc}")]
        seen = Seen(called=one["called"], kind=case.credential.kind, value=value, text=_named(one["called"], value))
        crossed = Border(self.recognizer, self.vault.fingerprinter).cross(
            row["source"], [seen] if value else [], Scrubber(self.vault.fingerprinter)
        )
        with self.store.begin() as c:
            for label, (secret, key) in crossed.secrets.items():
                self.vault.seal(c, row["id"], label, secret, key, world.now())
        found = [(Credential(**each["credential"]), each["names"]) for each in crossed.cases if each["credential"]]
        known = [
            replace(case, credential=credential, names=(*case.names, *names)) for credential, names in found
            if match(self.playbooks, credential)
        ]  # fmt: skip
        return known or [case]


def credential_of(vault: Vault, found: Found) -> Credential:
    """What may be written down of what was found, under the vault's own fingerprint."""
    return Credential(
        provider=found.provider, kind=found.kind, id=found.id, account=found.account,
        fingerprint=vault.fingerprint(found.value) if found.value else "",
    )  # fmt: skip


def case_of(one: Mapping[str, Any]) -> Case:
    """A case as it stands in a row."""
    credential = Credential(**one["credential"]) if one["credential"] else Credential(provider="", kind="")
    return Case(
        credential=credential, names=tuple(one["names"]), place=one["place"], where=one["where"], line=one["line"],
        repository=one["repository"], commit=one["commit"], link=one["url"], exposure=Exposure(one["exposure"]),
        called=one["called"], validity=one["validity"],
    )  # fmt: skip


def _named(called: str, value: str) -> str:
    """A value with the name that says what it is: forty characters alone could be anything."""
    return f"{called}={value}" if "secret_access_key" in called.lower() else value
