"""``migrate OWNER/NAME``: what would change in a repository's workflows, and the order to open the pull request.

The form is opened empty, since Slack gives three seconds for that, and drawn anew once the files have been read: what
moves, what stays and why, and fields only for what no file tells. What is sent is the order of ``oidc migrate --open``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.actions.github_oidc import MigrationBefore, MigrationIn, open_migration
from bot.engine.rules import DRILL
from bot.errors import BulkheadError, DecisionRefused, InputError
from bot.slack import forms, kit
from bot.slack.commands import clip
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.payloads import Payload
from bot.triage.migration import KIND, ordered, problem

if TYPE_CHECKING:
    from bot.slack.room import Room

FORM = "migrate_form"
TITLE = "Move to OIDC"
FIELDS = {
    "role": ("ARN of the AWS role", "Left empty, Bulkhead makes one, if it may, and asks before."),
    "region": ("AWS region", "Left empty, a repository variable has to be set."),
    "environment": ("Environment of the jobs", "The identity is bound to it; left empty, to the default branch."),
    "session": ("Seconds of an AWS session", "900 to 43200; left empty, 900. The role has to allow more than 3600."),
}
USAGE = "say `migrate OWNER/NAME`, and what you know already as `role=…`, `region=…`, `environment=…`, `session=…`"
READING = "reading its workflows …"
UNREAD = "What would change is not known here: {why}. A worker looks before it asks, and its card says so."
LINES = 12  # of what moves and of what stays, each; the pull request has all
OBSERVES = "this installation only observes, so nothing would be opened: set BULKHEAD_MODE to ask"


def join(room: Room) -> None:
    """Bring the word ``migrate`` and its form."""
    room.commands.add("migrate", "OWNER/NAME", "move a repository's workflows from static secrets to OIDC", migrate)
    room.on("view_submission", FORM, submitted, answers=True)


def migrate(heard: Heard, text: str) -> None:
    """Open the form, read the files, draw the form with what was found. Raises DecisionRefused, InputError."""
    name, *words = text.split() or [""]
    name = name.removeprefix("https://github.com/").rstrip("/")
    known = dict(word.partition("=")[::2] for word in words)
    if set(known) - set(FIELDS):
        raise InputError(USAGE)
    try:
        ordered(name, **known)
    except InputError as exc:
        raise InputError(f"{clip(str(exc), 300)}; {USAGE}") from None
    _must(heard, name)
    view = heard.open(form(heard.channel, name, known, READING))
    try:
        heard.update(view, _drawn(heard, name, known))
    except BulkheadError:
        heard.say(f"`{clip(name)}`: the form was closed before I had read the workflows.")


def _must(heard: Heard, repository: str) -> None:
    """Raises DecisionRefused for whoever may not order, and where nothing would be opened."""
    house = heard.room.house
    if not heard.may("one"):
        raise DecisionRefused("you are not one of the responders; ask one of them", reason="wrong-person")
    mode = house.rules.policy.mode(KIND, repository, house.settings.mode)
    if heard.room.world != DRILL and mode == "observe":
        raise DecisionRefused(OBSERVES, reason="observes")


def _drawn(heard: Heard, name: str, known: dict[str, str]) -> Payload:
    """The form with what the files say, or why they could not be read."""
    make = heard.room.house.worlds.get(heard.room.world)
    if make is None:
        return form(heard.channel, name, known, UNREAD.format(why="this process has no clients"), ready=True)
    try:
        said = {field: known.get(field, "") for field in FIELDS}
        given = MigrationIn(
            repository=name, role=said["role"], region=said["region"], environment=said["environment"],
            session=said["session"],
        )  # fmt: skip
        found = open_migration.look(make(KIND), given)
    except BulkheadError as exc:
        return form(heard.channel, name, known, UNREAD.format(why=clip(str(exc), 400)), ready=True)
    return form(heard.channel, name, known, "", found)


def form(
    channel: str, repository: str, known: dict[str, str], said: str, found: MigrationBefore | None = None,
    *, ready: bool = False,
) -> Payload:  # fmt: skip
    """The form. It can be sent when there is something to open, or when nobody could look (``ready``)."""
    blocks = [kit.section(f"*{kit.escape(repository)}*" + (f": {said}" if said else ""))]
    sends = ready
    if found is not None:
        blocks += kit.sections(lines(found))
        sends = found.needed
    if sends:
        blocks += [_field(name, known.get(name, "")) for name in _wanted(found)]
    return forms.modal(
        FORM, TITLE, blocks, carried(c=channel, r=repository, **known), submit="Order it" if sends else ""
    )


def _wanted(found: MigrationBefore | None) -> list[str]:
    """The fields for what no file tells."""
    if found is None:
        return list(FIELDS)
    aws = any(one.provider == "aws" for one in found.moves)
    region = any("region" in one.lower() for one in found.asks)
    return [*(["role"] if aws else []), *(["region"] if region else []), "environment", *(["session"] if aws else [])]


def _field(name: str, known: str) -> Payload:
    label, hint = FIELDS[name]
    block = forms.words(name, label, 640 if name == "role" else 255, optional=True, hint=hint)
    block["element"] |= {"initial_value": known} if known else {}
    return block


def lines(found: MigrationBefore) -> list[str]:
    """What was found, what would change, what stays and why, what somebody has to set."""
    said = [f"{kit.escape(found.summary)}."]
    for mark, title, rows in (
        (":arrow_forward:", "gets an identity of its own", found.jobs),
        (":no_entry:", "stays as it is", found.kept),
        (":raising_hand:", "to be set by you", found.asks),
    ):
        said += [f"{mark} {title}: {kit.clip(kit.escape(row), 500)}" for row in rows[:LINES]]
        said += [f"{mark} and {len(rows) - LINES} more"] if len(rows) > LINES else []
    return said


def submitted(heard: Heard) -> None:
    """Land the order, once a delivery. Raises FormWrong with what is wrong in a field."""
    repository = str(heard.meta.get("r", ""))
    said = {name: heard.words(name) or str(heard.meta.get(name, "") if _hidden(heard, name) else "") for name in FIELDS}
    for name, text in said.items():
        try:
            problem(name, text)
        except InputError as exc:
            raise FormWrong({name: clip(str(exc), 200)}) from None
    try:
        _must(heard, repository)
    except DecisionRefused as exc:
        raise FormWrong({"environment": str(exc)}) from None
    order, house = ordered(repository, **said), heard.room.house
    standing = house.inbox.ordered(order, heard.room.world)
    if standing:
        heard.ack()
        heard.say(f"`{clip(repository)}` was ordered already: `{standing}`.")
        return
    otherwise = house.inbox.ordered_otherwise(order, heard.room.world)
    if otherwise:
        heard.ack()
        heard.say(f"`{clip(repository)}`: `{otherwise}` moves the same with other answers. End it first.")
        return
    landed = house.inbox.migration(
        order, by=heard.who, at=heard.at, world=heard.room.world, source="slack", delivery=heard.delivery.id
    )
    heard.ack()
    heard.say(
        f"The order for `{clip(repository)}` has landed as `{landed.id}`. Its card follows; each change is asked about "
        "there, and the pull request is merged by people of that repository."
    )


def _hidden(heard: Heard, name: str) -> bool:
    """Whether the form did not ask for it: then what was said with the command counts."""
    return name not in (heard.view.get("state") or {}).get("values", {})
