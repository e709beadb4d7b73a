"""A migration that was ordered, as an incident holds it: no secret, a repository and what people have said about it.

The order is the incident's credential, as a campaign's question is: the same order has the same name, so it is one
incident however often and wherever it is given.
"""

from __future__ import annotations

import re
from dataclasses import fields, replace

from bot.accounts import account_of_key, console
from bot.clients import aws_errors
from bot.errors import InputError, ProviderError
from bot.model import Credential, Exposure, Liveness, Machine, MigrationOrder, Report, Triage
from bot.triage.pair import key_of_repository
from bot.world import World

KIND = "migration"
OURS, GIVEN, PERSON = "ours", "given", "person"
_WANTED = {
    "repository": (re.compile(r"[\w.-]{1,100}/[\w.-]{1,100}", re.ASCII), "OWNER/NAME"),
    "secret": (re.compile(r"[A-Za-z_]\w{0,199}|", re.ASCII), "the name of a secret"),
    "role": (re.compile(r"arn:aws[\w-]*:iam::\d{12}:role/[\w+=,.@/-]{1,576}|", re.ASCII),
             "arn:aws:iam::ACCOUNT:role/NAME"),
    "region": (re.compile(r"[a-z]{2}(?:-[a-z]+)+-\d|"), "an AWS region such as eu-central-1"),
    "environment": (re.compile(r"[^;=\x00-\x1f]{0,255}"), "the name of an environment, without ; and ="),
    "session": (re.compile(r"9\d\d|[1-9]\d{3}|[1-3]\d{4}|4[0-2]\d{3}|43[01]\d\d|43200|", re.ASCII),
                "the seconds of a session of AWS, 900 to 43200"),
}  # fmt: skip


def ordered(
    repository: str, *, secret: str = "", role: str = "", region: str = "", environment: str = "", session: str = ""
) -> MigrationOrder:  # fmt: skip
    """An order. Raises InputError, which names what is wrong."""
    order = MigrationOrder(
        repository=repository, secret=secret, role=role, region=region, environment=environment, session=session
    )  # fmt: skip
    for name in _WANTED:
        problem(name, getattr(order, name))
    return order


def problem(name: str, text: str) -> None:
    """Raises InputError when this is no such part of an order."""
    form, wanted = _WANTED[name]
    if not form.fullmatch(text):
        raise InputError(f"{text[:80]!r} is no {name}; write {wanted}")


def is_order(credential_key: str) -> bool:
    """Whether this is the row of a migration: nothing has leaked."""
    return credential_key.startswith(f"{KIND}:")


def credential_of(order: MigrationOrder) -> Credential:
    """The order as the incident's credential."""
    said = [f"{name}={getattr(order, name)}" for name in list(_WANTED)[1:] if getattr(order, name)]
    return Credential(provider="github", kind=KIND, id=";".join([order.repository, *said]))


def order_of(credential: Credential) -> MigrationOrder:
    """Back from an incident. Raises InputError for what is no order."""
    repository, *said = credential.id.split(";")
    parts = dict(part.partition("=")[::2] for part in said)
    if not set(parts) <= {field.name for field in fields(MigrationOrder)} & set(_WANTED):
        raise InputError(f"{credential.id[:100]} is no migration")
    return ordered(repository, **parts)


def order_of_key(credential_key: str) -> MigrationOrder:
    """Back from the key of an incident's row. Raises InputError for what is no order."""
    return order_of(Credential(provider="github", kind=KIND, id=credential_key.removeprefix(f"{KIND}:")))


def found(world: World, report: Report, credential: Credential) -> Triage:
    """The repository as GitHub names it, and whether we can set the trust up. Raises what GitHub says."""
    order, unknown = order_of(credential), list[str]()
    repo = world.github.get(f"/repos/{order.repository}")
    name = str(repo["full_name"])
    account = _aws_account(world, unknown)
    key = key_of_repository(world, name, order.secret or "its secrets", unknown) if account else None
    owner = account_of_key(key.id) if key else ""
    if owner and owner != account:
        unknown.append(f"The key is of AWS account {owner}: a person sets up the trust there, at {console(owner)}")
        account, key = "", None
    trust = GIVEN if order.role else OURS if account else PERSON
    order = replace(order, repository=name, trust=trust, key=key.id if key else "")
    return Triage(
        credential=credential, live=Liveness.UNKNOWN, exposure=Exposure.UNKNOWN, repository=name, order=order,
        machine=Machine.NONE, machine_name=report.machine_name, unknown=tuple(unknown),
    )  # fmt: skip


def _aws_account(world: World, unknown: list[str]) -> str:
    """The account in which we make the trust; '' where AWS does not answer us."""
    try:
        with aws_errors("ask for our own account"):
            return str(world.aws.client("sts").get_caller_identity()["Account"])
    except ProviderError as exc:
        unknown.append(f"AWS does not answer us, so a person sets up the trust, and revokes what was there: {exc}")
        return ""
