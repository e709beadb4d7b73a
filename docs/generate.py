"""Writes ``docs/reference.md`` from the code: ``make docs``. A test holds it."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

import typer

from bot import reference
from bot.__main__ import app as command_line
from bot.action import Action
from bot.actions import CATALOGUE
from bot.app import SHIPPED
from bot.model import Effect, Grade
from bot.playbook import Playbook, load_folder
from bot.settings import Settings
from docs import identities

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "reference.md"

# What each kind of event on a timeline says. A test holds that the code writes these kinds and no others.
EVENTS = {
    "opened": "The incident begins: the report (scrubbed), its World, the playbook and its SHA-256.",
    "sighting": "The same credential was reported again while this incident was open.",
    "seen-again": "The credential of this closed incident was seen at a new place; another incident looks at it anew.",
    "scanner-closed": "A scanner says that its alert is over; without a revocation that itself is a signal.",
    "storm": "Many alerts came at once: from here on the less urgent ones wait in the inbox. Told once, by the first.",
    "merged": "The same credential has another incident, which has all that was seen and goes on; no new step here.",
    "triage": "Which credential, whether it works, whose it is, who could see it, what is in reach, what is unknown.",
    "severity": "How bad it is: by the rule of the policy, later by a person, with the reason.",
    "plan": "The playbook's steps in the order in which they can run, and the mode: observe, ask or act.",
    "planned": "A look that only fills the card, of a step whose turn comes later or, in mode observe, never.",
    "planned-later": "A step that cannot be looked at yet, since it depends on what another step will find.",
    "look": "Before: what the step found, what it would stop, whether it can be undone, what policy says.",
    "asked": "A question to people: how many must agree, by when, what silence means, the hash of the plan.",
    "silent": "The time to answer has passed; whether it waits on or more people are told.",
    "escalated": "Nobody has answered in time: the groups of the policy that are told now.",
    "break-glass": "One person's word counted for two: who, why, and until when a second person reviews it.",
    "reviewed": "A second person has looked at a broken glass.",
    "decided": "What people said, and who. When silence decided, nobody is named.",
    "evidence": "Files that were saved first, each with its SHA-256; or the gap, when a cut did not wait for them.",
    "outcome": "The provider took the change. Not a proof. Says until when the proof must stand.",
    "proof": "An independent look: proven with its grade, not yet, or refuted.",
    "paused": "A provider asks for a pause, and for how long; it goes on by itself.",
    "frozen": "The installation is frozen, so the step does not begin to change anything: by whom, since when, why.",
    "thawed": "The freeze is over, by whom and why; the step goes on where it waited.",
    "failed": "The step ended without its effect, and why; said again for each attempt.",
    "skipped": "There was nothing to do it to, or its `when` did not hold.",
    "undone": "The step was taken back, who agreed, and which row of the ledger is open again.",
    "undo-refused": "The step was not taken back: denied, not possible, or the state is no longer ours.",
    "tail-ended": "What had been minted from a dead credential has expired by itself.",
    "note": "What somebody did by hand, or how it stands, in their own words.",
    "role": "Who has a role from now on, such as the lead, and who said so.",
    "not-me": "Somebody who was asked is not the one to decide; the others go on being asked.",
    "postmortem": "The post-mortem was drafted, or published, by whom and with which SHA-256.",
    "migration": "What has become of a migration's pull request, asked by the clock, also after the close.",
    "follow-up": "A follow-up has become open, done or reopened, and what the look at it found.",
    "owner-answer": "The likely owner's answer to whether it was them.",
    "paged": "Somebody was woken, and by what.",
    "page-failed": "Nobody could be woken, and why; it is tried again.",
    "acknowledged": "Who has taken the page.",
    "child": "Another credential in reach has an incident of its own; its row here waits for that one.",
    "child-ended": "The incident of another credential in reach is over: what it has proven of the row.",
    "waived": "A named person closes a row without proof, with the reason.",
    "aborted": "A person stopped the incident, or its drill's range is gone: no new step begins, what was done stands.",
    "drill-ended": "The attacker of a drill has tried again: what was refused, what works, whether it was contained.",
    "drill-scored": "What was chosen in a drill, how it is scored, and what there is to do; no name of a person.",
    "broken": "A fault of Bulkhead itself ended the run; the next start takes it up under an id of its own.",
    "closed": "Every row is closed on proof or waived; the ledger as it stands then.",
}
GRADES = {
    Grade.REFUSED: "the old value was tried and refused",
    Grade.STATE: "the provider's own record shows it",
    Grade.WORD: "a person says so",
}
_HEAD = """\
# Reference

