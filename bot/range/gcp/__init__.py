"""The range's Google Cloud: service accounts, their keys, the tokens that keys mint, and a bucket that these open."""

from __future__ import annotations

from bot.range.gcp.server import BUCKET, PROJECT, Gcp, key_file

__all__ = ["BOT", "BUCKET", "PROJECT", "Gcp", "key_file", "seed"]

BOT = "bulkhead-bot"
# What the bot's actions and its triage need, and no more.
_MAY = (
    "iam.serviceAccounts.get", "iam.serviceAccounts.disable", "iam.serviceAccounts.enable",
    "iam.serviceAccountKeys.get", "iam.serviceAccountKeys.list", "iam.serviceAccountKeys.disable",
    "iam.serviceAccountKeys.enable", "iam.serviceAccountKeys.delete", "resourcemanager.projects.getIamPolicy",
)  # fmt: skip


def seed(server: Gcp) -> dict[str, str]:
    """The bot's own account. Returns key files by account."""
    return {BOT: server.add_key(server.add_account(BOT, permissions=_MAY, roles=("roles/bulkheadResponder",)))}
