"""The page of a post-mortem: what the timeline says under NIST's headings, as Markdown and as one HTML file."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.learn import document
from bot.learn.document import Bullets, Document, Grid, Link, Para, Section, defang
from bot.learn.draft import draft
from bot.learn.edits import fold
from bot.learn.follow_up import follow_up
from bot.learn.postmortem import Standing, page
from bot.slack.picture import Picture
from tests.incidents import ASKED, CLOSED, CUT, ID, OUTCOME, TRIAGE, events
from tests.learn.test_edits import E
from tests.slack.timelines import pictures

HEADINGS = [
    "Detect (DE.CM, DE.AE)", "Respond: analysis (RS.AN)", "Respond: mitigation (RS.MI)", "Recover (RC.RP)",
    "Identify: improvement (ID.IM)", "Protect: the durable fix (PR.AA)", "Govern: who decided (GV.RR)",
]  # fmt: skip
PLANT = {"kind": "user", "name": "svc", "id": "", "at": ""}
FIX = [E(1, "The key is gone; OIDC since today", field="durable_fix", by="bob")]


def text_of(story: list[tuple[str, str, object]] = CLOSED, edits: list[E] = FIX, **more: object) -> str:
    found = draft(ID, "Leaked AWS access key", "real", events(story))
    return document.markdown(page(found, fold(edits), [], **more))  # type: ignore[arg-type]


def test_everything_that_the_timeline_says_is_there() -> None:
    text = text_of()
    assert [line[3:] for line in text.splitlines() if line.startswith("## ") and line[3:] in HEADINGS] == HEADINGS
    for words in (
        "| 2026-03-01 11:00:00 UTC | 2026-03-01 12:00:15 UTC |", "jonas (at the command line) | 1 h 0 min | critical",
        "| to the first cut | 9.0 s |", "| waiting for approval | 1.5 s |", "| tail | 4.5 s |",
        "the old value was tried and refused", "Who made it is not in the trail.", "deactivate approved: ann",
        "It stood there as base64", "The key is gone; OIDC since today", "Written by bob",
        "Nobody has written this yet.",
    ):  # fmt: skip
        assert words in text, words


def test_what_went_badly_follows_from_events_and_nothing_is_made_up() -> None:
    bad = [*CUT, ("x", "failed", {"error": "no answer", "on_failure": "ask", "denied": False}),
           ("y", "evidence", {"files": [], "gap": "not saved within 5 s"}), ("z", "silent", {"asked": 1}),
           ("incident", "waived", {"row": "secret:repository:OTHER", "by": "ann", "reason": "a toy"})]  # fmt: skip
    found = draft(ID, "t", "real", events(bad))
    assert [text.split(":")[0] for text in found.badly if "failed" in text or "Evidence" in text] == [
        "x failed", "Evidence of y is missing",
    ]  # fmt: skip
    assert any("Nobody answered in time to z" in text for text in found.badly)
    assert found.over == "" and found.exposed_until == "", "its session lives on"
    quiet = draft(ID, "t", "real", events(CLOSED))
    assert quiet.over == "closed"
    assert not any("failed" in text or "Evidence" in text for text in quiet.badly)
    made = [*CUT[:-2], ("find", "outcome", OUTCOME | {"plants": [PLANT]})]
    assert draft(ID, "t", "real", events(made)).misuse[0].startswith("user svc")


def test_two_who_wrote_at_once_are_both_on_the_page() -> None:
    text = text_of(edits=[E(1, "ann's words"), E(2, "bob's words", by="bob")])
    assert "ann's words" in text and "Written by bob at the same time:" in text and "bob's words" in text


def test_a_follow_up_has_its_owner_its_check_and_a_link_to_its_issue() -> None:
    one = follow_up("a1", title="Take it out", owner="ann", due="2026-12-01", check="key-dead AKIAMADEUPKEY7EXAMPL")
    stands = Standing(
        what=one, state="reopened", detail="old secret still exists", url="https://github.com/o/r/issues/7"
    )
    found = page(draft(ID, "t", "real", events(CLOSED)), fold([]), [stands])
    text, html = document.markdown(found), document.page(found)
    assert "| Take it out | ann | 2026-12-01 |" in text and "reopened: old secret still exists" in text
    assert "](https://github.com/o/r/issues/7)" in text
    assert 'href="https://github.com/o/r/issues/7"' in html


def test_indicators_are_defanged_and_our_own_links_are_not() -> None:
    evil = TRIAGE | {"unknown": ["It went to https://evil.example/x?q=1 at 203.0.113.7, by mallory@evil.example"]}
    story = [*CLOSED[:1], ("incident", "triage", evil), *CLOSED[2:]]
    for shown in (text_of(story), document.page(page(draft(ID, "t", "real", events(story)), fold([]), []))):
        assert "evil.example" not in shown and "203.0.113.7" not in shown
    shown = defang("see HTTPS://Evil.example:8443/a.b and wss://x.y, 203.0.113.7:80, a@b.example v1.2.3 deploy.yml")
    assert shown == (
        "see hxxps://Evil[.]example:8443/a.b and wxss://x[.]y, 203[.]0[.]113[.]7:80, a[@]b[.]example v1.2.3 deploy.yml"
    )
    assert defang(shown) == shown


def test_it_is_scrubbed() -> None:
    assert "it was GONE" in text_of(edits=[E(1, "it was hunter2", field="durable_fix")],
                               scrub=lambda text: text.replace("hunter2", "GONE"))  # fmt: skip
    assert "hunter2" not in text_of(edits=[E(1, "hunter2", field="lucky")], scrub=lambda t: t.replace("hunter2", "-"))


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "h2", "p", "br", "ul", "li", "table", "thead",
    "tbody", "tr", "th", "td", "a",
}  # fmt: skip
MARKS = st.text(alphabet=st.sampled_from(list("<>&\"'|*_`#[]()!-@ \nab1.:/")), max_size=40)


@settings(max_examples=80, deadline=None)
@given(MARKS, MARKS, MARKS)
def test_what_people_write_is_text_and_nothing_else(one: str, two: str, three: str) -> None:
    made = Document(one, (Section(two, (Para(three), Bullets((one, two)), Grid(("a", "b"), ((one, two),)),
                                        Link(one, "https://b.example/x"))),))  # fmt: skip
    read = Tags()
    read.feed(document.page(made))
    assert read.open == []
    assert {tag for tag, _ in read.seen} <= TAGS
    assert [attrs["href"] for tag, attrs in read.seen if tag == "a"] == ["https://b.example/x"]
    text = document.markdown(made)
    assert re.search(r"(?<!\\)<(?!br)", text) is None
    assert len([line for line in text.splitlines() if line.startswith("#")]) == 2, "no heading of theirs"
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    assert re.search(r"@(?!\u200b)", text) is None, "nobody is called"


def test_a_link_that_is_none_of_ours_cannot_be_followed() -> None:
    for url in ("javascript:alert(1)", "http://evil.example", "data:text/html,x"):
        assert f'href="{url}"' not in document.page(Document("t", (Section("s", (Link("x", url),)),)))


def test_the_file_needs_nothing_from_anywhere() -> None:
    html = document.page(page(draft(ID, "t", "range", events(CLOSED)), fold(FIX), []))
    assert "src=" not in html and "@import" not in html and "url(" not in html and "<script" not in html
    assert "default-src &#x27;none&#x27;" in html and "A drill: nothing of it is real." in html


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(pictures())
def test_whatever_a_timeline_holds_it_is_drafted(drawn: Picture) -> None:
    found = page(draft(ID, "t", drawn.row.world, drawn.events), fold([]), [])
    read = Tags()
    read.feed(document.page(found))
    assert read.open == []
    assert ASKED["plan_hash"] not in document.markdown(found)
