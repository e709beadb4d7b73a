"""The words of the pull request: what leaks today, what changes, in which order to roll it out, what stays and why."""

from __future__ import annotations

import json

from bot.oidc import recipes, trust
from bot.oidc.plan import Outcome, Plan

ORDER = (
    "Set up the trust at the provider, and the variables below.",
    "Merge.",
    "Run each job once, and check in the provider's own log that the identity was used.",
    "Delete the secret from the repository's settings.",
    "Revoke the key at the provider: until it is dead, nothing is won.",
    "Where the registry can, forbid tokens.",
)


def title(plan: Plan) -> str:
    """One line for the commit and the pull request."""
    names = list(dict.fromkeys(outcome.credential.title for outcome in plan.migrated))
    return f"Replace {_joined(names)} by short-lived OIDC identities"


def body(
    plan: Plan, job: trust.Job | None = None, account: str = "", checked: str = "", pinned: str = ""
) -> str:
    """The description, in Markdown. ``job``: whose token the trust policy of AWS is for, where it is known.

    ``checked``: what other tools said of the files; ``pinned``: what GitHub said of the releases that are written.
    """
    parts = ["## What leaks today", *map(_leaks, plan.migrated), "## What changes", *_changes(plan), "## Roll it out"]
    parts += ["\n".join(f"{number}. {step}" for number, step in enumerate(ORDER, 1))]
    asks = {name: what for outcome in plan.migrated for name, what in outcome.asks.items()}
    if asks:
        rows = "\n".join(f"| `{name.removeprefix('vars.')}` | {what} |" for name, what in asks.items())
        parts += ["Variables to set:", f"| Variable | Value |\n|---|---|\n{rows}"]
    if job is not None and any(outcome.credential.provider == "aws" for outcome in plan.migrated):
        parts += ["## The trust at AWS, and whom it lets in", *_trust(job, account or "ACCOUNT")]
    unsure = [each for outcome in plan.migrated for each in outcome.assumed]
    if unsure:
        parts += ["## Assumed, so please check", "\n".join(f"- {each}" for each in dict.fromkeys(unsure))]
    if plan.refused:
        parts += ["## What was not touched", "\n".join(map(_stays, plan.refused))]
    parts += [checked] if checked else []
    asked = f"Releases of actions are pinned as of {recipes.pin_date()}, from a table; GitHub was not asked."
    parts.append(pinned or asked)
    return "\n\n".join(parts) + "\n"


def _trust(job: trust.Job, account: str) -> list[str]:
    policy = trust.written(job, account)
    rows = [
        f"| {row.name} | {'let in' if row.ruling.allowed else 'kept out'} | {'yes' if row.right else '**NO**'} |"
        for row in trust.table(policy, job)
    ]
    said = "What it does with the job's own token and with forged ones (`bulkhead oidc prove` says the same):"
    written = f"```json\n{json.dumps(policy, indent=2)}\n```"
    return [written, said, "\n".join(["| Token | Result | As it should be |", "|---|---|---|", *rows])]


def _leaks(outcome: Outcome) -> str:
    where = "\n".join(f"  - {carrier.where}" for carrier in outcome.credential.carriers)
    return f"- {outcome.credential.title} in {_code(outcome.credential.secrets)}, which does not expire:\n{where}"


def _changes(plan: Plan) -> list[str]:
    granted = dict.fromkeys(f"`{path}`, job `{job}`" for outcome in plan.migrated for path, job in outcome.granted)
    notes = dict.fromkeys(note for outcome in plan.migrated for note in outcome.notes)
    said = ["These jobs, and no others, may ask for an identity:", "\n".join(f"- {each}" for each in granted)]
    return said + (["\n".join(f"- {each}" for each in notes)] if notes else [])


def _stays(outcome: Outcome) -> str:
    refusal = outcome.refusal
    assert refusal is not None, "only what was refused stays"
    said = f"- {outcome.credential.title} in {_code(outcome.credential.secrets)} (`{refusal.code}`): {refusal.why}."
    return f"{said} {refusal.hand}".rstrip()


def _code(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _joined(names: list[str]) -> str:
    found = [f"{name}s" if not name.endswith("s") else name for name in names]
    return found[0] if len(found) == 1 else ", ".join(found[:-1]) + " and " + found[-1] if found else "static secrets"
