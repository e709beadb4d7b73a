"""Incidents drawn at random that hang together: what triage found, cuts with proofs, tails that end somehow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from bot.store import iso
from bot.timeline import Event
from tests.incidents import ASKED, DECIDED, ID, LOOK, OPENED, OUTCOME, PROOF, REPORT, START, TRIAGE

NAMES = st.sampled_from(
    ["AWS_SECRET_ACCESS_KEY", "NPM_TOKEN", "SENTRY_AUTH_TOKEN", "codecov_token", "DEPLOY", "X" * 90]
)
TITLES = st.sampled_from(["Cut it", "Rotate it", "Delete the log", "Stop the workflow", "T" * 90])


@dataclass(frozen=True)
class Incident:
    """The events, and beside them what a question about them must answer."""

    events: list[Event]
    reach: frozenset[str]
    last_tail: datetime | None  # None where a tail has no end yet, or there is none
    first_cut: str  # title; "" when nothing was cut
    first_cut_s: float | None
    planted: frozenset[str]
    exposure: str
    grade: str  # of the reported credential, "" while it is not closed


@st.composite
def incidents(draw: st.DrawFn) -> Incident:
    """One incident: one to three credentials, each with up to two tails."""
    keys = [f"aws-access-key:K{k}" for k in range(draw(st.integers(1, 3)))]
    names = draw(st.lists(NAMES, max_size=4, unique=True))
    hours = draw(st.lists(st.integers(1, 36), min_size=len(keys), max_size=len(keys)))
    tailed = [key for key in keys if draw(st.booleans())]
    exposure = draw(st.sampled_from(["public", "internal", "unknown"]))
    triage = TRIAGE | {
        "credential": TRIAGE["credential"] | {"id": "K0"}, "exposure": exposure,
        "exposed_from": draw(st.sampled_from(["", iso(START - timedelta(minutes=7)), "2026-03-01T11:00:00+00:00"])),
        "reach": [
            {"kind": "secret", "name": name, "scope": "repository", "how": "read by the job", "credential": None,
             "known": True} for name in names
        ] + [
            {"kind": "aws-access-key", "name": key.partition(":")[2], "scope": "cloud", "how": "tagged", "known": True,
             "credential": TRIAGE["credential"] | {"id": key.partition(":")[2]}} for key in keys[1:]
        ],
        "tails": [{"kind": "sts-session", "of": key, "until": (START + timedelta(hours=hours[keys.index(key)],
                   seconds=1)).isoformat(), "why": "lives on"} for key in tailed],
    }  # fmt: skip
    story: list[tuple[str, str, Any]] = [("incident", "opened", OPENED | {"report": REPORT}),
                                         ("incident", "triage", triage)]  # fmt: skip
    at = [START, START + timedelta(seconds=1)]
    moment, first_cut, first_s = at[-1], "", None
    dead: dict[str, datetime] = {}
    ends: dict[str, datetime] = {}
    planted: set[str] = set()
    grade = draw(st.sampled_from(["refused", "state"]))
    open_tail = False  # of the reported credential: nobody has said that it is over

    def tell(step: str, kind: str, body: Any) -> None:
        story.append((step, kind, body))
        at.append(moment)

    for k, key in enumerate(keys):
        title = draw(TITLES)
        tell(f"cut{k}", "look", LOOK | {"kills": key, "title": title, "asks": draw(st.booleans())})
        if not draw(st.booleans()):
            continue
        if draw(st.booleans()):
            tell(f"cut{k}", "asked", ASKED)
            moment += timedelta(seconds=draw(st.integers(1, 9000)))
            tell(f"cut{k}", "decided", DECIDED)
        moment += timedelta(seconds=draw(st.integers(1, 900)))
        made = draw(st.lists(st.sampled_from(["svc-cache", "AK0PLANTED", "K0"]), max_size=2, unique=True))
        plants = [{"kind": "user", "name": name, "id": "", "at": "", "event": ""} for name in made]
        planted |= set(made)
        tell(f"cut{k}", "outcome", OUTCOME | {"plants": plants})
        if not first_cut:
            first_cut, first_s = title, (moment - START).total_seconds()
        moment += timedelta(seconds=draw(st.integers(1, 60)))
        tell(f"cut{k}", "proof", PROOF | {"grade": grade if k == 0 else "state"})
        dead[key] = moment
        if key in tailed:
            way = draw(st.sampled_from(["step", "expired", "open"]))
            lasts = timedelta(hours=hours[k])
            ends[key] = moment + lasts
            open_tail |= k == 0 and way == "open"
            if way == "step":
                moment += timedelta(seconds=draw(st.integers(1, 60)))
                tell(f"end{k}", "look", LOOK | {"kills": None, "ends": ["sts-session", key], "title": "End it"})
                tell(f"end{k}", "outcome", OUTCOME)
                tell(f"end{k}", "proof", PROOF)
                ends[key] = moment
            elif way == "expired":
                moment = ends[key]
                tell(f"tail:sts-session:{key}", "tail-ended", {"kind": "sts-session", "of": key})
    events = [
        Event(incident=ID, n=n, step=step, kind=kind, attempt=1, at=iso(when), body=body, body_sha256="", prev_hash="",
              hash="")
        for n, ((step, kind, body), when) in enumerate(zip(story, at, strict=True), start=1)
    ]  # fmt: skip
    whole = ends and set(tailed) <= set(ends)
    return Incident(
        events=events, reach=frozenset([*names, *(key.partition(":")[2] for key in keys[1:])]),
        last_tail=max(ends.values()) if whole else None, first_cut=first_cut, first_cut_s=first_s,
        planted=frozenset(planted), exposure=exposure,
        grade=grade if keys[0] in dead and not open_tail else "",
    )  # fmt: skip
