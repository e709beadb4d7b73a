"""Timelines drawn at random: every kind of event, with texts that want to be links, mentions and more than fits."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from bot.slack.picture import Picture
from bot.store import DecisionRow, IncidentRow, iso
from bot.timeline import Event
from tests.incidents import ASKED, DECIDED, ID, LOOK, OUTCOME, PROOF, REPORT, ROW, START, TRIAGE, events

NASTY = (
    "<!channel>", "<https://evil.example|Approve>", "<@U0EVIL>", "*bold* _it_ `code` ~no~", "& &amp; &lt;", "a" * 5000,
    "line\nline\r\n\ttab", "\u202etxet", "🔑" * 400, "<" * 3100, "", " ", "ordinary words", "x`y", "&" * 3000,
)  # fmt: skip
TEXT = st.one_of(st.sampled_from(NASTY), st.text(max_size=60))
WHO = st.sampled_from(["ann", "slack:U0ALICE", "slack:U0BOB", "slack:<!here>", "", "<@U0EVIL>"])
STEPS = [
    "deactivate", "end-sessions", *(f"planted#{k}" for k in range(4)), "deactivate/retry", "deactivate/undo",
    "s" * 2500,
]  # fmt: skip
STEP = st.sampled_from(STEPS)
TIMES = st.integers(-7200, 40 * 86_400).map(lambda s: iso(START + timedelta(seconds=s)))
LINK = st.sampled_from(["", "https://console.example/x?a=1&b=2|<@U0EVIL>"])


def made(base: dict[str, Any], **drawn: Any) -> st.SearchStrategy[dict[str, Any]]:
    """A body like this one, some of its values drawn."""
    return st.fixed_dictionaries(drawn).map(lambda new: base | new)


BEFORE = st.fixed_dictionaries(
    {"needed": st.booleans(), "cuts_own": st.just(False), "summary": TEXT},
    optional={"link": LINK, "who": WHO, "text": TEXT, "choices": st.lists(TEXT, max_size=3)},
)
CREDENTIAL = st.fixed_dictionaries({"provider": TEXT, "kind": TEXT, "id": TEXT, "fingerprint": TEXT, "account": TEXT})
REACHED = st.fixed_dictionaries(
    {"kind": st.sampled_from(["secret", "oidc-role"]), "name": TEXT, "scope": TEXT, "how": TEXT,
     "credential": st.none() | CREDENTIAL, "known": st.booleans()}
)  # fmt: skip
PLANT = st.fixed_dictionaries({"kind": st.sampled_from(["access-key", "user"]), "name": TEXT, "id": TEXT})
BODIES: dict[str, st.SearchStrategy[Any]] = {
    "triage": made(
        TRIAGE, credential=CREDENTIAL, live=st.sampled_from(["live", "dead", "unknown"]),
        exposure=st.sampled_from(["public", "internal", "unknown"]), reach=st.lists(REACHED, max_size=4),
        owners=st.lists(st.fixed_dictionaries({"name": WHO, "score": st.integers(0, 100), "reason": TEXT}), max_size=3),
        sightings=st.lists(st.fixed_dictionaries(
            {"where": TEXT, "line": st.integers(0, 9), "encoding": TEXT}), max_size=4),
    ),
    "severity": st.fixed_dictionaries(
        {"level": st.sampled_from(["critical", "low"]), "reason": TEXT}, optional={"rule": TEXT, "by": WHO}),
    "not-me": st.fixed_dictionaries({"by": WHO, "of": STEP}),
    "plan": st.fixed_dictionaries({"playbook": TEXT, "mode": st.sampled_from(["observe", "act"]), "steps": st.lists(
        st.fixed_dictionaries({"id": TEXT, "needs": st.lists(TEXT, max_size=3)}), max_size=4)}),
    "look": made(LOOK, before=BEFORE, breaks=st.fixed_dictionaries(
        {"stops": st.lists(TEXT, max_size=9), "unknown": st.booleans()}), undo=TEXT,
        kills=st.sampled_from([ROW, "aws-access-key:other", None]), asks=st.booleans(), ends=st.none(),
        uses=st.sampled_from(["aws.deactivate_access_key", "people.rotate_by_hand"])),
    "asked": made(ASKED, purpose=st.sampled_from(["step", "failure", "answer", "undo"]), what=TEXT, why=TEXT,
                  needs=st.integers(1, 2), expires_at=st.one_of(st.just(""), TIMES), undo=st.booleans(),
                  on_silence=st.sampled_from(["act", "hold", "escalate"]), tells=st.lists(TEXT, max_size=3)),
    "decided": made(DECIDED, go=st.booleans(), said=TEXT, by=st.lists(WHO, max_size=3), answer=TEXT),
    "outcome": made(OUTCOME, changed=st.booleans(), summary=TEXT, plants=st.lists(PLANT, max_size=30)),
    "proof": made(PROOF, verdict=st.sampled_from(["proven", "not_yet", "refuted"]),
                  grade=st.sampled_from(["refused", "state", "word"]), detail=TEXT),
    "failed": st.fixed_dictionaries(
        {"error": TEXT, "on_failure": st.sampled_from(["ask", "stop"]), "denied": st.booleans()}),
    "broken": st.fixed_dictionaries({"error": TEXT}),
    "skipped": st.fixed_dictionaries({"why": TEXT}),
    "silent": st.just({"asked": 1, "on_silence": "escalate"}),
    "escalated": st.fixed_dictionaries({"groups": st.lists(TEXT, max_size=3), "what": TEXT}),
    "sighting": st.fixed_dictionaries({"by": WHO, "source": TEXT, "url": TEXT, "text": TEXT}),
    "waived": st.fixed_dictionaries({"row": st.sampled_from([ROW, "aws-access-key:other"]), "by": WHO, "reason": TEXT}),
    "evidence": st.fixed_dictionaries({"files": st.lists(st.fixed_dictionaries({"name": TEXT, "size": st.just(9),
        "sha256": st.just("f" * 64), "original_sha256": st.just("")}), max_size=3)}, optional={"gap": TEXT}),
    "undone": st.fixed_dictionaries(
        {"outcome": st.just({}), "by": st.lists(WHO, max_size=2), "kills": st.none() | st.just(ROW)}),
    "undo-refused": st.fixed_dictionaries({"why": TEXT}),
    "note": st.fixed_dictionaries({"text": TEXT, "by": WHO, "act": st.booleans()}),
    "role": st.fixed_dictionaries({"role": st.sampled_from(["lead", "scribe"]), "who": WHO, "by": WHO}),
    "owner-answer": st.fixed_dictionaries({"said": st.sampled_from(["yes", "no"]), "by": WHO}),
    "paged": st.fixed_dictionaries({"to": TEXT}),
    "acknowledged": st.fixed_dictionaries({"by": WHO, "to": TEXT}),
    "page-failed": st.fixed_dictionaries({"to": TEXT, "error": TEXT}),
    "closed": st.just({"ledger": [], "failed": []}),
    "aborted": st.fixed_dictionaries({"by": WHO}),
}  # fmt: skip
EVENT = st.sampled_from(sorted(BODIES)).flatmap(lambda kind: st.tuples(STEP, st.just(kind), st.none() | BODIES[kind]))
OPENED_BODY = {"report": REPORT, "reported_at": iso(START), "world": "real", "title": "t", "playbook": {
    "id": "aws-access-key", "sha256": "ab" * 32, "source": "x"}}  # fmt: skip


def row(world: str = "real", title: str = "Leaked AWS access key", text: str = "our log shows a key") -> IncidentRow:
    """The incident's row."""
    return IncidentRow(
        id=ID, opened_at=iso(START), world=world, status="open", title=title, credential_key=ROW,
        body={"report": REPORT | {"text": text}, "playbook": {"id": "aws-access-key"}}, head_n=0, head_hash="",
    )  # fmt: skip


