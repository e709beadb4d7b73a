"""What people have said of an incident beside their decisions, in plain words: a mark and a sentence each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Words = Callable[[dict[str, Any]], tuple[str, str]]


def _role(body: dict[str, Any]) -> tuple[str, str]:
    own = body["who"] == body["by"]
    return body["role"], f"{body['who']} {'takes it' if own else 'has it'} now{'' if own else ', says ' + body['by']}"


def _note(body: dict[str, Any]) -> tuple[str, str]:
    return "by hand" if body.get("act", True) else "update", f"{body['by']}: {body['text']}"


def _not_me(body: dict[str, Any]) -> tuple[str, str]:
    return "not me", f"{body['of']}: {body['by']} is not the one to decide; the others go on being asked"


def _owner_answer(body: dict[str, Any]) -> tuple[str, str]:
    said = "it was them" if body["said"] == "yes" else "it was not them"
    return "owner", f"{body['by']} says that {said}"


def _postmortem(body: dict[str, Any]) -> tuple[str, str]:
    if body["state"] == "published":
        return "published", f"the post-mortem, by {body['by']}, with {body['follow_ups']} follow-ups"
    return "post-mortem", "its draft is there; people are asked for luck, unknowns, the durable fix and follow-ups"


def _follow_up(body: dict[str, Any]) -> tuple[str, str]:
    whose = f" ({body['owner']})" if body["owner"] else ""
    return f"is {body['state']}", f"{body['title']}{whose}: {body['detail']}"


def _migration(body: dict[str, Any]) -> tuple[str, str]:
    return "migration", str(body["said"])


SPOKEN: dict[str, Words] = {
    "role": _role, "note": _note, "not-me": _not_me, "owner-answer": _owner_answer, "postmortem": _postmortem,
    "follow-up": _follow_up, "migration": _migration,
}  # fmt: skip
