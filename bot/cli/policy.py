"""``bulkhead policy``: what may happen by itself, who is asked otherwise, and which rule says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

import typer

from bot import playbook, timeline
from bot.actions import CATALOGUE
from bot.app import Bulkhead, load_policy, opened
from bot.cli import announce, frame, page
from bot.engine.compared import OPENS, SAYS
from bot.engine.policy import ANY, POSTURES, STARTS, Area, Policy, Table
from bot.engine.rules import case
from bot.errors import InputError
from bot.intake.sources import NAMES
from bot.model import Triage
from bot.reference import adapter
from bot.settings import read
from bot.store import IncidentRow
from bot.story import DIM, HEADING, Line, stamp
from bot.strictyaml import hint

app = frame.group("See what may happen by itself, who is asked otherwise, and which rule says so.")
announce.add(app)
SILENCE = {
    "act": "it goes on by itself", "hold": "it goes on waiting",
    "escalate": "more people are told, and it goes on waiting",
}  # fmt: skip
Axis = Annotated[str, typer.Option(help="A value of this axis; without it, unknown.", show_default=False)]


@app.command()
def show(
    posture: Annotated[str, typer.Option(help="Only the rules of one posture: act, one, two or person.")] = "",
    json_: frame.Json = False,
) -> None:
    """List every cell of the tables by what is decided there, then modes, brake and responders."""
    settings = read()
    policy = load_policy(settings.policy)
    if posture and posture not in POSTURES:
        raise InputError(f"there is no posture {posture!r}; there are: {', '.join(POSTURES)}{hint(posture, POSTURES)}")
    wanted = [one for one in POSTURES if posture in ("", one)]
    if json_:
        postures = {one: [_area(a) for a in policy.postures.areas() if a.rule["posture"] == one] for one in wanted}
        severities = [_area(area) for area in policy.severities.areas()]
        starts = {} if posture else {"authorities": [_area(area) for area in policy.authorities.areas()]}
        people = sorted(settings.people)
        rest = _rest(policy) | {"installation": {"mode": settings.mode, "responders": people}}
        frame.document({"postures": postures, "severities": severities} | starts | rest)
        return
    for one in wanted:
        areas = [area for area in policy.postures.areas() if area.rule["posture"] == one]
        count = sum(area.cells for area in areas)
        page.lines([Line(f"{one}: {SAYS[one]} ({count} of {len(policy.postures.cells)} cells)", style=HEADING)])
        page.lines([_table(policy.postures, areas, "nobody answers"), Line("")])
    if not posture:
        for start in STARTS:
            areas = [area for area in policy.authorities.areas() if area.rule["starts"] == start]
            count = sum(area.cells for area in areas)
            text = f"A report starts {OPENS[start]} ({count} of {len(policy.authorities.cells)} cells)"
            page.lines([Line(text, style=HEADING)])
            page.lines([_table(policy.authorities, areas, "starts"), Line("")] if areas else [Line("")])
        page.lines([Line("How severe", style=HEADING)])
        page.lines([_table(policy.severities, policy.severities.areas(), "level"), Line("")])
        page.lines(_modes(policy, settings.mode, sorted(settings.people)))


def _area(area: Area) -> dict[str, Any]:
    covers = {name: list(values) for name, values in area.covers.items()}
    return dict(area.rule) | {"covers": covers, "cells": area.cells}


def _rest(policy: Policy) -> dict[str, Any]:
    modes = {"default": policy.default_mode, "playbooks": dict(policy.playbook_modes)}
    return {
        "sha256": policy.sha256, "modes": modes | {"repositories": dict(policy.repository_modes)},
        "brake": asdict(policy.brake), "storm": asdict(policy.storm), "kinds": dict(policy.kinds),
        "ours": list(policy.ours),
        "responders": {"groups": {k: list(v) for k, v in policy.groups.items()},
                       "approve": {k: list(v) for k, v in policy.approvers.items()},
                       "escalate": list(policy.escalate)},
    }  # fmt: skip


def _table(of: Table, areas: list[Area], last: str) -> Any:
    table = page.table("rule", "covers", last, "why")
    for area in areas:
        said = area.rule.get("level") or area.rule.get("starts") or _silence(area.rule)
        table.add_row(area.rule["id"], _covers(of, area), said, area.rule["reason"])
    return table


def _covers(of: Table, area: Area) -> str:
    """What a rule covers, axis by axis; an axis that it covers whole says nothing."""
    said = [f"{n}: {', '.join(v)}" for n, v in area.covers.items() if len(v) < len(of.axes[n])]
    return "; ".join(said) or ANY


def _silence(rule: Mapping[str, Any]) -> str:
    if rule["posture"] == "act":
        return "nobody is asked"
    return f"{rule['on_silence']} after {rule['after_s']} s" if rule["after_s"] else str(rule["on_silence"])


def _modes(policy: Policy, mode: str, people: list[str]) -> list[Line]:
    named = {**policy.playbook_modes, **policy.repository_modes}
    more = "; ".join(f"{name}: {each}" for name, each in named.items())
    brake, storm = policy.brake, policy.storm
    late = f"after {storm.incidents} incidents of one owner's GitHub alerts within {storm.within_s} s"
    groups = "; ".join(f"{name}: {', '.join(members) or 'nobody'}" for name, members in policy.groups.items())
    approve = "; ".join(f"{name}: {', '.join(chosen)}" for name, chosen in policy.approvers.items())
    return [
        Line("Modes, brake, responders", style=HEADING),
        Line(f"Mode of this installation: {mode}.{f' Named in the policy: {more}.' if more else ''}"),
        Line(f"Brake: after {brake.unattended_cuts} unattended cuts within {brake.within_s} s the next one asks."),
        Line(f"Storm: {late}, the rest waits, but for what is live in public."),
        Line(f"Ours: {', '.join(policy.ours) or 'not said, so every repository is unknown'}."),
        Line(f"Groups: {groups}. BULKHEAD_RESPONDERS: {', '.join(people) or 'nobody'}."),
        Line(f"Who may agree: {approve}; whoever BULKHEAD_RESPONDERS names may agree everywhere."),
        Line(f"Told when nobody answers: {', '.join(policy.escalate)}."),
    ]


# which rule fires -----------------------------------------------------------------------------------------------------


@app.command()
def test(
    source: Axis = "", possession: Axis = "", effect: Axis = "", undoable: Axis = "", exposure: Axis = "",
    machine: Axis = "",
    kind: Annotated[str, typer.Option(help="A kind of credential, or a class of kinds.", show_default=False)] = "",
    live: Annotated[str, typer.Option(help="For the severity: live or dead.", show_default=False)] = "",
    reach: Annotated[str, typer.Option(help="For the severity: one, few or many.", show_default=False)] = "",
    by: Annotated[
        str, typer.Option(help="What a report may start: the door it came by (github, ci, cli, …).", show_default=False)
    ] = "",
    repository: Annotated[
        str, typer.Option(help="The same: OWNER/NAME, or ours, other, unknown.", show_default=False)
    ] = "",
    incident: Annotated[str, typer.Option(help="Take the case of this incident; name its step too.")] = "",
    step: Annotated[str, typer.Option(help="The step of the incident.")] = "",
    home: frame.Home = None,
    json_: frame.Json = False,
) -> None:  # fmt: skip
    """Say which rule fires for a case, and why. What is not given is unknown. Nothing is done."""
    given = {
        "source": source, "possession": possession, "effect": effect, "undoable": undoable, "exposure": exposure,
        "kind": kind, "machine": machine, "live": live, "reach": reach, "by": by, "repository": repository,
    }  # fmt: skip
    typed = {name: value for name, value in given.items() if value}
    if bool(incident) != bool(step):
        raise InputError("give --incident and --step together")
    stands: dict[str, Any] | None = None
    settings = read()
    mode = settings.mode
    if incident:
        frame.quiet_logs()
        with opened(frame.settings_of(home), sites={}) as bulkhead:
            policy, row = bulkhead.policy, bulkhead.store.incident(incident)
            known, stands = _of_incident(bulkhead, row, step)
            mode = bulkhead.rules.mode(row)
    else:
        policy, known = load_policy(settings.policy), {}
    _check(policy, typed)
    found = _verdict(policy, known | typed) | {"mode": mode, "stands": stands}
    if json_:
        frame.document(found)
    else:
        page.lines(_told(found))


def _check(policy: Policy, typed: Mapping[str, str]) -> None:
    """Raises InputError for a value that its axis does not have: a typing error must not pass for `unknown`."""
    for name, value in typed.items():
        if (name == "repository" and "/" in value) or (name == "by" and value in NAMES):
            continue
        axis = _table_of(policy, name, typed).axes[name]
        if value not in axis and name != "kind" and (name, value) != ("effect", "read"):
            raise InputError(f"the axis {name} has no value {value!r}; it has: {', '.join(axis)}{hint(value, axis)}")


def _table_of(policy: Policy, name: str, said: Mapping[str, str]) -> Table:
    """The table whose axis a value is of. ``source`` stands in two: a drill's report is nobody's to authorize."""
    if name in ("live", "reach"):
        return policy.severities
    of_report = name in ("by", "repository") or (name == "source" and _starts(said))
    return policy.authorities if of_report else policy.postures


def _starts(said: Mapping[str, str]) -> bool:
    """Whether it is asked what a report may start."""
    return bool({"by", "repository"} & set(said))


def _verdict(policy: Policy, said: Mapping[str, str]) -> dict[str, Any]:
    """What the tables decide: the case in the tables' own words, the rule of each, and why."""
    posture, severity = policy.posture(said), policy.severity(said)
    return {
        "case": {name: said.get(name, "unknown") for name in policy.postures.axes}
        | {"class": policy.class_of(said.get("kind", ""))},
        "posture": asdict(posture),
        "severity": asdict(severity) if {"live", "reach"} & set(said) else None,
        "authority": asdict(policy.authority(said)) if _starts(said) else None,
    }


