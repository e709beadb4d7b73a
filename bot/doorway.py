"""The webhook door as the settings open it: which sources, with which secrets."""

from __future__ import annotations

import asyncio

from bot.clock import Job
from bot.errors import SettingsError
from bot.intake import generic, sources
from bot.intake.ci import Runs
from bot.intake.door import Door
from bot.intake.inbox import Inbox
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


def _topics(settings: Settings) -> Topics | None:
    topics = tuple(listed(settings.sns_topics))
    return Topics(topics) if topics else None


def _runs(settings: Settings) -> Runs | None:
    homes = tuple(listed(settings.upload_repositories))
    if not (settings.upload_audience and homes):
        return None
    keys = settings.upload_keys or f"{settings.upload_issuer}/.well-known/jwks"
    return Runs(settings.upload_issuer, settings.upload_audience, homes, keys)