Written by `make docs` from the code; do not edit. [Commands](#commands), [settings](#settings), [actions](#actions),
[playbooks](#playbooks), [events of the timeline](#events-of-the-timeline).
"""


def render() -> str:
    """The whole page."""
    parts = [_HEAD, *_commands(), *_settings(), *_actions(), *_playbooks(), *_events()]
    return "\n".join(line.rstrip() for line in "\n".join(parts).splitlines()) + "\n"


# commands -------------------------------------------------------------------------------------------------------------


def commands() -> dict[str, Any]:
    """Every command by what is typed, without the groups."""
    top = typer.main.get_command(command_line)
    context = top.make_context("bulkhead", ["range", "up"], resilient_parsing=True)
    return dict(_walk(top, "bulkhead", context))


def _walk(command: Any, name: str, context: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "list_commands"):
        yield name, command
        return
    for each in command.list_commands(context):
        yield from _walk(command.get_command(context, each), f"{name} {each}", context)


def _commands() -> Iterator[str]:
    yield "\n## Commands\n"
    yield "Exit statuses: 0 done, 1 it did not work, 2 what was typed or set is wrong, 3 a decision that does not"
    yield "count, 130 stopped by Ctrl-C.\n"
    for name, command in commands().items():
        yield f"### {name}\n"
        yield _prose(command.help or "")
        params = [p for p in command.params if not p.hidden and p.name != "help"]
        if params:
            yield "\n| | |\n|---|---|"
        for param in params:
            written = ", ".join(f"`{opt}`" for opt in (*param.opts, *param.secondary_opts))
            if not param.opts[0].startswith("-"):
                written = f"`{param.opts[0].upper()}`"
            must = "" if param.required or param.opts[0].startswith("-") else " May be left out."
            yield f"| {written} | {_cell((param.help or '') + must)} |"
        yield ""


# settings -------------------------------------------------------------------------------------------------------------


def variables() -> dict[str, Any]:
    """Every environment variable that is read, with its field."""
    return {f"BULKHEAD_{name.upper()}": field for name, field in Settings.model_fields.items()}


def _settings() -> Iterator[str]:
    yield "\n## Settings\n"
    yield "Environment variables, read once at the start. None is needed for a drill. AWS's own identity is found by"
    yield "boto3 in its usual places (`AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, an instance role, ...).\n"
    for name, field in variables().items():
        default = field.get_default(call_default_factory=False)
        if field.default_factory is not None:
            said = "The user's data folder for `bulkhead`."
        elif hasattr(default, "get_secret_value") or default in ("", None, 0):
            said = "Not set."
        else:
            said = f"`{default}`."
        yield f"### {name}\n\n{_sentence(field.description or '')}\n\nDefault: {said}\n"


# actions --------------------------------------------------------------------------------------------------------------


def _actions() -> Iterator[str]:
    yield "\n## Actions\n"
    yield "What a playbook's `uses` may name. `read` changes nothing; `contain` cuts or stops; `change` puts something"
    yield "else in place; `destroy` removes for good and waits for its evidence. What a step stops working is found out"
    yield "by its look, each time.\n"
    for effect in Effect:
        names = [f"[`{a.name}`](#{_anchor(a.name)})" for a in CATALOGUE.values() if a.effect is effect]
        if names:
            yield f"- **{effect.value}**: {', '.join(names)}"
    yield ""
    for action in CATALOGUE.values():
        yield from _action(action)


def _action(action: Action[Any, Any, Any]) -> Iterator[str]:
    yield f"### {action.name}\n"
    person = " A person's step: it waits for an answer." if action.person else ""
    yield _prose(f"{_sentence(action.title)}{person}")
    yield "\n| | |\n|---|---|"
    yield f"| Effect | {action.effect.value} |"
    yield f"| Inputs | {_inputs(action)} |"
    yield f"| Undo | {_undo(action)} |"
    yield f"| Evidence first | {_evidence(action)} |"
    yield f"| Proof | {_proof(action)} |"
    needs = ", ".join(f"`{p}`" for p in action.permissions)
    yield f"| Least permissions | {needs or 'none'} |\n"


def _inputs(action: Action[Any, Any, Any]) -> str:
    shown = []
    for name, (kind, must) in reference.fields_of(action.inputs).items():
        shown.append(f"`{name}`: {_type(kind)}" + ("" if must else ", may be left out"))
    return "<br>".join(shown) or "none"


def _type(kind: Any) -> str:
    origin, args = get_origin(kind), [a for a in get_args(kind) if a not in (Ellipsis, type(None))]
    if origin in (tuple, list):
        return f"list of {_type(args[0])}"
    if origin is dict:
        return f"table of {_type(args[1])}"
    if args:
        return " or ".join(_type(a) for a in args)
    words = {str: "text", int: "number", float: "number", bool: "true or false"}
    return words.get(kind) or str(kind.__name__)


def _undo(action: Action[Any, Any, Any]) -> str:
    if action.undo is None:
        return f"None: {_cell(action.undo_none)}" if action.undo_none else "None: it changes nothing."
    by = "two people" if action.effect is Effect.CONTAIN else "one person"
    return f"Yes, by {by}; refused when the state is no longer ours"


def _evidence(action: Action[Any, Any, Any]) -> str:
    if action.evidence is None:
        return "None"
    said = _cell(_first_sentence(action.evidence)) or "Yes"
    without = "It does not run without" if action.effect is Effect.DESTROY else "The cut waits 5 seconds for it"
    return f"{said} {without}"


def _proof(action: Action[Any, Any, Any]) -> str:
    found = grades(action.prove, set())
    return "; ".join(f"`{grade.value}`: {words}" for grade, words in GRADES.items() if grade in found)


def grades(function: Any, seen: set[Any]) -> set[Grade]:
    """The grades that a proof can have: those named in its code and in that of our functions that it calls."""
    if function in seen or not function.__module__.startswith("bot.actions"):
        return set()
    seen.add(function)
    text = inspect.getsource(function) if function.__name__ != "<lambda>" else ""
    found = {Grade[name] for name in re.findall(r"Grade\.([A-Z]+)", text)}
    names = set(_names(function.__code__))
    space = [function.__globals__, *(vars(m) for n in names if _is_room(m := function.__globals__.get(n)))]
    for called in (scope[name] for scope in space for name in names if name in scope):
        if isinstance(called, types.FunctionType):
            found |= grades(called, seen)
    return found


def _is_room(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and value.__name__.startswith("bot.actions.")


def _names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _names(inner)


# playbooks and events -------------------------------------------------------------------------------------------------


def playbooks() -> dict[str, Playbook]:
    """The shipped playbooks."""
    return load_folder([SHIPPED / "containment"], CATALOGUE)


def _playbooks() -> Iterator[str]:
    yield "\n## Playbooks\n"
    for book in playbooks().values():
        wanted = "; ".join(f"{key}: {', '.join(values)}" for key, values in book.match.items())
        yield f"### {book.id}\n\n{_sentence(book.title)} Bound to an incident by {wanted}."
        yield f"Proven by the drill `{book.drill}`.\n" if book.drill else "No drill proves it: it never acts.\n"
        yield "| Step | Does | For each | After | When it fails |\n|---|---|---|---|---|"
        for step in book.order():
            after = ", ".join(f"{name} ({wanted})" for name, wanted in step.needs.items())
            each = f"`{step.for_each}`" if step.for_each else ""
            uses = f"[`{step.uses}`](#{_anchor(step.uses)})"
            yield f"| {step.id} | {uses} | {each} | {after} | {step.on_failure} |"
        yield "\nLeast permissions of all its steps together (triage reads with the same identities):\n"
        for provider, needs in permissions(book).items():
            yield f"- {provider}: {', '.join(f'`{need}`' for need in needs)}"
        yield ""


def permissions(book: Playbook) -> dict[str, list[str]]:
    """What the bot's identity at each provider must be allowed, in the provider's words."""
    actions = [CATALOGUE[step.uses] for step in book.steps]
    providers = sorted({action.provider for action in actions if action.permissions})
    return {p: sorted({need for a in actions if a.provider == p for need in a.permissions}) for p in providers}


def written_kinds() -> set[str]:
    """The kinds of events that the code writes, read from the code itself."""
    found = set()
    for path in sorted((ROOT / "bot").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                at = {"write": 1, "once": 1, "append": 2}.get(node.func.attr, 99)
                if len(node.args) > at + 1 - (node.func.attr == "once") and isinstance(node.args[at], ast.Constant):
                    found.add(str(node.args[at].value))  # type: ignore[attr-defined]
    return found


def _events() -> Iterator[str]:
    yield "\n## Events of the timeline\n"
    yield "Each event belongs to a step, or to the incident itself, and stands once for each attempt.\n"
    for kind, words in EVENTS.items():
        yield f"### {kind}\n\n{_prose(words)}\n"


# text -----------------------------------------------------------------------------------------------------------------


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def _prose(text: str) -> str:
    return textwrap.fill(" ".join(text.split()), 118, break_long_words=False, break_on_hyphens=False)


def _cell(text: str) -> str:
    return _sentence(" ".join(text.split())).replace("|", "\\|")


def _sentence(text: str) -> str:
    text = text.strip()
    return text if not text or text[-1] in ".?!" else f"{text}."


def _first_sentence(function: Any) -> str:
    return (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")


if __name__ == "__main__":
    TARGET.write_text(render(), encoding="utf-8")
    identities.TARGET.write_text(identities.render(playbooks()), encoding="utf-8")
    pages = ", ".join(str(page.relative_to(ROOT)) for page in (TARGET, identities.TARGET))
    print(f"wrote {pages}")