def picture(story: list[tuple[str, str, Any]], hours: float = 1, world: str = "real", **more: Any) -> Picture:
    """An incident whose timeline is this story, so many hours after its report."""
    return Picture(row=row(world), events=events(story), now=START + timedelta(hours=hours), **more)


@st.composite
def pictures(draw: st.DrawFn) -> Picture:
    """Any incident."""
    told = draw(st.lists(EVENT, max_size=25))
    story = [("incident", "opened", draw(st.none() | st.just(OPENED_BODY))), *told] if draw(st.booleans()) else told
    seen: dict[tuple[str, str], int] = {}
    numbered: list[Event] = []
    for event in events(story, apart=draw(st.sampled_from([0.5, 600]))):
        attempt = seen[event.step, event.kind] = seen.get((event.step, event.kind), 0) + 1
        numbered.append(Event(**{**{n: getattr(event, n) for n in Event.__slots__}, "attempt": attempt}))
    said = draw(st.lists(st.tuples(STEP, WHO, st.sampled_from(["approve", "deny", "answer"])), max_size=5))
    decisions = [
        DecisionRow(
            seq=k, incident=ID, step=step, kind=kind, by=by, at=iso(START), plan_hash=ASKED["plan_hash"], body={}
        )
        for k, (step, by, kind) in enumerate(said)
    ]
    drawn = row(draw(st.sampled_from(["real", "range"])), draw(TEXT), draw(TEXT))
    now = START + timedelta(seconds=draw(st.integers(0, 50 * 86_400)))
    return Picture(
        row=drawn, events=numbered, decisions=decisions, now=now, url=draw(st.sampled_from(["", "https://b.example"]))
    )
