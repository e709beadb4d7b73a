"""Check yourself: a question in a form, after an incident, once a week, from the home, or by the word ``quiz``.

Whatever brought it, a question was put to one person under an id of its own; answered twice, the first answer counts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import DecisionRefused, InputError
from bot.lessons.quiz import Put, Quiz
from bot.posts import Posts
from bot.slack import homes, quiz_views
from bot.slack.commands import clip
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.payloads import Payload
from bot.slack.quiz_views import ASK, NEXT, OPEN, OPTION, SKIP, SURE, WEEKLY
from bot.store_learn import ASKED

if TYPE_CHECKING:
    from bot.slack.room import Room

ROUND = 3  # questions


def join(room: Room) -> None:
    """Bring the buttons, the forms and the word of the quiz."""
    room.on("block_actions", OPEN, begin)
    room.on("block_actions", SKIP, skip)
    room.on("block_actions", WEEKLY, subscribe)
    room.on("view_submission", ASK, answered, answers=True)
    room.on("view_submission", NEXT, further, answers=True)
    room.commands.add("quiz", "[weekly | stop]", "check yourself; weekly: a question a week by direct message", word)


def word(heard: Heard, text: str) -> None:
    """A round of questions, or a question a week."""
    if text in ("weekly", "stop"):
        _subscribe(heard, on=text == "weekly")
    elif text:
        raise InputError(f"say `quiz`, `quiz weekly` or `quiz stop`, not {clip(text)!r}")
    else:
        _open(heard, _quiz(heard).open(heard.who, heard.at, many=ROUND))


def begin(heard: Heard) -> None:
    """A button: the questions of an incident, one that was put already, or a round."""
    incident, asked = str(heard.value.get("i", "")), str(heard.value.get("s", ""))
    quiz = _quiz(heard)
    if incident:
        _open(heard, quiz.put_after(heard.who, incident, heard.at))
    elif asked and asked != "self":
        _open(heard, [quiz.find(heard.who, asked)])
    else:
        _open(heard, quiz.open(heard.who, heard.at, many=ROUND))


def skip(heard: Heard) -> None:
    """Leave it; it is no miss."""
    if _quiz(heard).skip(heard.who, str(heard.value.get("s", "")), heard.at):
        heard.say("Skipped. It is no miss, and the next one comes another time.")
    else:
        heard.say("It was answered or skipped before.")


def subscribe(heard: Heard) -> None:
    """One a week, or no more of them."""
    _subscribe(heard, on=heard.value.get("i") == "on")


def _subscribe(heard: Heard, *, on: bool) -> None:
    _quiz(heard).weekly(heard.who, heard.at, on=on)
    homes.redraw(Posts(heard.room.house.store), heard.user)
    heard.say(
        "You get a question a week by direct message, and what you missed when it is due. Never at night." if on else
        "No more questions by direct message. `quiz` asks you one whenever you like."
    )  # fmt: skip


def answered(heard: Heard) -> None:
    """Grade an answer, and show in the form what is to be said of it."""
    quiz, asked = _quiz(heard), str(heard.meta.get("q", ""))
    option, sure = heard.field(OPTION), heard.field(SURE)
    if not option or not sure:
        raise FormWrong({OPTION if not option else SURE: "Choose one; close the form to leave it for later."})
    try:
        said = quiz.answer(heard.who, asked, option, heard.at, sure=sure == "yes")
    except (InputError, DecisionRefused) as exc:
        raise FormWrong({OPTION: str(exc)}) from None
    more = _next(quiz, heard.who, asked) is not None
    heard.ack(response_action="update", view=quiz_views.told(said, carried(q=asked), more=more))
    homes.redraw(Posts(heard.room.house.store), heard.user)


def further(heard: Heard) -> None:
    """The next question of the round, in the same form."""
    quiz, asked = _quiz(heard), str(heard.meta.get("q", ""))
    found = _next(quiz, heard.who, asked)
    if found is not None:
        heard.ack(response_action="update", view=_form(quiz, heard, found))


def _next(quiz: Quiz, who: str, asked: str) -> Put | None:
    """What is not answered of the round that this one was put in."""
    return next((one for one in quiz.round(who, asked) if one.state == ASKED and one.asked != asked), None)


def _open(heard: Heard, puts: list[Put]) -> None:
    left = [one for one in puts if one.state == ASKED]
    if not left:
        heard.say("You have answered these already. `quiz` asks you others.")
        return
    heard.open(_form(_quiz(heard), heard, left[0]))


def _form(quiz: Quiz, heard: Heard, put: Put) -> Payload:
    whole = quiz.round(heard.who, put.asked)
    place = next((k for k, one in enumerate(whole, 1) if one.asked == put.asked), 1)
    return quiz_views.question(put, (place, max(len(whole), 1)), carried(q=put.asked))


def _quiz(heard: Heard) -> Quiz:
    return heard.room.house.quiz
