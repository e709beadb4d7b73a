"""What became of a migration's pull request, asked by the clock until what it replaces is dead.

Merged? Has a run got in by its identity? Is the old secret still there, is the old key still alive? Each answer is an
event of the incident whose step opened the pull request, so it is told where that incident is told, also when it has
been closed for weeks. The events are all the memory there is: an answer has one key, so two clocks, or one that was
killed, say it once. What is left after the first run is offered: a row, for which the engine asks people about each
last step (``bot/engine/afterwards.py``). What is found later is offered then; what still lives after ``REMINDS`` is
said again, and what was denied or has failed is offered again. "Moved to OIDC" is said last, when the old credential is
dead.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bot.actions import aws_iam, aws_trail
from bot.actions.github_oidc import Moved
from bot.actions.github_secrets import copies_of, delete_secret, places_of, shown
from bot.clock import Job
from bot.engine.afterwards import OFFER
from bot.engine.decisions import HOUSE
from bot.errors import BulkheadError
from bot.model import SecretStore
from bot.oidc.repository import FOLDER
from bot.reference import adapter
from bot.store import Store, iso, when
from bot.timeline import Event, Timeline, load, steps_using
from bot.triage.liveness import iam_user
from bot.world import World

OPENS, ROTATES = "github.open_migration", "aws.rotate_access_key"
BY_HAND = "people.rotate_by_hand"
KIND = "migration"
EVERY_S = 1800.0
REMINDS = timedelta(days=14)  # so long a pull request, or a last step, may stand open before that is said again
OVER = ("moved", "declined")
log = logging.getLogger("bulkhead.moved")


@dataclass(slots=True, kw_only=True)
class Migration:
    """One pull request, and what has been said of it: question -> answer."""

    incident: str
    step: str
    world: str
    given: dict[str, Any]
    pull: int
    url: str
    opened: datetime
    files: tuple[str, ...]
    moves: tuple[Moved, ...]
    keys: tuple[tuple[str, str], ...]  # user ('' to be asked), access key id: what the jobs had, and nobody has cut
    alive: bool  # the other credentials that were moved were renewed, or nothing of them had leaked
    words: dict[str, str]  # step -> who said that it is done, and what
    said: dict[str, Event] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Nothing is asked any more."""
        return any(event.body and event.body["answer"] in OVER for event in self.said.values())

    def answer(self, question: str) -> str:
        """What stands as the answer; '' for none yet."""
        event = self.said.get(question)
        return str(event.body["answer"]) if event is not None and event.body else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """One thing that the jobs had before: whether it still lives, and the steps that would end that."""

    question: str
    answer: str
    said: str
    alive: bool
    steps: tuple[dict[str, Any], ...] = ()


def migrations(store: Store) -> Iterator[Migration]:
    """Every pull request that a step has opened; one that a later incident has only found again stays the first's."""
    seen = set()
    for incident, step in steps_using(store, OPENS):
        events = [event for event in load(store, incident) if event.body is not None]
        look = next(event for event in events if event.step == step and event.kind == "look")
        done = [e for e in events if e.step == step and e.kind == "outcome" and e.body["outcome"].get("pull")]
        if not done or done[-1].body["outcome"]["url"] in seen:
            continue
        seen.add(done[-1].body["outcome"]["url"])
        given = look.body["inputs"]
        rotated = {e.step: e.body["inputs"]["user"] for e in events if _uses(e, ROTATES)}
        by_hand = {e.step for e in events if _uses(e, BY_HAND)}
        outcomes = [e for e in events if e.kind == "outcome"]
        keys = tuple(
            (rotated[e.step], e.body["outcome"]["key_id"]) for e in outcomes
            if e.step in rotated and e.body["outcome"].get("key_id")
        )  # fmt: skip
        if given.get("ordered"):
            keys = tuple(("", e.body["order"]["key"]) for e in events if e.kind == "triage" and e.body["order"]["key"])
        yield Migration(
            incident=incident, step=step, world=store.incident(incident).world, given=given,
            pull=int(done[-1].body["outcome"]["pull"]), url=done[-1].body["outcome"]["url"], opened=when(done[-1].at),
            files=tuple(each["path"] for each in look.body["before"]["files"]),
            moves=tuple(adapter(Moved).validate_python(each) for each in look.body["before"].get("moves", ())),
            keys=keys, alive=bool(given.get("ordered")) or any(e.step in by_hand for e in outcomes),
            words={e.step: e.body["detail"] for e in events if e.kind == "proof" and e.body["verdict"] == "proven"},
            said={
                e.step.removeprefix(f"{step}/"): e for e in events if e.kind == KIND and e.step.startswith(f"{step}/")
            },
        )  # fmt: skip


