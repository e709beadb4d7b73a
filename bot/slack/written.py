"""The post-mortem in Slack: who writes what, follow-ups, publishing. What several people write at once is all kept."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from bot.errors import DecisionRefused, InputError
from bot.learn.follow_up import FollowUp, follow_up
from bot.lessons.postmortem import Postmortems, View
from bot.slack import written_views as views
from bot.slack.decisions import mentions
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.kit import code
from bot.slack.names import user_of

if TYPE_CHECKING:
    from bot.slack.room import Room


def join(room: Room) -> None:
    """Bring the buttons and forms of post-mortems."""
    room.on("block_actions", views.WRITE, ask_words)
    room.on("block_actions", views.CORRECT, ask_words)
    room.on("view_submission", views.WORDS, words_said, answers=True)
    room.on("block_actions", views.ADD, ask_follow_up)
    room.on("block_actions", views.CHANGE, ask_follow_up)
    room.on("view_submission", views.FOLLOW, follow_up_said, answers=True)
    room.on("block_actions", views.SAY_DONE, done)
    room.on("block_actions", views.PUBLISH, publish)


def _books(heard: Heard) -> Postmortems:
    return heard.room.house.postmortems


def _may_write(heard: Heard, view: View) -> bool:
    """Responders write, and whoever reported it."""
    return heard.who == view.row.body["report"]["by"] or heard.may("one")


def _view(heard: Heard, incident: str) -> View:
    """The post-mortem that a button is about. Raises DecisionRefused for somebody who may not write it."""
    view = _books(heard).view(incident)
    if not _may_write(heard, view):
        why = "you are not one of the responders of this incident; tell one of them"
        raise DecisionRefused(why, reason="wrong-person")
    return view


# words ---------------------------------------------------------------------------------------------------------------


def ask_words(heard: Heard) -> None:
    """Open the form with what stands there now; it carries the number of the last edit that is in it."""
    which = str(heard.action.get("action_id", ""))
    view = _view(heard, str(heard.value.get("i", "")))
    if view.published:
        raise InputError("it is published, and stays as it is; follow-ups still can be changed")
    heard.open(views.words(view, which, _carried(view, which)))


def _carried(view: View, which: str) -> str:
    return carried(i=view.row.id, n=str(view.written.last), f=which)


def words_said(heard: Heard) -> None:
    """Take what was written. Where somebody else wrote at the same time, the form shows both words and stays open."""
    incident, which = str(heard.meta.get("i", "")), str(heard.meta.get("f", ""))
    names, seen = views.ASKED if which == views.WRITE else views.DRAFTED, int(heard.meta.get("n") or 0)
    try:
        _view(heard, incident)
        said = {name: heard.field(views.named(name, seen)) for name in names}
        view = _books(heard).edit(incident, said, by=heard.who, key=heard.delivery.id, seen=seen)
    except (InputError, DecisionRefused) as exc:
        raise FormWrong({views.named(names[0], seen): str(exc)}) from None
    if any(name in view.written.conflicts for name in names):
        heard.ack(response_action="update", view=views.words(view, which, _carried(view, which), beside=True))
        return
    heard.ack()
    heard.say(f"Saved. The post-mortem of {code(incident, 100)} has your words.")


# follow-ups ----------------------------------------------------------------------------------------------------------


def ask_follow_up(heard: Heard) -> None:
    """Open the form of a new follow-up, or of the one that was chosen."""
    view = _view(heard, str(heard.value.get("i", "")))
    name = str(heard.value.get("s", ""))
    known = {one.what.id: one.what for one in view.follow_ups}
    if name and name not in known:
        raise InputError("that follow-up was taken out meanwhile")
    carries = carried(i=view.row.id, n=str(view.written.last), s=name)
    heard.open(views.follow_up(view, known.get(name), carries))


def follow_up_said(heard: Heard) -> None:
    """Take a follow-up. A new one is named after the delivery, so that one form makes one of them."""
    incident, name = str(heard.meta.get("i", "")), str(heard.meta.get("s", ""))
    name = name or sha256(heard.delivery.id.encode()).hexdigest()[:6]
    try:
        view = _view(heard, incident)
        one = _made(heard, view, name)
        view = _books(heard).follow(
            incident, one, by=heard.who, key=heard.delivery.id, seen=int(heard.meta.get("n") or 0)
        )
    except (InputError, DecisionRefused) as exc:
        raise FormWrong({"title": str(exc)}) from None
    heard.ack()
    beside = view.written.conflicts.get(f"follow-up:{name}")
    more = " Somebody else changed it too: both stand until one of you writes it anew." if beside else ""
    heard.say(f"Saved: {code(one.title, 200)}.{more}")


def _made(heard: Heard, view: View, name: str) -> FollowUp:
    old = next((one.what for one in view.follow_ups if one.what.id == name), None)
    user, chosen = heard.field("owner"), heard.field("check")
    owner = heard.room.house.rules.human(f"slack:{user}") if user else ""
    if not user and old is not None and not user_of(old.owner):
        owner = old.owner  # somebody whom Slack does not know: the form cannot show them
    try:
        check = views.check_of(view, chosen)
    except IndexError:
        check = old.check if old else ""
    return follow_up(
        name, title=heard.words("title"), owner=owner, due=heard.field("due"), rung=heard.field("rung"), check=check
    )


def done(heard: Heard) -> None:
    """A person says that a follow-up is done which no machine looks at."""
    view = _view(heard, str(heard.value.get("i", "")))
    _books(heard).done(view.row.id, str(heard.value.get("s", "")), by=heard.who)
    heard.say("Noted as done.")


# publishing ----------------------------------------------------------------------------------------------------------


def publish(heard: Heard) -> None:
    """Publish it by the word of whoever may decide; the worker opens the follow-ups."""
    incident, house = str(heard.value.get("i", "")), heard.room.house
    url = house.settings.web_url
    try:
        view = _books(heard).publish(
            incident, by=heard.who, sign=house.attestor.sign, said=heard.vouched(),
            url=f"{url}/incidents/{incident}" if url else "",
        )  # fmt: skip
    except (InputError, DecisionRefused) as exc:
        heard.say(mentions(str(exc)))
        return
    heard.say(f"The post-mortem of {code(view.row.id, 100)} is published; its follow-ups are being opened.")
