"""Reporting a leak: the command, two shortcuts and their form, which says while it is filled what was recognised.

The form is opened empty of anything slow, since Slack gives three seconds for that. Its secret field goes to the vault
before this module sees the form; here it is a fingerprint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bot.errors import BulkheadError, InputError
from bot.model import Exposure, Liveness, Machine
from bot.slack.border import plain
from bot.slack.client import slack_errors
from bot.slack.commands import clip
from bot.slack.heard import FormWrong, Heard, carried
from bot.slack.payloads import Payload
from bot.triage.identify import Found
from bot.triage.liveness import GITHUB_KINDS, liveness
from bot.triage.token import token_facts
from bot.world import World

if TYPE_CHECKING:
    from bot.slack.room import Room

FORM = "report_form"
CHECK = "check_secret"
EXPOSURES = {"public": "Everybody could see it", "internal": "Only insiders", "unknown": "I do not know"}
MACHINES = {"exists": "Yes, and it still exists", "none": "No, or it is gone", "unknown": "I do not know"}
WORDS = {Liveness.LIVE: "live", Liveness.DEAD: "no longer works", Liveness.UNKNOWN: "whether it works is unknown"}
NOTED = (
    "Your report has landed as `{id}`. The incident's card follows as soon as triage has begun; what you entered as a "
    "secret is sealed, and shown nowhere."
)


def join(room: Room) -> None:
    """Bring the word ``report``, the shortcuts and the form."""
    room.commands.add("report", "[what leaked, or where]", "report a leaked credential", report)
    room.on("shortcut", "report_leak", begin)
    room.on("block_actions", "report_leak", begin)  # the button of the app's home
    room.on("message_action", "report_message", report_message)
    room.on("block_actions", CHECK, recognise)
    room.on("block_actions", "leaked_secret", recognise)
    room.on("view_submission", FORM, submitted, answers=True)


def report(heard: Heard, text: str) -> None:
    """The form, with the place filled in that stands behind the word."""
    begin(heard, where=text)


def begin(heard: Heard, where: str = "") -> None:
    """Open the form."""
    heard.open(form(heard.channel, where=where))


def report_message(heard: Heard) -> None:
    """A message that holds a secret: it is reported as it stands, and its writer is not waited for."""
    message = heard.body.get("message") or {}
    said = heard.room.border.restore(heard.owner, plain(str(message.get("text", ""))))
    place = f"a message in <#{heard.channel}>, which everybody there could read"
    try:
        landed = heard.room.report(heard, said, exposure=Exposure.INTERNAL)
    except InputError:
        begin(heard, where=_link(heard, str(message.get("ts") or heard.body.get("message_ts") or "")))
        return
    heard.say(
        f"{NOTED.format(id=landed.id)} It stood in {place}. Deleting the message does not contain it: it is treated as "
        "exposed. Delete it all the same, as soon as nobody needs it as evidence."
    )


def _link(heard: Heard, ts: str) -> str:
    try:
        with slack_errors("say where the message is"):
            return str(heard.room.client.chat_getPermalink(channel=heard.channel, message_ts=ts)["permalink"])
    except BulkheadError:
        return ""


# the form -------------------------------------------------------------------------------------------------------------


def form(channel: str, *, where: str = "", said: str = "") -> Payload:
    """The form. ``said``: what was recognised. Drawn anew, it keeps what was entered: its fields keep their ids."""
    recognised = said or "Enter the secret itself if you have it: with it I can prove that it is dead."
    return {
        "type": "modal", "callback_id": FORM, "private_metadata": carried(c=channel),
        "title": _plain("Report a leak"), "submit": _plain("Report"), "close": _plain("Cancel"),
        "blocks": [
            {"type": "input", "block_id": "secret", "optional": True, "dispatch_action": True,
             "label": _plain("What leaked: the secret itself"),
             "hint": _plain("Sealed at once and shown nowhere. Of an AWS key: the id, a space, the secret."),
             "element": {"type": "plain_text_input", "action_id": "leaked_secret", "multiline": True,
                         "dispatch_action_config": {"trigger_actions_on": ["on_character_entered"]}}},
            {"type": "context", "block_id": "recognised", "elements": [{"type": "mrkdwn", "text": recognised}]},
            {"type": "actions", "block_id": "check", "elements": [
                {"type": "button", "action_id": CHECK, "text": _plain("What is it?"), "value": "{}"}]},
            {"type": "input", "block_id": "where", "optional": True,
             "label": _plain("Or only where, or its id"),
             "hint": _plain("Address of a run, commit, file or message; an access key id; an image."),
             "element": {"type": "plain_text_input", "action_id": "where", "max_length": 3000,
                         **({"initial_value": where[:3000]} if where else {})}},
            {"type": "input", "block_id": "repository", "optional": True, "label": _plain("Repository"),
             "element": {"type": "plain_text_input", "action_id": "repository", "max_length": 200,
                         "placeholder": _plain("OWNER/NAME")}},
            _choice("exposure", "Who could have seen it?", EXPOSURES),
            _choice("machine", "Did code run on a machine of ours?", MACHINES),
            {"type": "input", "block_id": "machine_name", "optional": True, "label": _plain("Which machine?"),
             "element": {"type": "plain_text_input", "action_id": "machine_name", "max_length": 200}},
        ],
    }  # fmt: skip


def _choice(name: str, label: str, options: dict[str, str]) -> Payload:
    made = [{"text": _plain(text), "value": value} for value, text in options.items()]
    element = {"type": "static_select", "action_id": name, "options": made, "initial_option": made[-1]}
    return {"type": "input", "block_id": name, "label": _plain(label), "element": element}


def _plain(text: str) -> Payload:
    return {"type": "plain_text", "text": text}


def submitted(heard: Heard) -> None:
    """Land the form's report, then close the form; a form that names nothing stays open and says so."""
    machine = Machine(heard.field("machine") or "unknown")
    repository = heard.field("repository")
    secret = heard.secret("leaked_secret")
    if heard.field("leaked_secret") and not secret:
        raise FormWrong({"secret": "The secret was forgotten before it was read; enter it again."})
    words = [plain(heard.room.border.restore(heard.owner, heard.field("where"))), repository, secret]
    try:
        landed = heard.room.report(
            heard, "\n".join(filter(None, words)), exposure=Exposure(heard.field("exposure") or "unknown"),
            machine=machine, machine_name=heard.field("machine_name") if machine is Machine.EXISTS else "",
        )  # fmt: skip
    except InputError:
        text = "I recognise nothing in this: give the secret, an access key id, or the address of a run or an image."
        raise FormWrong({"secret" if secret else "where": text}) from None
    heard.ack()
    heard.say(NOTED.format(id=landed.id))


