"""The company's people at the range's GitHub."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from bot.errors import InputError
from bot.range import company
from bot.range.attacker import Attacker, Loot

if TYPE_CHECKING:
    from bot.range.server import Range


def as_person(
    range_: Range, login: str, method: str, path: str, body: dict[str, Any] | None = None,
    repository: str = company.FERRY, *, raw: bool = False,
) -> Any:  # fmt: skip
    """Ask the range's GitHub about a repository as one of the cast; ``raw``: bytes. Raises InputError if it refuses."""
    with requests.Session() as session:
        session.trust_env = False  # no ~/.netrc, no proxy of the machine
        headers = {"Authorization": f"Bearer {range_.company.cast['github'][login]}"}
        url = f"{range_.github_url}/repos/{repository}{path}"
        answer = session.request(method, url, json=body, headers=headers, timeout=30)
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise InputError(f"the range's GitHub answered {answer.status_code} to {method} {path}")
    if raw:
        return answer.content
    return answer.json() if answer.content else None


def as_administrator(range_: Range) -> Any:
    """IAM of the range as whoever of the company may change its users."""
    key = range_.company.cast["aws"][company.RESPONDER]
    attacker = Attacker(range_.aws_url, range_.github_url, "")  # the client is the same; the key is not
    return attacker.client("iam", Loot(key["key_id"], key["secret"]))
