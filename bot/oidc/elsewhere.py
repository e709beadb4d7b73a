"""Whose store an S3 key is for: AWS's, or that of a service that only speaks its protocol (R2, MinIO, Spaces)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from bot.oidc.shape import Job, leaves

_NAMES = re.compile(r"(?i)^(AWS_ENDPOINT(_URL.*)?|AWS_S3_ENDPOINT|S3_ENDPOINT(_URL)?|SCCACHE_ENDPOINT|R2_.*)$")
_HOSTS = re.compile(
    r"(?i)r2\.cloudflarestorage|digitaloceanspaces|wasabisys|backblazeb2|storage\.googleapis\.com(?!/\w)|linodeobjects|scw\.cloud"
    r"|--endpoint(-url)?[= ](?!\S*amazonaws)"
)
# Secrets that are called after such a service.
NAMED = re.compile(r"(?i)^(\w*_)?(R2|B2|BACKBLAZE|MINIO|SPACES|WASABI|BUILDPULSE|TIGRIS)_")
_PERHAPS = re.compile(r"(?i)minio")  # it may be a store for tests, beside the one that is deployed to


def store(job: Job) -> str:
    """What shows that a job sends its S3 calls elsewhere; '' where nothing does."""
    tables: Iterator[Mapping[str, str]] = iter((job.workflow.env, job.env, *(step.env for step in job.steps)))
    named = next((name for table in tables for name in table if _NAMES.match(name)), "")
    return named or _first(job, _HOSTS)


def perhaps(job: Job) -> str:
    """The same, where it is not certain."""
    return store(job) or _first(job, _PERHAPS)


def _first(job: Job, pattern: re.Pattern[str]) -> str:
    return next((found[0] for text in leaves(job.node) if (found := pattern.search(text))), "")
