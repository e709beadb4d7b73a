"""Where an incident is told: the incidents channel, or a private one of its own. Never where outsiders read along."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from bot.errors import Rejected
from bot.posts import INTENDED, OVER, SENT, Posts
from bot.slack.picture import SERIOUS, Picture
from bot.slack.wire import Wire

PLACE = "place"
SEEN_S = 60.0  # so long a channel is believed to be as it was
MEMBERS_S = 300.0
ZONE_S = 86_400.0  # people travel
NAMES = 5  # that are tried for a private channel
SHARED = ("is_ext_shared", "is_pending_ext_shared", "is_shared", "is_archived")
NOBODY_CAN = {"cant_invite_self", "already_in_channel", "cant_invite", "user_is_restricted", "ura_max_channels",
              "user_not_found", "no_user", "org_user_not_in_team", "user_team_not_in_channel"}  # fmt: skip
log = logging.getLogger("bulkhead.slack")


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """The channels of the settings. ``private``: the severities that get a channel of their own."""

    channel: str
    drills: str = ""
    private: frozenset[str] = frozenset(SERIOUS)
    invited: frozenset[str] = frozenset()  # user groups whose people are let into a private channel


class Places:
    """Finds a channel for each incident, makes it when need be, and lets people in."""

    def __init__(
        self, wire: Wire, posts: Posts, where: Where, user: Callable[[str], str],
        now: Callable[[], float] = time.monotonic, ordered: Callable[[str], str] = lambda _report: "",
    ) -> None:  # fmt: skip
        """``ordered``: the id of a drill's report -> the channel that it was ordered into, or ""."""
        self._wire, self._posts, self._where, self._user, self._now = wire, posts, where, user, now
        self._ordered = ordered
        self._safe: dict[str, tuple[float, bool]] = {}
        self._groups: dict[str, tuple[float, tuple[str, ...]]] = {}
        self._zones: dict[str, tuple[float, str]] = {}
        self._bot = ""

    @property
    def somewhere(self) -> bool:
        """Whether the settings name a channel: without one, no incident is told."""
        return bool(self._where.channel)

    def wanted(self, picture: Picture) -> str:
        """The channel of the settings, or "" when the incident is to have a private one."""
        if picture.drill:
            return self.of_drill(self._ordered(str(picture.row.body.get("inbox", ""))))
        return "" if picture.level in self._where.private else self._where.channel

    def of_drill(self, ordered: str) -> str:
        """The channel that a drill is told in. ``ordered``: the one that it was ordered into, or ""."""
        return ordered if ordered and self.safe(ordered) else self._where.drills or self._where.channel

    def private(self, picture: Picture) -> str:
        """The channel that was made for this incident, or that it stays in since none could be made; else ""."""
        row = self._posts.get(f"{picture.row.id}/place")
        return str(row.body["channel"]) if row is not None and row.state != INTENDED else ""

    def lose(self, picture: Picture) -> None:
        """Its private channel is no more: the next time another is made."""
        row = self._posts.get(f"{picture.row.id}/place")
        if row is not None:
            self._posts.save(replace(row, state=INTENDED, body={"invited": []}))

    def find(self, picture: Picture, at: str) -> str:
        """The channel that this incident is told in. Raises bot.errors' ProviderErrors."""
        wanted = self.wanted(picture)
        if wanted and self.safe(wanted):
            return wanted
        if channel := self.private(picture):
            return channel
        try:
            return self._make(picture, at)
        except Rejected as exc:
            if not (self._where.channel and self.safe(self._where.channel)):
                raise
            # People who are asked must see it: better among all of the incidents channel than nowhere.
            log.error("no private channel for %s (%s); it is told in the incidents channel", picture.row.id, exc.code)  # noqa: TRY400
            return self._stay(picture, exc.code)

    def _stay(self, picture: Picture, why: str) -> str:
        row = self._posts.get(f"{picture.row.id}/place")
        assert row is not None, "it was intended before it was refused"
        self._posts.save(replace(row, state=OVER, body=row.body | {"channel": self._where.channel, "refused": why}))
        return self._where.channel

    def safe(self, channel: str) -> bool:
        """Whether only people of our own company read there. Asked again every minute: a channel can become shared.

        A direct message (``D…``) is read by the one whom it was opened with.
        """
        if channel.startswith("D"):
            return True
        seen, good = self._safe.get(channel, (-SEEN_S, False))
        if self._now() - seen < SEEN_S:
            return good
        said = self._wire.call("conversations.info", lambda: self._wire.client.conversations_info(channel=channel))
        found = said.get("channel") or {}
        wrong = [name for name in SHARED if found.get(name)]
        if wrong:
            log.error(
                "nothing is told in the channel %s: %s. Name another in BULKHEAD_SLACK_CHANNEL", channel, wrong[0]
            )
        self._safe[channel] = self._now(), not wrong
        return not wrong

    # a private channel -------------------------------------------------------------------------------------------

    def _make(self, picture: Picture, at: str) -> str:
        """Make the private channel. A crash after Slack made it leaves its name taken: then it is looked for."""
        key = f"{picture.row.id}/place"
        row, _ = self._posts.intend(key, incident=picture.row.id, kind=PLACE, at=at, body={"invited": []})
        for k in range(NAMES):
            name = picture.row.id.lower()[:76] + (f"-{k + 1}" if k else "")
            try:
                said = self._wire.call("conversations.create", lambda name=name: self._wire.client.conversations_create(
                    name=name, is_private=True))  # type: ignore[misc]  # fmt: skip
                channel = str(said["channel"]["id"])
            except Rejected as exc:
                if exc.code != "name_taken":
                    raise
                channel = self._mine(name)
            if channel:
                self._posts.save(replace(row, state=SENT, body=row.body | {"channel": channel}))
                return channel
        raise Rejected(
            f"no name is free for a private channel of {picture.row.id}", provider="slack", code="name_taken"
        )

    def _mine(self, name: str) -> str:
        """A private channel of this name that we made ourselves, or "": somebody else's is none of ours."""
        cursor: str | None = None
        while True:
            said = self._list(cursor)
            for channel in said.get("channels") or ():
                if channel["name"] == name and channel.get("creator") == self.bot():
                    return str(channel["id"])
            cursor = (said.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return ""

    def _list(self, cursor: str | None) -> dict[str, Any]:
        return self._wire.call("conversations.list", lambda: self._wire.client.conversations_list(
            types="private_channel", exclude_archived=True, limit=200, cursor=cursor))  # fmt: skip

    def bot(self) -> str:
        """Our own user, asked once."""
        if not self._bot:
            self._bot = str(self._wire.call("auth.test", self._wire.client.auth_test)["user_id"])
        return self._bot

    # people ------------------------------------------------------------------------------------------------------

    def invite(self, picture: Picture) -> bool:
        """Let those in who run the incident and are not in yet; False when there was nobody to invite."""
        row = self._posts.get(f"{picture.row.id}/place")
        if row is None or row.state != SENT:
            return False
        named = [self._user(name) for name in (picture.requester, *picture.roles.values())]
        people = dict.fromkeys([*(one for one in named if one), *self._members()])
        missing = [one for one in people if one not in row.body["invited"]]
        if not missing:
            return False
        self._let_in(str(row.body["channel"]), missing)
        self._posts.save(replace(row, body=row.body | {"invited": [*row.body["invited"], *missing]}))
        return True

    def _let_in(self, channel: str, people: list[str]) -> None:
        try:
            self._wire.call("conversations.invite", lambda: self._wire.client.conversations_invite(
                channel=channel, users=people[:100]))  # fmt: skip
            return
        except Rejected as exc:
            if exc.code not in NOBODY_CAN:
                raise
        for one in people if len(people) > 1 else ():  # one who cannot come does not keep the others out
            self._let_in(channel, [one])
        if len(people) == 1:
            log.warning("%s could not be let into the channel of an incident", people[0])

    def _members(self) -> Iterable[str]:
        for group in sorted(self._where.invited):
            yield from self.members(group)

    def members(self, group: str) -> tuple[str, ...]:
        """Who is in a user group, as of a few minutes ago: enough to invite and to show, not to decide."""
        seen, people = self._groups.get(group, (-MEMBERS_S, ()))
        if self._now() - seen >= MEMBERS_S:
            said = self._wire.call(
                "usergroups.users.list", lambda: self._wire.client.usergroups_users_list(usergroup=group)
            )
            people = tuple(map(str, said.get("users") or ()))
            self._groups[group] = self._now(), people
        return people

    def zone(self, user: str) -> str | None:
        """Somebody's time zone as their own client has set it, as of today; "" where Slack does not tell.

        None: Slack takes no such call now. Raises bot.errors' ProviderErrors.
        """
        seen, zone = self._zones.get(user, (-ZONE_S, ""))
        if self._now() - seen < ZONE_S:
            return zone
        if not self._wire.free("users.info"):
            return None
        try:
            said = self._wire.call("users.info", lambda: self._wire.client.users_info(user=user))
            zone = str((said.get("user") or {}).get("tz") or "")
        except Rejected as exc:
            log.warning("the time zone of %s is not known, so the house's counts: %s", user, exc.code)
            zone = ""
        self._zones[user] = self._now(), zone
        return zone

    def dm(self, user: str) -> str:
        """The channel of direct messages with somebody. Raises bot.errors' ProviderErrors."""
        said = self._wire.call("conversations.open", lambda: self._wire.client.conversations_open(users=user))
        return str(said["channel"]["id"])
