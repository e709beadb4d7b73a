"""A scan of history finds hundreds of old credentials within minutes, and four hundred incidents are read by nobody.

GitHub tells of such a scan (``secret_scanning_scan``) when it is over, after its alerts; so their number counts, and
the scan is named where it is known. After so many incidents of one owner, an alert of what works and everybody can see
opens all the same and asks before every change; the rest waits in the inbox. What is worst is worked first, so that is
not what waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bot.engine.policy import Authority, Storm
from bot.model import Trust
from bot.store import IncidentRow, Store, iso, when
from bot.store_intake import Facts

RULE = "storm"
SCAN = "secret_scanning_scan.completed"
ALERT = "github:"  # what the names of GitHub's alerts begin with


@dataclass(frozen=True, slots=True)
class Held:
    """It is a storm: ``head`` is the first of its incidents, where that is told; ``told`` is what is told."""

    said: Authority
    head: str
    told: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Guard:
    """Counts what GitHub's alerts have opened of late."""

    store: Store
    storm: Storm

    def look(self, row: Mapping[str, Any], names: Iterable[str], repository: str, *, exposed: bool) -> Held | None:
        """Whether one more incident of this alert would be of a storm. ``exposed``: it works and everybody can see it.

        What a person has let in, and what no alert of GitHub's is about, is none.
        """
        person = row["body"].get("trust", Trust.OPERATOR) == Trust.OPERATOR
        if person or not any(name.startswith(ALERT) for name in names):
            return None
        owner = repository.partition("/")[0]
        since = iso(when(row["landed_at"]) - timedelta(seconds=self.storm.within_s))
        opened = [one for one in self.store.incidents(since=since) if _of(one, owner, row["body"]["world"])]
        if len(opened) < self.storm.incidents:
            return None
        scan = self._scan(repository, since)
        why = f"{len(opened)} incidents were opened by alerts of {owner} within {self.storm.within_s} s" + (
            f", after a scan of history ({scan})" if scan else ""
        )
        rest = "it works and everybody can see it, so it opens and asks" if exposed else "this one waits for a person"
        said = Authority(starts="ask" if exposed else "hold", rule=RULE, reason=f"{why}; {rest}")
        told = {"owner": owner, "incidents": self.storm.incidents, "within_s": self.storm.within_s, "scan": scan}
        return Held(said, opened[0].id, told)

    def _scan(self, repository: str, since: str) -> str:
        """The kind of the last scan that GitHub has told of: backfill, custom-pattern-backfill, …"""
        facts = Facts(self.store).find(repository=repository, kind=SCAN, since=since)
        return str(facts[-1]["body"].get("type", "")) if facts else ""


def _of(one: IncidentRow, owner: str, world: str) -> bool:
    report = one.body["report"]
    same = one.body["repository"].partition("/")[0].lower() == owner.lower()
    return one.world == world and same and report["source"] == "github" and not report.get("beside")