def _uses(event: Event, action: str) -> bool:
    return event.kind == "look" and bool(event.body) and event.body.get("uses") == action


class Watch:
    """Asks, and writes down what has changed."""

    def __init__(self, store: Store, timeline: Timeline, worlds: Mapping[str, Callable[[str], World]]) -> None:
        self._store, self._timeline, self._worlds = store, timeline, worlds

    def turn(self) -> int:
        """Ask of every migration that is not over; returns how many answers are new. One process at a time."""
        new = 0
        with self._store.only_one("migrations") as mine:
            for one in migrations(self._store) if mine else ():
                if one.over or one.world not in self._worlds:
                    continue
                try:
                    new += self._ask(one, self._worlds[one.world](one.incident))
                except BulkheadError as exc:  # of one provider: the others are asked all the same, this one again later
                    log.warning("what became of %s could not be asked: %s", one.url, exc)
        return new

    def _ask(self, one: Migration, world: World) -> int:
        pull = world.github.get(f"/repos/{one.given['repository']}/pulls/{one.pull}")
        if not pull.get("merged"):
            return self._unmerged(one, world, str(pull["state"]))
        merged = str(pull["merged_at"])
        new = self._say(one, world, "merge", "merged", f"{one.url} was merged at {merged}")
        new += self._identity(one, world, datetime.fromisoformat(merged))
        if one.answer("identity") != "used":
            return new
        left = [*self._secrets(one, world), *self._keys(one, world), *self._others(one)]
        new += sum(self._say(one, world, each.question, each.answer, each.said) for each in left)
        if not any(each.alive for each in left):
            words = "".join(f"; {each.said}" for each in left if each.question.startswith("token:"))
            said = f"{one.given['repository']} has moved to OIDC: its jobs use it, and what they had before is dead"
            return new + self._say(one, world, "end", "moved", said + words)
        rest = "; ".join(each.said for each in left if each.alive)
        times = int((world.now() - when(one.said["identity"].at)) / REMINDS)
        new += self._say(one, world, "rest", *_rest(rest, times))
        self._offer(one, world, [step for each in left if each.alive for step in each.steps], times)
        return new

    def _offer(self, one: Migration, world: World, steps: list[dict[str, Any]], times: int) -> None:
        """Have people asked about the last steps: the engine does what they agree to, and proves it.

        A step is offered when it is first found, and again, under a number, when its last try was denied or failed and
        another ``REMINDS`` is over. One that people are still asked about is not asked about twice.
        """
        rows = [r for r in self._store.decisions(one.incident, kind=OFFER) if r.step == one.step and r.by == HOUSE]
        tries: dict[str, list[str]] = {}
        for each in (step for row in rows for step in row.body["steps"]):
            tries.setdefault(each.get("first", each["id"]), []).append(each["id"])
        ended = {event.step for event in load(self._store, one.incident) if event.kind == "failed" or _proven(event)}
        named: dict[str, str] = {}
        for first in (step["id"] for step in steps):
            past = tries.get(first, [])
            if not past or (past[-1] in ended and len(past) <= times):
                named[first] = f"{first}/{len(past) + 1}" if past else first
        offered = [
            step | {"id": named[step["id"]], "first": step["id"]}
            | ({"needs": named[step["needs"]]} if step.get("needs") in named else {})
            for step in steps if step["id"] in named
        ]  # fmt: skip
        if offered:
            self._store.add_decision({
                "incident": one.incident, "step": one.step, "kind": OFFER, "by": HOUSE, "at": iso(world.now()),
                "plan_hash": f"again-{len(rows)}" if rows else "", "body": {"steps": offered},
            })  # fmt: skip

    def _unmerged(self, one: Migration, world: World, state: str) -> int:
        if state != "open":
            said = f"{one.url} was closed without being merged; what it was for still stands, and is not asked again"
            return self._say(one, world, "merge", "declined", said)
        times = int((world.now() - one.opened) / REMINDS)
        days = (REMINDS * times).days
        said = f"{one.url} has been open for {days} days; until it is merged, the next leak is worth as much as this"
        return self._say(one, world, "merge", f"open for {days} days", said) if times else 0

    def _identity(self, one: Migration, world: World, merged: datetime) -> int:
        """Whether a run has got in by its identity: by the provider's log where it is ours, else by the run itself."""
        if one.answer("identity") == "used":
            return 0
        if role := one.given.get("role"):
            calls = aws_trail.lookup(world, "ResourceName", role, merged, world.now() + timedelta(seconds=1))
            used = next((call for call in calls if call.name == "AssumeRoleWithWebIdentity"), None)
            if used is not None:
                said = f"CloudTrail shows {used.actor} in {role} at {iso(used.at)}"
                return self._say(one, world, "identity", "used", said)
        return self._runs(one, world, merged, trusted=not role)

    def _runs(self, one: Migration, world: World, merged: datetime, *, trusted: bool) -> int:
        """``trusted``: nobody's log can be asked, so a run that succeeded counts as one that got in."""
        for path in (each for each in one.files if each.startswith(FOLDER)):
            name = path.rpartition("/")[2]
            answer = world.github.get(f"/repos/{one.given['repository']}/actions/workflows/{name}/runs", per_page=20)
            runs = [r for r in answer["workflow_runs"] if datetime.fromisoformat(r["created_at"]) >= merged]
            good = next((r for r in runs if r["conclusion"] == "success"), None)
            if good is not None and trusted:
                said = f"{good['html_url']} has succeeded since the merge; the registry has no log that can be asked"
                return self._say(one, world, "identity", "used", said)
            bad = next((r for r in runs if r["conclusion"] == "failure"), None)
            if bad is not None and good is None:
                said = f"{bad['html_url']} has failed since the merge: is the trust set up, and are the variables set?"
                return self._say(one, world, "identity", "failed", said)
        return 0

    def _secrets(self, one: Migration, world: World) -> Iterator[Left]:
        """Each secret that held a credential: where an incident has found it, else wherever one of its name stands."""
        repository, stores = one.given["repository"], one.given.get("stores")
        if stores is not None:
            given = [adapter(SecretStore).validate_python(store) for store in stores]
            places = {store.name: [each for each in given if each.name == store.name] for store in given}
            places = {name: [s for s in found if delete_secret.look(world, s).needed] for name, found in places.items()}
        else:
            names = [name for move in one.moves for name in move.secrets]
            places = places_of(world, repository, names)
        for name, found in places.items():
            what = "; ".join(
                f"{shown(store)} still holds the old credential: "
                + ("others may read it, so it is deleted by hand" if store.scope == "organization" else "delete it")
                for store in found
            )  # fmt: skip
            steps = tuple(
                {"id": f"{one.step}/delete-{name}{f'@{store.environment}' if store.environment else ''}",
                 "uses": "github.delete_secret", "with": asdict(store)}
                for store in found if store.scope != "organization"
            )  # fmt: skip
            gone = f"{name} (actions, {repository}) is gone"
            yield Left(question=f"secret:{name}", answer="stands" if found else "gone", said=what or gone,
                       alive=bool(found), steps=steps)  # fmt: skip
        yield from self._copies(one, world, list(places))

    def _copies(self, one: Migration, world: World, names: list[str]) -> Iterator[Left]:
        """Secrets of the same names for Dependabot, Codespaces and agents: the old value lives on in them.

        One that somebody has refused to delete is kept by that word: it may hold another value.
        """
        repository = one.given["repository"]
        found, unseen = copies_of(world, repository, names)
        for store in found:
            step = f"{one.step}/delete-{store.name}@{store.store}"
            kept = self._denied(one, step)
            theirs = store.scope == "organization"
            hand = "others may read it, so it is deleted by hand" if theirs else "delete it, if it is the same value"
            said = f"{shown(store)} is kept: {kept}" if kept else f"{shown(store)} may hold the old credential: {hand}"
            yield Left(
                question=f"secret:{store.name}@{store.store}/{store.scope}", answer="kept" if kept else "stands",
                said=said, alive=not kept and not theirs,
                steps=() if theirs else ({"id": step, "uses": "github.delete_secret", "with": asdict(store)},),
            )  # fmt: skip
        there = {f"secret:{store.name}@{store.store}/{store.scope}" for store in found}
        for question in (each for each in one.said if each.startswith("secret:") and "@" in each):
            if question not in there:
                said = f"{question.removeprefix('secret:')} is gone"
                yield Left(question=question, answer="gone", said=said, alive=False)
        if unseen:
            said = f"whether the names stand elsewhere too could not be seen: {'; '.join(unseen)}"
            yield Left(question="secret:unseen", answer=said, said=said, alive=False)

    def _denied(self, one: Migration, step: str) -> str:
        """Who has refused a last step, in words; '' for nobody."""
        for event in load(self._store, one.incident):
            if event.kind == "failed" and event.body and event.body["denied"] and _same(event.step, step):
                return str(event.body["error"])
        return ""

    def _keys(self, one: Migration, world: World) -> Iterator[Left]:
        for told, key in one.keys:
            user = told or self._user(one, world, key)
            state = aws_iam.key_of(world, user, key) if user else None
            alive = state is not None and state.status == "Active"
            off = f"{one.step}/deactivate-{key}"
            steps = (
                {"id": off, "uses": "aws.deactivate_access_key", "with": {"key": key}},
                {"id": f"{one.step}/delete-{key}", "uses": "aws.delete_access_key", "with": {"user": user, "key": key},
                 "needs": off},
            )  # fmt: skip
            said = f"{key} of {user} still works: deactivate it, then delete it" if alive else f"{key} is dead"
            yield Left(question=f"key:{key}", answer="alive" if alive else "dead", said=said, alive=alive, steps=steps)

    def _user(self, one: Migration, world: World, key: str) -> str:
        """Whose key it is, as it was when the last steps were offered: IAM does not tell it of one that is gone."""
        for row in self._store.decisions(one.incident, kind=OFFER):
            for step in row.body["steps"] if row.step == one.step and row.by == HOUSE else ():
                if step["with"].get("key") == key and step["with"].get("user"):
                    return str(step["with"]["user"])
        return iam_user(world, key)

    def _others(self, one: Migration) -> Iterator[Left]:
        """What no API can revoke, or whose value nobody holds: somebody says that it is dead, and that is said."""
        for move in one.moves if one.alive else ():
            if move.provider == "aws" and one.keys:
                continue
            name = move.secrets[-1]
            step = f"{one.step}/revoke-{name}"
            word = next((said for each, said in one.words.items() if _same(each, step)), "")
            what = f"the credential of {move.title} that stood in {name}"
            task = f"revoke {what}, and say so; nobody here holds its value, so your word is all there is"
            yield Left(
                question=f"token:{name}", answer="dead" if word else "alive", alive=not word,
                said=f"{what} is dead by word: {word}" if word else f"{what} is not known to be dead: revoke it",
                steps=({"id": step, "uses": "people.do", "with": {"who": "whoever it belongs to", "task": task}},),
            )  # fmt: skip

    def _say(self, one: Migration, world: World, question: str, answer: str, said: str) -> int:
        """Write an answer down unless it stands already; 1 when it is new."""
        if one.answer(question) == answer:
            return 0
        last = one.said.get(question)
        body = {"question": question, "answer": answer, "said": said, "url": one.url}
        attempt = last.attempt + 1 if last else 1
        event = self._timeline.append(
            one.incident, f"{one.step}/{question}", "migration", body, attempt=attempt, at=iso(world.now())
        ).result()  # fmt: skip
        one.said[question] = event
        return 1


def _proven(event: Event) -> bool:
    return event.kind == "proof" and bool(event.body) and event.body["verdict"] == "proven"


def _same(step: str, first: str) -> bool:
    """Whether this is a try of a last step, the first one or a later."""
    return step == first or step.startswith(f"{first}/")


def _rest(rest: str, times: int) -> tuple[str, str]:
    """What is left, as an answer and in words; said again each time that ``REMINDS`` is over."""
    if not times:
        return rest, f"not moved yet: {rest}"
    days = (REMINDS * times).days
    return f"{days} days: {rest}", f"still not moved, {days} days after the first run by an identity: {rest}"


def watching(store: Store, timeline: Timeline, worlds: Mapping[str, Callable[[str], World]]) -> Job:
    """What a worker does by the clock: it has the clients of every World."""
    watch = Watch(store, timeline, worlds)

    async def ask() -> None:
        await asyncio.to_thread(watch.turn)

    return Job(ask, EVERY_S)
