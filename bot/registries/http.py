"""Calls of a registry over HTTP. No call is repeated here, and no redirect is followed with a token."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from typing import Any

import requests

from bot import errors, traces
from bot.reads import decoded
from bot.world import Reply

CONNECT_S, READ_S = 5.0, 20.0
MAX_FILE = 256 * 1024 * 1024
AGENT = {"User-Agent": "bulkhead (containment of leaked CI tokens)"}  # crates.io refuses whoever says nothing
_GITHUB = re.compile(r"github\.com[/:]([\w.-]+/[\w.-]+?)(?:\.git)?(?:[/#].*)?\Z")


class Http:
    """One registry's addresses. ``setting`` names the variable that holds the bot's own token."""

    def __init__(
        self, *, label: str, provider: str, base_url: str, token: str = "", setting: str = "", hosts: Iterable[str] = ()
    ) -> None:
        self.label, self.provider, self.base = label, provider, base_url.rstrip("/")
        self._token, self._setting = token, setting
        self._hosts = tuple(f"{url.rstrip('/')}/" for url in (base_url, *hosts))

    def ask(self, verb: str, url: str, *, headers: dict[str, str] | None = None, **more: Any) -> requests.Response:
        """An answer, whatever its status. Raises Unavailable when there is none."""
        given = headers or {}
        with requests.Session() as session:
            session.trust_env = False  # no ~/.netrc, no proxy of the machine
            try:
                with traces.span("request", provider=self.provider, method=verb) as say:
                    answer = session.request(
                        verb, url, headers=AGENT | given, timeout=(CONNECT_S, READ_S),
                        allow_redirects="Authorization" not in given and "auth" not in more, **more,
                    )  # fmt: skip
                    say(status=answer.status_code)
                    return answer
            except requests.RequestException as exc:
                name = type(exc).__name__
        raise errors.Unavailable(f"{self.label} did not answer ({name})", provider=self.provider)

    def get(self, url: str, accept: str = "application/json") -> Any:
        """A document. ``url`` is whole, or a path of this registry."""
        answer = self.ask("GET", self._whole(url), headers={"Accept": accept})
        if answer.status_code < 300:
            return decoded(answer.text, f"GET {url}", self.provider)
        return self.reply(answer, f"GET {url}").data

    def text(self, url: str) -> str:
        """A text that is no JSON."""
        answer = self.ask("GET", self._whole(url))
        if answer.status_code >= 400:
            self.reply(answer, f"GET {url}")
        return answer.text

    def _whole(self, url: str) -> str:
        """The address of a path. Raises Rejected for one that a document names and that lies elsewhere."""
        if "://" not in url:
            return self.base + url
        if not url.startswith(self._hosts):
            raise errors.Rejected(f"{url[:200]!r} does not lie at {self.label}", provider=self.provider)
        return url

    def own(self) -> str:
        """The bot's own token. Raises Forbidden, which names the setting, where there is none."""
        if not self._token:
            said = f"no token of {self.label} is configured ({self._setting})"
            raise errors.Forbidden(said, provider=self.provider, permission=self._setting)
        return self._token

    def download(self, url: str) -> bytes:
        """A file of this registry. Raises Rejected when it lies elsewhere or is too large."""
        answer = self.ask("GET", self._whole(url))
        if answer.status_code >= 400:
            self.reply(answer, "GET of a file")
        if len(answer.content) > MAX_FILE:
            raise errors.Rejected(f"the file is larger than {MAX_FILE} bytes", provider=self.provider)
        return answer.content

    def reply(self, answer: requests.Response, what: str) -> Reply:
        """The answer decoded, or our error for it."""
        status, text = answer.status_code, answer.text
        try:
            data = answer.json() if answer.content else None
        except ValueError:
            data = text
        if status < 300:
            return Reply(status, {k.lower(): v for k, v in answer.headers.items()}, data)
        raise self._failure(status, f"{self.label} refused {what.split('?')[0]}: {status}", data, answer.headers)

    def _failure(self, status: int, what: str, data: Any, headers: Any) -> errors.ProviderError:
        why = said(data)
        text, code, provider = what + (f", {why[:300]}" if why else ""), str(status), self.provider
        if "otp code" in why.lower():
            second = "a person with a second factor"
            return errors.Forbidden(text, provider=provider, code="OTP", permission=second)
        if status == 401:
            return errors.Refused(text, provider=provider, code=code)
        if status == 403:
            return errors.Forbidden(text, provider=provider, code=code, permission="owner of the package")
        if status in (404, 410):
            return errors.NotFound(text, provider=provider, code=code)
        if status == 429:
            return errors.RateLimited(text, provider=provider, code=code, retry_after=_wait(headers))
        if status == 409 or status >= 500:
            return errors.Unavailable(text, provider=provider, code=code)
        return errors.Rejected(text, provider=provider, code=code)


def _wait(headers: Any) -> float:
    """Seconds. Docker Hub says in ``X-Retry-After`` at which unix time one may ask again."""
    wait, at = headers.get("retry-after", ""), headers.get("x-retry-after", "")
    if at.isdigit():
        return min(max(float(at) - time.time(), 1.0), 3600.0)
    return float(wait) if wait.isdigit() else 60.0


def said(data: Any) -> str:
    """The sentence of an error's body: crates.io's list of errors, or a text."""
    if isinstance(data, dict):
        rows = data.get("errors")
        if isinstance(rows, list) and rows and isinstance(rows[0], dict):
            return str(rows[0].get("detail", ""))
        return str(data.get("error") or data.get("message") or "")
    return data.strip() if isinstance(data, str) and "<" not in data else ""


def github_home(urls: Iterable[object]) -> str:
    """owner/name of the first address that is a repository at GitHub; '' when none is."""
    for url in urls:
        if found := _GITHUB.search(str(url or "")):
            return found[1]
    return ""


def utc(text: str) -> str:
    """A registry's time as ``datetime.fromisoformat`` reads it in every Python that we run on."""
    return text.removesuffix("Z") + "+00:00" if text.endswith("Z") else text
