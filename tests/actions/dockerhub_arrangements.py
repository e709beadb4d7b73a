"""Arrangements for Docker Hub: a token that leaked, a tag that nobody pushed by right, and ``latest`` moved there."""

from __future__ import annotations

from typing import Any

from bot.actions.dockerhub import FindIn
from bot.actions.packages import TokenIn
from bot.model import Credential, ImageTag, TagMove, WorkflowRef
from bot.range.registries import HUB_ORG, HUB_OWNER
from bot.range.registries.docker import image
from bot.range.registries.docker_theft import IMAGE, RELEASE, REPOSITORY, TOKEN_NAME, backdoored, hub_of, open_shop
from bot.range.registries.theft import BAD, GOOD, LATER
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill


def leaked(drill: Drill, *, organizations: bool = False) -> Credential:
    """The shop is open, and its token is held as after intake."""
    kind, account = ("dockerhub-oat", HUB_ORG) if organizations else ("dockerhub-pat", HUB_OWNER)
    found = Credential(provider="dockerhub", kind=kind, id="leaked", account=account)
    drill.world.secrets.seal(
        f"leaked:{found.key}", open_shop(drill.range, organizations=organizations), found.key
    )  # fmt: skip
    return found


def released(drill: Drill, version: str = GOOD) -> str:
    """A release of mara's, by its number and as latest; its digest."""
    document, blobs = image(IMAGE, {"app.txt": version.encode()})
    return hub_of(drill.range).publish(HUB_OWNER, IMAGE, (version, "latest"), document, blobs)


def pushed(drill: Drill, version: str, *tags: str) -> str:
    """An image of the thief's under these tags; its digest."""
    document, blobs = backdoored(version)
    return hub_of(drill.range).publish(HUB_OWNER, IMAGE, tags, document, blobs)


def find_in(drill: Drill, **more: Any) -> FindIn:
    """A good release, then an hour in which the token was exposed."""
    credential = leaked(drill)
    released(drill)
    drill.range.clock.advance(60)
    since = drill.world.now().isoformat()
    drill.range.clock.advance(3600)
    flows = (WorkflowRef(repository=REPOSITORY, workflow=RELEASE),)
    return FindIn(repository=REPOSITORY, credential=credential, since=since, workflows=flows, **more)


def bad_push(drill: Drill) -> FindIn:
    """What the thief does: a number that nobody released, and latest."""
    given = find_in(drill)
    pushed(drill, BAD, BAD, "latest")
    return given


def bad_tag(drill: Drill) -> ImageTag:
    """The tag under which it was pushed."""
    bad_push(drill)
    return ImageTag(package=IMAGE, tag=BAD, digest=drill.world.registries["dockerhub"].digest(IMAGE, BAD))  # type: ignore[attr-defined]


def moved(drill: Drill) -> TagMove:
    """Latest leads to it."""
    bad = bad_tag(drill)
    good = drill.world.registries["dockerhub"].digest(IMAGE, GOOD)  # type: ignore[attr-defined]
    return TagMove(package=IMAGE, tag="latest", bad=bad.digest, good=good)


def _revoke(drill: Drill, _inputs: Any, _out: Any) -> None:
    hub_of(drill.range).revoke(TOKEN_NAME)


def _again(*tags: str) -> Any:
    """The thief's image is there again, under these tags."""
    return lambda drill, _inputs, _out: pushed(drill, BAD, *tags) and None


def _other(*tags: str) -> Any:
    return lambda drill, _inputs, _out: pushed(drill, LATER, *tags) and None


HUB: tuple[Arrangement, ...] = (
    Arrangement(
        action="dockerhub.check_token", seed=lambda d: TokenIn(credential=leaked(d)), take_away=_revoke
    ),
    Arrangement(action="dockerhub.find_unexplained_tags", seed=bad_push, take_away=_other(LATER)),
    Arrangement(
        action="dockerhub.move_tag_back", seed=moved, take_away=_again("latest"), meddle=_other("latest"),
    ),
    Arrangement(action="dockerhub.delete_tag", seed=bad_tag, take_away=_again(BAD), meddle=_other(BAD)),
)  # fmt: skip
