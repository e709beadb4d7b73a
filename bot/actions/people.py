"""People: what only a person can know or do.

The engine asks and waits; it calls ``run`` once an answer is on record. What a person says is a word, the weakest
proof; where the world can show it (the old value is refused), that is looked at instead.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from bot.action import Action
from bot.actions import kingfisher, packages
from bot.actions.aws_iam import refused_as
from bot.actions.npm import registry, user_of
from bot.clients import aws_errors
from bot.errors import Conflict, InputError, NotFound, Refused, Unmapped
from bot.model import OTHER, Before, Credential, Effect, Grade, Liveness, Outcome, Proof, Secret, material
from bot.registries import DOCKERHUB_KINDS, REGISTRY_OF
from bot.world import World

AWS_KEY, NPM_TOKEN = "aws-access-key", "npm-token"
REFUSED = "refused:"


@dataclass(frozen=True, slots=True, kw_only=True)
class AskIn:
    """A question. With ``choices`` the answer must be one of them."""

    who: str
    question: str
    choices: tuple[str, ...] = ()
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoIn:
    """A task that no API can do. The world shows that it is done when a credential is refused.

    Which one says ``credential``, or ``check``: ``refused:<credential key>``.
    """

    who: str
    task: str
    link: str = ""
    check: str = ""
    credential: Credential | None = None

    @property
    def dies(self) -> Credential | None:
        """The credential whose refusal shows that it is done; None where there is none."""
        if self.credential or not self.check:
            return self.credential
        kind, _, name = self.check.removeprefix(REFUSED).partition(":")
        if not self.check.startswith(REFUSED) or not name:
            raise InputError(f"{self.check!r} is not a check; write refused:<kind>:<id> of a credential")
        return Credential(provider="", kind=kind, id=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class IsolateIn:
    """A machine, by the name under which people know it."""

    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateIn:
    """A credential that no API can mint: who makes the new one, where, and which one it replaces."""

    who: str
    task: str
    credential: Credential
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PersonBefore(Before):
    """What is put to whom."""

    who: str = material()
    text: str = material()
    link: str = material(default="")
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer(Outcome):
    """Who said what."""

    by: str
    answer: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed(Outcome):
    """Who handed a new value in, and the vault's reference to it, as ``github.put_secret`` takes it."""

    by: str
    sealed: dict[str, str]


def _link(link: str) -> str:
    """A link that a person may be sent to. Raises InputError for anything but https (or http on loopback)."""
    parts = urlsplit(link)
    try:
        loopback = parts.scheme == "http" and ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        loopback = False
    if link and not loopback and (parts.scheme != "https" or not parts.hostname):
        raise InputError(f"{link!r} is not a link that a person may be sent to; write an https address")
    return link


def _look_ask(_world: World, given: AskIn) -> PersonBefore:
    if not given.who or not given.question:
        raise InputError("a question needs somebody to ask (who) and something to ask (question)")
    return PersonBefore(
        who=given.who, text=given.question, link=_link(given.link), choices=given.choices,
        summary=f"Ask {given.who}: {given.question}",
    )  # fmt: skip


def answered(world: World, who: str) -> tuple[str, str]:
    """(who, what) of the answer on record, scrubbed. Raises Conflict while there is none."""
    said = world.answers.answer() if world.answers else None
    if said is None:
        raise Conflict(f"{who} has not answered yet")
    return said[0], world.scrub(said[1])  # people paste secrets


def _take_answer(world: World, given: AskIn, _before: PersonBefore) -> Answer:
    """Take the answer on record. Raises Conflict while there is none, InputError when it is none of the choices."""
    by, what = answered(world, given.who)
    if given.choices and what not in given.choices:
        raise InputError(f"{what!r} is not an answer here; choose one of {', '.join(given.choices)}")
    return Answer(changed=False, by=by, answer=what, summary=f"{by}: {what}")


def _prove_answer(world: World, given: AskIn | DoIn, _before: PersonBefore, outcome: Answer) -> Proof:
    if world.answers is not None and world.answers.answer() is None:
        return Proof.refuted(f"no answer of {given.who} is on record")
    return Proof.proven(Grade.WORD, f"{outcome.by} says: {outcome.answer}")


ask = Action(
    name="people.ask", title="Ask a person", inputs=AskIn, before=PersonBefore, outcome=Answer, effect=Effect.READ,
    look=_look_ask, run=_take_answer, prove=_prove_answer, person=True,
)  # fmt: skip


