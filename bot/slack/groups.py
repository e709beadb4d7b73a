"""Who is in which Slack user group, asked of Slack when somebody clicks; and the attestation of what it said."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from slack_sdk import WebClient

from bot.slack.client import slack_errors

FRESH_S = 5.0  # many clicks of one moment ask once
APART_S = 4.0  # a group: Slack answers this twenty times a minute, and the board asks too


class Groups:
    """Members of the user groups that the settings name."""

    def __init__(
        self, client: WebClient, groups: Mapping[str, frozenset[str]], now: Callable[[], float] = time.monotonic
    ) -> None:
        """``groups``: posture -> ids of user groups. ``now``: seconds."""
        self.by_posture = groups
        self._client, self._now = client, now
        self._lock = threading.Lock()
        self._known: dict[str, tuple[float, frozenset[str]]] = {}

    @property
    def ids(self) -> list[str]:
        """Every group that may decide somewhere."""
        return sorted(frozenset().union(*self.by_posture.values()))

    def of(self, user: str) -> list[str]:
        """The groups that this user is in now. Raises bot.errors when Slack does not say."""
        return [group for group in self.ids if user in self.members(group)]

    def members(self, group: str) -> frozenset[str]:
        """Who is in a group now: no answer of Slack is older than a few seconds. Raises bot.errors."""
        with self._lock:  # who comes second finds the answer of the first
            at, members = self._known.get(group, (float("-inf"), frozenset()))
            if self._now() - at > max(FRESH_S, APART_S * len(self.ids)):
                members = frozenset(self._ask(group))
                self._known[group] = (self._now(), members)
            return members

    def _ask(self, group: str) -> Iterable[str]:
        with slack_errors(f"say who is in the user group {group}"):
            answer: Any = self._client.usergroups_users_list(usergroup=group)
            return [str(user) for user in answer["users"]]
