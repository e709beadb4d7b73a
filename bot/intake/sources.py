"""The sources, as a visible list: who may send, how it shows who it is, and what reads it.

A source is open when its secret (or its topics, its audience) is set; otherwise there is no such address. The list is
built once from what the settings say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from bot.intake import generic, gitguardian, github, proof, stepsecurity
from bot.intake.ci import Runs, read_report
from bot.intake.delivery import Delivery, Reading, Sender
from bot.intake.formats import FORMATS
from bot.intake.partner import Partner
from bot.intake.sns import Topics
from bot.model import Trust

Prove = Callable[[Delivery], Sender]
Read = Callable[[Delivery, Sender], Reading]
Secrets = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One door. ``prove`` raises Undeliverable unless it is from who it says, ``read`` when it is malformed."""

    name: str
    title: str
    prove: Prove
    read: Read


def _report(form: str, delivery: Delivery, sender: Sender) -> Reading:
    return read_report(delivery, form, sender)


# Senders that sign with a secret shared with us: name -> title, how they sign, who reads.
SIGNED: Mapping[str, tuple[str, Callable[[Delivery, Secrets], Sender], Read]] = {
    "github": ("GitHub webhooks", github.prove, github.read),
    "gitguardian": ("GitGuardian", gitguardian.prove, gitguardian.read),
}
# Senders that cannot sign: a shared token is all they can show.
TOKEN_ONLY: Mapping[str, tuple[str, Read]] = {
    "stepsecurity": ("StepSecurity", stepsecurity.read),
    **{name: (form.title, partial(_report, name)) for name, form in FORMATS.items()},
}
# Open by a setting of their own.
SNS, PARTNER, CI = "aws", "github-partner", "ci"
SQS = "sqs"  # has no address: a queue is asked
TITLES = {
    **{name: title for name, (title, _, _) in SIGNED.items()},
    **{name: title for name, (title, _) in TOKEN_ONLY.items()},
    SNS: "AWS Health and GuardDuty by SNS",
    PARTNER: "GitHub's partner program", CI: "Uploads of workflow runs",
}  # fmt: skip
NAMES = frozenset({*TITLES, SQS})


def built(
    secrets: Mapping[str, Secrets], *, own: Mapping[str, generic.Mapped] | None = None, topics: Topics | None = None,
    partner: Partner | None = None, runs: Runs | None = None,
) -> dict[str, Source]:  # fmt: skip
    """Every source that is open. A secret of a source that nobody knows opens nothing (``unknown`` names it)."""
    open_: list[Source] = []
    for name, (title, prove, read) in SIGNED.items():
        if secrets.get(name):
            open_.append(Source(name=name, title=title, prove=partial(_with, prove, secrets[name]), read=read))
    for name, (title, read) in TOKEN_ONLY.items():
        if secrets.get(name):
            open_.append(Source(name=name, title=title, prove=partial(_by_token, title, secrets[name]), read=read))
    for name, one in (own or {}).items():
        if secrets.get(name):
            prove = partial(_with, one.prove, secrets[name])
            open_.append(Source(name=name, title=one.title, prove=prove, read=one.read))
    if topics is not None:
        open_.append(Source(name=SNS, title=TITLES[SNS], prove=topics.prove, read=topics.read))
    if partner is not None:
        open_.append(Source(name=PARTNER, title=TITLES[PARTNER], prove=partner.prove, read=partner.read))
    if runs is not None:
        open_.append(Source(name=CI, title=TITLES[CI], prove=runs.prove, read=runs.read))
    return {one.name: one for one in open_}


def unknown(secrets: Mapping[str, Secrets], own: Mapping[str, generic.Mapped]) -> list[str]:
    """Names that have a secret and are no source."""
    return sorted(secrets.keys() - SIGNED.keys() - TOKEN_ONLY.keys() - own.keys())


def _with(prove: Callable[[Delivery, Secrets], Sender], secrets: Secrets, delivery: Delivery) -> Sender:
    return prove(delivery, secrets)


def _by_token(title: str, secrets: Secrets, delivery: Delivery) -> Sender:
    proof.bearer(delivery.header("authorization"), delivery.token, secrets)
    return Sender(trust=Trust.UNSIGNED, by=title)