def _of_incident(bulkhead: Bulkhead, row: IncidentRow, step: str) -> tuple[dict[str, str], dict[str, Any] | None]:
    """The case of a step, and the ruling that stands on the timeline when it has been looked at."""
    events = timeline.load(bulkhead.store, row.id)
    found = next((e.body for e in events if e.kind == "triage" and e.body), None)
    if found is None:
        raise InputError(f"triage of {row.id} has not ended yet, so its case is not known")
    book = playbook.load(row.body["playbook"]["text"], row.body["playbook"]["source"], CATALOGUE)
    action = CATALOGUE[book.step(step.partition("#")[0]).uses]
    triage = adapter(Triage).validate_python(found)
    looks = [e for e in events if e.step == step and e.kind in ("look", "planned") and e.body]
    stands = looks[-1].body["ruling"] | {"at": looks[-1].at} if looks else None
    return case(row, triage, action, bulkhead.store), stands


def _told(found: Mapping[str, Any]) -> list[Line]:
    said, posture = found["case"], found["posture"]
    if said["effect"] == "read":
        return [Line("It only reads: nobody is asked, and no rule is needed.")]
    shown = ", ".join(f"{name} {value}" for name, value in said.items() if name != "class")
    starts = [] if found["authority"] is None else [
        Line(f"{found['authority']['starts']}: {OPENS[found['authority']['starts']]}", style=HEADING),
        Line(f"Rule {found['authority']['rule']}: {found['authority']['reason']}"), Line(""),
    ]  # fmt: skip
    lines = [
        *starts,
        Line(f"{posture['posture']}: {SAYS[posture['posture']]}", style=HEADING),
        Line(f"Rule {posture['rule']}: {posture['reason']}"),
        Line(f"The case: {shown} (as a kind: {said['class']})."),
    ]
    if posture["posture"] != "act":
        after = f"after {posture['after_s']} s " if posture["after_s"] else ""
        lines.append(Line(f"When nobody answers: {after}{SILENCE[posture['on_silence']]}."))
    if severity := found["severity"]:
        lines.append(Line(f"Severity {severity['level']}, rule {severity['rule']}: {severity['reason']}"))
    lines.append(Line(f"Mode {found['mode']}{_by_mode(found['mode'], posture['posture'])}."))
    if stands := found["stands"]:
        fixed = f"{stands['posture']}, rule {stands['rule']}: {stands['reason']}."
        text = f"On the timeline since {stamp(stands['at'])}: {fixed}"
        lines.append(Line(text, style=DIM))
    return lines


def _by_mode(mode: str, posture: str) -> str:
    if mode == "observe":
        return ": it would only be said, not done"
    return ": one person is asked all the same" if mode == "ask" and posture == "act" else ""
