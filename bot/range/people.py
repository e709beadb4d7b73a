"""The company's people at the range's GitHub."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from bot.errors import InputError
from bot.range import company

if TYPE_CHECKING:
    from bot.range.server import Range


def as_person(
    range_: Range, login: str, method: str, path: str, body: dict[str, Any] | None = None,
    repository: str = company.FERRY,
) -> Any:  # fmt: skip
    """Ask the range's GitHub about a repository as one of the cast. Raises InputError when it refuses."""
    with requests.Session() as session:
        session.trust_env = False  # no ~/.netrc, no proxy of the machine
        headers = {"Authorization": f"Bearer {range_.company.cast['github'][login]}"}
        url = f"{range_.github_url}/repos/{repository}{path}"
        answer = session.request(method, url, json=body, headers=headers, timeout=30)
    if answer.status_code >= HTTPStatus.BAD_REQUEST:
        raise InputError(f"the range's GitHub answered {answer.status_code} to {method} {path}")
    return answer.json() if answer.content else None