# recognition ----------------------------------------------------------------------------------------------------------


def recognise(heard: Heard) -> None:
    """Say in the open form what was entered: its kind, whose it is, whether it works."""
    secret = heard.secret("leaked_secret")
    found = [one for one in heard.room.border.recognizer.find(secret) if one.kind != "generic"] if secret else []
    if not found:
        text = "I do not recognise this; report it all the same, with where it leaked." if secret else ""
        _show(heard, text)
        return
    best = max(found, key=lambda one: (one.complete, bool(one.value)))
    _show(heard, f"*{_kind(best)}*: asking whether it works …")
    _show(heard, f"*{_kind(best)}*: {_facts(heard, best)}")


def _show(heard: Heard, text: str) -> None:
    """Draw the form with this line. It may be closed or gone on by now, which is nobody's loss."""
    try:
        heard.update(str(heard.view.get("id", "")), form(heard.channel, said=text))
    except BulkheadError:
        return


def _kind(found: Found) -> str:
    name = found.kind.replace("-", " ").replace("github pat fine grained", "GitHub fine-grained token")
    name = name.replace("github pat classic", "GitHub classic token").replace("aws", "AWS").replace("github", "GitHub")
    of = f" of account {found.account}" if found.account else ""
    half = "" if found.complete else " (only a part of it)"
    return clip(f"{name}{f' {found.id}' if found.id else ''}{of}{half}", 200)


def _facts(heard: Heard, found: Found) -> str:
    """Whether it works, and whose it is. The value is opened by the World's own clients and goes nowhere else."""
    room = heard.room
    make = room.house.worlds.get(room.world)
    if make is None:
        return "whether it works is found out when the incident begins"
    world = make(heard.owner)
    state, why = liveness(world, found.credential)
    whose = _whose(world, found) if state is Liveness.LIVE else ""
    return f"{whose}{WORDS[state]} ({clip(why, 300)})"


def _whose(world: World, found: Found) -> str:
    if found.kind not in GITHUB_KINDS:
        return ""
    facts = token_facts(world, found.credential, [])
    owners = sorted({str(row["owner"]["login"]) for row in facts.repositories} - {facts.login})
    reach = f", reaches {', '.join(owners[:3])}" if owners else ""
    return f"of {clip(facts.login)}{clip(reach, 200)}; " if facts.login else ""
