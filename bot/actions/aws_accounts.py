"""AWS accounts that we have no way into: whose a key is, and what a person does there."""

from __future__ import annotations

from dataclasses import dataclass

from bot.accounts import VARIABLE, account_of_key, console
from bot.action import Action
from bot.errors import InputError, Unmapped
from bot.model import Before, Credential, Effect, Grade, Outcome, Owner, Proof
from bot.world import World

WHOEVER = "whoever owns that account"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountIn:
    """An access key or a session of AWS, and who may own it, the likeliest first."""

    credential: Credential
    owners: tuple[Owner, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountBefore(Before):
    """``account``: the number that the key's id holds, or ''. ``mapped``: whether we have a way into it by now."""

    account: str = ""
    mapped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountFound(Outcome):
    """What a person is to do there and where, in a sentence and a link; what they make anew; and what the map lacks."""

    account: str = ""
    who: str = ""
    task: str = ""
    restore: str = ""
    link: str = ""
    map_entry: str = ""


def _mapped(world: World) -> bool:
    """Whether we have a way into the account of the incident's credential."""
    try:
        world.aws.client("sts")
    except Unmapped:
        return False
    return True


def _look(world: World, given: AccountIn) -> AccountBefore:
    number = account_of_key(given.credential.id)
    if not number:
        raise InputError(f"{given.credential.key} does not tell which AWS account it is of")
    mapped = _mapped(world)
    there = "is in the account map by now: abort this incident and report it again" if mapped else "is not in the map"
    return AccountBefore(
        account=number, mapped=mapped, summary=f"{given.credential.id} is of AWS account {number}, which {there}"
    )  # fmt: skip


def _find(_world: World, given: AccountIn, before: AccountBefore) -> AccountFound:
    key, number = given.credential.id, before.account
    cut = f"find its user (Users, search for {key}) and set the key Inactive"
    if given.credential.kind == "aws-session":
        cut = "deny its role or user everything until the session has ended, which takes 36 hours at most"
    entry = (
        f'"{number}": {{read: arn:aws:iam::{number}:role/bulkhead-read, act: arn:aws:iam::{number}:role/bulkhead-act, '
        "external_id: …}"
    )  # fmt: skip
    task = (
        f"contain {key} in AWS account {number}, which is not in the account map: sign in there, open IAM and {cut}; "
        "deny sessions that were minted before; in CloudTrail look for users, keys, roles and policies that it made, "
        f"and disable them. If the account is yours, add it to {VARIABLE} so that Bulkhead does all of this: {entry}"
    )
    restore = (
        f"make a new key for the same user in account {number}, put its id and its secret where the old pair stood, "
        "and delete the old key once the jobs have run; where jobs used a session, there is nothing to put back"
    )
    who = given.owners[0].name if given.owners else WHOEVER
    return AccountFound(
        changed=False, account=number, who=who, task=task, restore=restore, link=console(number), map_entry=entry,
        summary=before.summary,
    )  # fmt: skip


def _prove(world: World, given: AccountIn, _before: AccountBefore, out: AccountFound) -> Proof:
    if _mapped(world):
        return Proof.refuted(f"account {out.account} is in the account map: abort this incident and report it again")
    return Proof.proven(Grade.STATE, f"the id of {given.credential.id} holds the account {out.account}")


find_account = Action(
    name="aws.find_account", title="Find whose AWS account a key is of", inputs=AccountIn, before=AccountBefore,
    outcome=AccountFound, effect=Effect.READ, look=_look, run=_find, prove=_prove, undo_none="it only reads",
)  # fmt: skip