def _asked(given: DoIn | RotateIn) -> str:
    return f"Ask {given.who} to {given.task}" + (f" ({given.link})" if given.link else "")


def _look_do(world: World, given: DoIn) -> PersonBefore:
    if not given.who or not given.task:
        raise InputError("a task needs somebody to do it (who) and something to do (task)")
    # Before anybody has answered, a value of the long tail is shown to nobody.
    done = given.dies and not given.dies.kind.startswith(OTHER) and _checked(world, given.dies)
    return PersonBefore(
        needed=not done, who=given.who, text=given.task, link=_link(given.link),
        summary=_asked(given) + (f"; already so: {done.detail}" if done else ""),
    )  # fmt: skip


def _done(world: World, given: DoIn, before: PersonBefore) -> Answer:
    """Take the person's word that it is done; the proof looks for itself. Raises Conflict while there is none."""
    if not before.needed:
        return Answer(changed=False, by="", answer="", summary="It was already done")
    by, what = answered(world, given.who)
    return Answer(changed=True, by=by, answer=what, summary=f"{by}: {what}")


def _prove_do(world: World, given: DoIn, before: PersonBefore, outcome: Answer) -> Proof:
    dies = given.dies
    if dies is None:
        return _prove_answer(world, given, before, outcome)
    proof = _checked(world, dies)
    if proof is not None:
        return proof
    if why := _unseen(world, dies):
        return Proof.proven(Grade.WORD, f"{outcome.by} says: {outcome.answer}; {why}, so nothing was tried")
    return Proof.not_yet(f"{dies.key} is still accepted")


def _unseen(world: World, dies: Credential) -> str:
    """Why nobody can see whether it is dead; '' where that can be seen."""
    kind, rule = dies.kind, kingfisher.known(world, dies.kind)
    if kind == AWS_KEY:
        return "" if world.secrets.of(dies.key) else _no_way_in(world)
    if world.secrets.of(dies.key) is None:
        return "its value is not held"
    if kind in DOCKERHUB_KINDS and not dies.account:
        return "under which name it signs in is not known"
    tried = kind == NPM_TOKEN or kind in REGISTRY_OF or kind.startswith("github-") or (rule is not None and rule.checks)
    return "" if tried else "there is no check"


def _no_way_in(world: World) -> str:
    """Why IAM cannot be asked for a key; '' where it can."""
    try:
        world.aws.client("iam")
    except Unmapped as exc:
        return f"its value is not held, and AWS account {exc.account} is not in the account map"
    return ""


def _checked(world: World, dies: Credential) -> Proof | None:
    """A proof when the credential is dead, else None."""
    kind, value = dies.kind, world.secrets.of(dies.key)
    if kind == AWS_KEY:
        if value is None:
            return None if _no_way_in(world) else _aws_state(world, dies.id)
        if refused_as(world, dies.id):
            return Proof.proven(Grade.REFUSED, f"AWS refuses {dies.id}")
    elif kind.startswith("github-") and value is not None and world.github.status_as(value) == 401:
        return Proof.proven(Grade.REFUSED, f"GitHub refused {value.fingerprint} with 401")
    elif kind == NPM_TOKEN and value is not None and user_of(world, dies.key) == "":
        return Proof.proven(Grade.REFUSED, f"npm refused {value.fingerprint} with 401")
    elif kind in REGISTRY_OF and (said := packages.tried(world, dies)) is not None and said[0] == Liveness.DEAD:
        return Proof.proven(Grade.REFUSED, said[1])
    elif kind.startswith(OTHER) and value is not None:
        return kingfisher.proof_of_death(world, dies.key)
    return None


def _aws_state(world: World, key_id: str) -> Proof | None:
    iam = world.aws.client("iam")
    try:
        with aws_errors(f"look for {key_id}"):
            user = iam.get_access_key_last_used(AccessKeyId=key_id).get("UserName", "")
            pages = iam.get_paginator("list_access_keys").paginate(UserName=user) if user else ()
            keys = [key for page in pages for key in page["AccessKeyMetadata"]]
    except NotFound:
        keys = []
    if any(key["AccessKeyId"] == key_id and key["Status"] == "Active" for key in keys):
        return None
    return Proof.proven(Grade.STATE, f"IAM has no active key {key_id}")


do = Action(
    name="people.do", title="Have a person do what no API can", inputs=DoIn, before=PersonBefore, outcome=Answer,
    effect=Effect.CHANGE, look=_look_do, run=_done, prove=_prove_do, person=True, proof_deadline=3600.0,
    kills=lambda given: given.dies.key if given.dies else "",
    undo_none="Only whoever did it can undo it",
)  # fmt: skip


