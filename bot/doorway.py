"""The webhook door as the settings open it: which sources, with which secrets, and what is asked for besides."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from bot.clock import Job
from bot.errors import SettingsError
from bot.intake import generic, sources
from bot.intake.ci import Runs
from bot.intake.door import Door
from bot.intake.inbox import Inbox
from bot.intake.missed import LOOK_S, CatchUp, Poll, aws, gitguardian, github
from bot.intake.partner import Partner
from bot.intake.queue import polled
from bot.intake.sns import Topics
from bot.intake.sources import SQS
from bot.settings import Settings, listed

QUEUE_S = 5.0


def open_door(settings: Settings, inbox: Inbox) -> Door:
    """The door. Raises SettingsError for a secret of a source that there is not, PlaybookError for a wrong file."""
    own = generic.load(settings.sources, sources.NAMES) if settings.sources else {}
    unknown = sources.unknown(settings.hook_secrets, own)
    if unknown:
        known = ", ".join([*sources.SIGNED, *sources.TOKEN_ONLY, *own])
        raise SettingsError(f"BULKHEAD_HOOKS names {', '.join(unknown)[:200]}; the sources are: {known}")
    open_ = sources.built(
        settings.hook_secrets, own=own, topics=_topics(settings), runs=_runs(settings),
        partner=Partner(settings.github_api) if settings.github_partner else None,
    )  # fmt: skip
    return Door(open_, inbox)


def queue_jobs(settings: Settings, inbox: Inbox) -> list[Job]:
    """What a worker does besides: ask the queue of AWS's events, where one is set."""
    if "real" not in inbox.worlds or not settings.sqs_queue:
        return []
    aws = inbox.worlds["real"](SQS).aws

    async def ask() -> None:
        await asyncio.to_thread(polled, inbox, aws.client("sqs"), settings.sqs_queue)

    return [Job(ask, QUEUE_S)]


def polls(settings: Settings, inbox: Inbox) -> list[Poll]:
    """What is asked for besides, since webhooks may have missed it: of the real providers, never in a drill."""
    if "real" not in inbox.worlds:
        return []
    world, found = inbox.worlds["real"]("catch-up"), list[Poll]()
    secrets, asking = settings.hook_secrets.get("github", ()), github.Asking(world.github)
    for home in listed(settings.catch_up):
        found.append(github.Alerts(inbox, asking, home))
        if secrets:
            found.append(github.Deliveries(inbox, asking, home, secrets, f"{settings.web_url}/hooks/github"))
    if token := settings.gitguardian_token.get_secret_value():
        found.append(gitguardian.Incidents(inbox, gitguardian.Client(settings.gitguardian_api, token)))
    if settings.catch_up_aws:
        found.append(aws.Quarantined(inbox, world))
        for number, more in [*world.aws_everywhere.items()][1:]:  # the first is the home account
            found.append(aws.Quarantined(inbox, replace(world, aws=more), f"aws-quarantine-{number}"))
    return found


def catch_up_jobs(settings: Settings, inbox: Inbox) -> list[Job]:
    """What the clock does besides: ask for what webhooks missed."""
    asking = CatchUp(inbox.store, polls(settings, inbox))

    async def look() -> None:
        await asyncio.to_thread(asking.round)

    return [Job(look, LOOK_S)] if asking.polls else []


def _topics(settings: Settings) -> Topics | None:
    topics = tuple(listed(settings.sns_topics))
    return Topics(topics) if topics else None


def _runs(settings: Settings) -> Runs | None:
    homes = tuple(listed(settings.upload_repositories))
    if not (settings.upload_audience and homes):
        return None
    keys = settings.upload_keys or f"{settings.upload_issuer}/.well-known/jwks"
    return Runs(settings.upload_issuer, settings.upload_audience, homes, keys)
