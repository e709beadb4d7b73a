"""``bulkhead quiz``: check yourself. A question, how sure you are, and at once what is right and why."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from bot.app import Bulkhead, opened
from bot.cli import frame, page
from bot.errors import InputError
from bot.learn.boxes import DONE
from bot.learn.lint import lint
from bot.lessons.quiz import Answered, Put, Quiz
from bot.story import ASKS, BAD, DIM, GOOD, HEADING, Line

app = frame.group("Check yourself.")
SKIP, STOP = "s", "q"


@app.callback()
def _group() -> None:
    """One command would be no group."""


@app.command("quiz")
def quiz(
    count: Annotated[int, typer.Option("--count", min=1, max=50, help="How many questions.")] = 3,
    tag: Annotated[list[str] | None, typer.Option("--tag", help="Only of this tag; may be given again.")] = None,
    incident: Annotated[str, typer.Option(help="Questions of this incident instead.", show_default=False)] = "",
    answer: Annotated[list[str] | None, typer.Option(
        "--answer", help="Answer without being asked: ID=OPTION, as --json printed them; may be given again.",
        show_default=False)] = None,
    guess: Annotated[bool, typer.Option("--guess", help="With --answer: you are not sure of it.")] = False,
    team: Annotated[bool, typer.Option("--team", help="How the team does, by tag, from five people up.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Look through the bank of questions for mistakes.")] = False,
    by: Annotated[str, typer.Option("--by", "--as", help="Who answers; otherwise the user of this machine.",
                                    show_default=False)] = "",
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:  # fmt: skip
    """Check yourself: a few questions about leaked CI credentials. What you miss comes back after 1 to 60 days."""
    frame.quiet_logs()
    with opened(frame.settings_of(home), sites={}) as bulkhead:
        asked = bulkhead.quiz
        if check:
            _check(asked, json_=json_)
        elif team:
            _team(asked, json_=json_)
        elif answer:
            _answer(asked, frame.person(by), answer, sure=not guess, json_=json_)
        else:
            puts = _put(bulkhead, asked, frame.person(by), count, tag or [], incident)
            if json_:
                frame.document([_as_json(put) for put in puts])
            else:
                _ask(asked, puts)


def _put(bulkhead: Bulkhead, quiz_: Quiz, who: str, count: int, tags: list[str], incident: str) -> list[Put]:
    now = datetime.now(UTC)
    unknown = [tag for tag in tags if tag not in quiz_.bank.tags]
    if unknown:
        raise InputError(f"no question has the tag {unknown[0]!r}; there are: {', '.join(quiz_.bank.tags)}")
    if not incident:
        return quiz_.open(who, now, many=count, tags=tags)
    rows = [row for row in bulkhead.store.incidents() if row.id.startswith(incident)]
    if len(rows) != 1:
        raise InputError(f"say which incident; these begin so: {', '.join(row.id for row in rows) or 'none'}")
    return quiz_.put_after(who, rows[0].id, now, count)


# asking at a terminal ------------------------------------------------------------------------------------------------


def _ask(quiz_: Quiz, puts: list[Put]) -> None:
    """One after the other, until they are through, or the person has enough."""
    left = [put for put in puts if put.state == "asked"]
    if not left:
        page.lines([Line("You have answered these already. The next ones come with `bulkhead quiz`.")])
        return
    right = 0
    for k, put in enumerate(left, start=1):
        page.lines(_shown(put, f"Question {k} of {len(left)}"))
        said = _choice(put)
        if said == STOP:
            page.lines([Line("Enough for now. What was not answered is asked again.", style=DIM)])
            return
        if said == SKIP:
            quiz_.skip(put.person, put.asked, datetime.now(UTC))
            page.lines([Line("Skipped. It is no miss.", style=DIM), Line("")])
            continue
        sure = typer.confirm("  Are you sure?", default=True)
        answered = quiz_.answer(put.person, put.asked, said, datetime.now(UTC), sure=sure)
        right += answered.graded.right
        page.lines([*_said(answered), Line("")])
    back = len([one for one in quiz_.rows.cards(left[0].person) if one.box < DONE])
    waits = f" {back} of your questions will come back." if back else ""
    page.lines([Line(f"{right} of {len(left)} right.{waits}", style=HEADING)])


def _shown(put: Put, head: str) -> list[Line]:
    lines = [Line(head, style=HEADING), Line(put.question.ask), Line("")]
    return [*lines, *(Line(f"{k}. {text}") for k, (_id, text) in enumerate(put.options, start=1)), Line("")]


def _choice(put: Put) -> str:
    """The id of the option, or s, or q; asked again until it is one of these."""
    while True:
        prompt = f"  Your answer (1 to {len(put.order)}, {SKIP} to skip, {STOP} to stop)"
        said = str(typer.prompt(prompt)).strip().lower()
        if said in (SKIP, STOP):
            return said
        if said.isdecimal() and 1 <= int(said) <= len(put.order):
            return put.order[int(said) - 1]
        page.lines([Line(f"Say a number from 1 to {len(put.order)}, {SKIP} or {STOP}.", style=ASKS)])


def _said(answered: Answered) -> list[Line]:
    """What is said to an answer, at once."""
    graded = answered.graded
    lines = [Line("Right.", style=GOOD)] if graded.right else [Line(f"Not the best one. {graded.feedback}", style=BAD)]
    if not graded.right:
        lines.append(Line(f"Best: {graded.best}", style=GOOD))
        if answered.sure:
            lines.append(Line("You were sure, so this one is worth a second look.", style=ASKS))
    lines += [Line(f"Coach note: {graded.coach}"), Line(f"Source: {answered.put.question.source}", style=DIM)]
    if answered.again:
        lines.append(Line("It was answered before; the first answer stands.", style=DIM))
    if answered.back:
        lines.append(Line(f"It comes back from {answered.back:%Y-%m-%d}.", style=DIM))
    return lines


# for programs --------------------------------------------------------------------------------------------------------


def _as_json(put: Put) -> dict[str, Any]:
    return {
        "id": put.asked, "tag": put.question.tag, "incident": put.question.incident or None, "ask": put.question.ask,
        "options": [{"id": key, "text": text} for key, text in put.options], "state": put.state,
    }  # fmt: skip


def _answer(quiz_: Quiz, who: str, given: list[str], *, sure: bool, json_: bool) -> None:
    pairs = [one.rpartition("=") for one in given]
    wrong = next((one for one, (name, _, option) in zip(given, pairs, strict=True) if not (name and option)), None)
    if wrong is not None:
        raise InputError(f"--answer is ID=OPTION, as `bulkhead quiz --json` printed them, not {wrong[:60]!r}")
    now = datetime.now(UTC)
    done = [quiz_.answer(who, name, option, now, sure=sure) for name, _, option in pairs]
    if json_:
        frame.document([
            {
                "id": one.put.asked, "right": one.graded.right, "feedback": one.graded.feedback or None,
                "best": one.graded.best, "coach": one.graded.coach, "source": one.put.question.source,
                "counted": not one.again, "back": one.back.isoformat() if one.back else None,
            }
            for one in done
        ])  # fmt: skip
        return
    for one in done:
        page.lines([Line(one.put.question.ask, style=HEADING), *_said(one), Line("")])


def _team(quiz_: Quiz, *, json_: bool) -> None:
    found = quiz_.team()
    if json_:
        frame.document([{"tag": t.tag, "people": t.people, "answers": t.answers, "right": t.right} for t in found])
        return
    if not found:
        text = "No tag was answered by five people yet; below that a picture of the team would be one of persons."
        page.lines([Line(text)])
        return
    table = page.table("tag", "right", "answers", "people")
    for one in found:
        table.add_row(one.tag, f"{one.right:.0%}", str(one.answers), str(one.people))
    page.lines([table])


def _check(quiz_: Quiz, *, json_: bool) -> None:
    wrong = lint(quiz_.bank)
    if json_:
        frame.document({"questions": len(quiz_.bank.questions), "wrong": wrong})
    else:
        good = f"{len(quiz_.bank.questions)} questions with {len(quiz_.bank.tags)} tags; nothing to mend."
        page.lines([Line(text, style=BAD) for text in wrong] or [Line(good, style=GOOD)])
    if wrong:
        raise typer.Exit(frame.FAILED)
