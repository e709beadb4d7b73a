"""The npm registry behind ``bot.world.Npm``, and how its answers become our errors.

Paths and codes as the npm client uses them (npm CLI 11, libnpmpublish; github.com/npm/registry, docs). Only a read
is tried again here. The token is sent to the registry alone, and redirects are not followed with it.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

from bot import errors, traces
from bot.model import Secret
from bot.reads import again, decoded
from bot.world import Reply

REGISTRY, DOWNLOADS = "https://registry.npmjs.org", "https://api.npmjs.org"
CONNECT_S, READ_S = 5.0, 20.0
MAX_TARBALL = 256 * 1024 * 1024


def escaped(package: str) -> str:
    """A package's name as a part of a path: @scope%2fname."""
    return quote(package, safe="@")


class NpmClient:
    """One registry, as the bot's own token or as a token that is being tried."""

    def __init__(self, *, token: str = "", base_url: str = REGISTRY, downloads_url: str = DOWNLOADS) -> None:
        self._token, self._base, self._downloads = token, base_url.rstrip("/"), downloads_url.rstrip("/")

    def _ask(self, verb: str, url: str, *, token: str = "", body: Any = None) -> requests.Response:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with requests.Session() as session:
            session.trust_env = False  # no ~/.netrc, no proxy of the machine
            try:
                with traces.span("request", provider="npm", method=verb) as say:
                    answer = session.request(
                        verb, url, json=body, headers=headers, timeout=(CONNECT_S, READ_S), allow_redirects=not token
                    )
                    say(status=answer.status_code)
                    return answer
            except requests.RequestException as exc:
                name = type(exc).__name__
        raise errors.Unavailable(f"npm did not answer ({name})", provider="npm")

    def _call(self, verb: str, path: str, *, token: str = "", body: Any = None) -> Reply:
        def once() -> Reply:
            answer = self._ask(verb, self._base + path, token=token, body=body)
            return _reply(answer, f"{verb} {path.split('?')[0]}")

        return again(once) if verb == "GET" else once()

    def get(self, path: str, *, write: bool = False) -> Any:
        return self._call("GET", path, token=self._own() if write else "").data

    def send(self, verb: str, path: str, body: Any = None) -> Reply:
        return self._call(verb, path, token=self._own(), body=body)

    def _own(self) -> str:
        if not self._token:
            raise errors.Forbidden(
                "no npm token is configured (BULKHEAD_NPM_TOKEN)", provider="npm", permission="package:write"
            )
        return self._token

    def download(self, url: str) -> bytes:
        if not url.startswith(f"{self._base}/"):
            raise errors.Rejected("the tarball does not lie at the registry", provider="npm")

        def once() -> requests.Response:
            answer = self._ask("GET", url)
            if answer.status_code >= 400:
                _reply(answer, "GET of a tarball")
            return answer

        answer = again(once)
        if len(answer.content) > MAX_TARBALL:
            raise errors.Rejected(f"the tarball is larger than {MAX_TARBALL} bytes", provider="npm")
        return answer.content

    def downloads(self, package: str) -> dict[str, int]:
        url = f"{self._downloads}/versions/{escaped(package)}/last-week"
        data = again(lambda: _reply(self._ask("GET", url), "GET of the downloads")).data
        return {str(version): int(count) for version, count in data["downloads"].items()}

    def user_of(self, secret: Secret) -> str:
        return str(self._call("GET", "/-/whoami", token=secret.reveal()).data["username"])


def _reply(answer: requests.Response, what: str) -> Reply:
    status = answer.status_code
    if status < 300:
        headers = {k.lower(): v for k, v in answer.headers.items()}
        return Reply(status, headers, decoded(answer.text, what, "npm"))
    try:
        data = answer.json() if answer.content else None
    except ValueError:
        data = None
    said = str(data.get("error") or data.get("message") or "") if isinstance(data, dict) else ""
    text = f"npm refused {what}: {status}" + (f", {said[:300]}" if said else "")
    code = str(status)
    if status == 401:
        if "otp" in answer.headers.get("www-authenticate", "").lower():
            raise errors.Forbidden(text, provider="npm", code="EOTP", permission="a person with a second factor")
        raise errors.Refused(text, provider="npm", code=code)
    if status == 403:
        raise errors.Forbidden(text, provider="npm", code=code, permission="package:write")
    if status == 404:
        raise errors.NotFound(text, provider="npm", code=code)
    if status == 429:
        wait = answer.headers.get("retry-after", "")
        raise errors.RateLimited(text, provider="npm", code=code, retry_after=float(wait) if wait.isdigit() else 60.0)
    if status == 409 or status >= 500:  # 409: somebody wrote between our read and our write; look, then try again
        raise errors.Unavailable(text, provider="npm", code=code)
    raise errors.Rejected(text, provider="npm", code=code)