# Rotate by hand: the answer is a secret. Whoever takes it in seals it at once; the decision holds its reference.


def _look_rotate(_world: World, given: RotateIn) -> PersonBefore:
    if not given.who or not given.task:
        raise InputError("a rotation needs somebody (who) and what to do (task)")
    text = f"{given.task}; hand the new value in with --secret"
    summary = f"{_asked(given)}; hand the new value in with --secret"
    return PersonBefore(who=given.who, text=text, link=_link(given.link), summary=summary)


def _handed(world: World, given: RotateIn, _before: PersonBefore) -> Handed:
    """Take the new value. Raises InputError when it is none, is the old one, or its provider refuses it."""
    by, ref = answered(world, given.who)
    value, old = world.secrets.open(ref), world.secrets.of(given.credential.key)
    if value is None:
        raise InputError("no new value was handed in: answer with `bulkhead incident answer INCIDENT STEP --secret`")
    if old is not None and old.fingerprint == value.fingerprint:
        raise InputError("that is the old value; make a new one")
    live, where = _tried_new(world, given, value)
    if live == Liveness.DEAD:
        raise InputError(f"{where} does not accept the value that was handed in")
    return Handed(changed=True, by=by, sealed={"secret": ref}, summary=f"{by} handed in {value.fingerprint}")


def _tried_new(world: World, given: RotateIn, value: Secret) -> tuple[Liveness, str]:
    """Whether a new value works, and who says so: its registry, where it can be asked."""
    if given.credential.kind == NPM_TOKEN:
        try:
            return (Liveness.LIVE if registry(world).user_of(value) else Liveness.DEAD), "npm"
        except Refused:
            return Liveness.DEAD, "npm"
    name = REGISTRY_OF.get(given.credential.kind)
    if name is None:
        return Liveness.UNKNOWN, ""
    asked = packages.registry(world, name)
    return asked.tried(value, given.credential.account)[0], asked.label


def _prove_handed(world: World, given: RotateIn, _before: PersonBefore, outcome: Handed) -> Proof:
    value = world.secrets.open(outcome.sealed["secret"])
    if value is None:
        return Proof.refuted("the new value is no longer held")
    live, where = _tried_new(world, given, value)
    if live == Liveness.UNKNOWN:
        return Proof.proven(Grade.WORD, f"{outcome.by} handed in {value.fingerprint}")
    if live == Liveness.DEAD:
        return Proof.refuted(f"{where} refuses the new value {value.fingerprint}")
    return Proof.proven(Grade.STATE, f"{where} accepts the new value {value.fingerprint}")


rotate_by_hand = Action(
    name="people.rotate_by_hand", title="Have a person make a new credential", inputs=RotateIn, before=PersonBefore,
    outcome=Handed, effect=Effect.CHANGE, look=_look_rotate, run=_handed, prove=_prove_handed, person=True,
    undo_none="The new value stays until its owner revokes it",
)  # fmt: skip


def _look_isolate(_world: World, given: IsolateIn) -> PersonBefore:
    if not given.machine:
        raise InputError("say which machine is to be isolated")
    text = f"take {given.machine} off the network without switching it off, then say so"
    return PersonBefore(who="whoever can reach it", text=text, summary=text[0].upper() + text[1:])


def _isolated(world: World, given: IsolateIn, _before: PersonBefore) -> Answer:
    """Take the person's word. Raises Conflict when the time for it has passed without one."""
    said = world.answers.answer() if world.answers else None
    if said is None:
        raise Conflict(f"nobody has said in time that {given.machine} is isolated")
    by, what = said[0], world.scrub(said[1])
    return Answer(changed=True, by=by, answer=what, summary=f"{by}: {what}")


def _prove_isolated(world: World, given: IsolateIn, _before: PersonBefore, outcome: Answer) -> Proof:
    if world.answers is not None and world.answers.answer() is None:
        return Proof.refuted(f"nobody says that {given.machine} is isolated")
    return Proof.proven(Grade.WORD, f"{outcome.by} says: {outcome.answer}")


isolate = Action(
    name="people.isolate", title="Have a person take a machine off the network", inputs=IsolateIn, before=PersonBefore,
    outcome=Answer, effect=Effect.CONTAIN, look=_look_isolate, run=_isolated, prove=_prove_isolated, person=True,
    undo_none="Whoever isolated it puts it back",
)  # fmt: skip
