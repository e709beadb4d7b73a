"""Slack's Web API, spoken by its own SDK. Its errors become ours here, once, without request or response."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import logging
import urllib.error
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from slack_sdk import WebClient
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.http_retry.builtin_handlers import RateLimitErrorRetryHandler, ServerErrorRetryHandler
from slack_sdk.webhook import WebhookClient

from bot.errors import Forbidden, NotFound, ProviderError, RateLimited, Refused, Rejected, Unavailable

TIMEOUT_S = 10
REFUSED = {"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "org_login_required"}
FORBIDDEN = {"missing_scope", "no_permission", "access_denied", "not_allowed_token_type", "restricted_action"}
AWAY = {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
log = logging.getLogger("bulkhead.slack")


class Quiet(logging.Filter):
    """Lets Slack's libraries say that something happened, and where, never what: their records can hold whole bodies.

    Bolt 1.30 writes a request's body when a signature fails or nobody listens, the Socket Mode client one that it
    cannot read.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        failure = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] else ""
        record.msg = f"{record.module}.{record.funcName} says {record.levelname.lower()} {failure}".rstrip()
        record.args, record.exc_info, record.exc_text, record.stack_info = None, None, None, None
        return True


def quiet_logger() -> logging.Logger:
    """The logger that Bolt and the SDK are handed: errors only, and of these no more than where they arose."""
    quiet = logging.getLogger("bulkhead.slack.library")
    quiet.setLevel(logging.ERROR)  # its warnings are about requests that nobody listens to, which the door answers
    if not any(isinstance(one, Quiet) for one in quiet.filters):
        quiet.addFilter(Quiet())
    return quiet


def web_client(token: str, api: str, *, patient: bool = True) -> WebClient:
    """A client that tries again, once, when Slack has a fault; a ``patient`` one also waits as long as Slack asks."""
    client = WebClient(token=token, base_url=api, timeout=TIMEOUT_S, logger=quiet_logger())
    client.retry_handlers.append(ServerErrorRetryHandler(max_retry_count=1))
    if patient:
        client.retry_handlers.append(RateLimitErrorRetryHandler(max_retry_count=1))
    if _loopback(api):
        client.proxy = None  # the SDK takes the machine's proxy, and none leads to loopback
    return client


def answer_to(url: str, **message: Any) -> bool:
    """Answer by the address that came with a command or a click; False when it is used up or not Slack's own word."""
    hook = WebhookClient(url, timeout=TIMEOUT_S, logger=quiet_logger())
    if _loopback(url):
        hook.proxy = None
    try:
        return bool(hook.send(response_type="ephemeral", replace_original=False, **message).status_code == 200)
    except (OSError, http.client.HTTPException, SlackClientError):
        return False


def _loopback(url: str) -> bool:
    try:
        return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback
    except ValueError:
        return False


@contextlib.contextmanager
def slack_errors(what: str) -> Iterator[None]:
    """Turn the SDK's errors into ours. ``what`` completes "Slack did not …". Raises bot.errors only."""
    try:
        yield
    except SlackApiError as exc:
        raise _ours(what, exc) from None
    except (OSError, http.client.HTTPException, SlackClientError, urllib.error.URLError) as exc:
        said = f"Slack did not {what}: it does not answer ({type(exc).__name__})"
        raise Unavailable(said, provider="slack") from None


def _ours(what: str, exc: SlackApiError) -> ProviderError:
    response: Any = exc.response
    code = str(response.get("error", "")) if hasattr(response, "get") else ""
    status = int(getattr(response, "status_code", 0) or 0)
    text = f"Slack did not {what}: {code or status}"
    if status == 429 or code in ("ratelimited", "rate_limited"):
        headers = {str(k).lower(): v for k, v in dict(getattr(response, "headers", {}) or {}).items()}
        wait = headers.get("retry-after", "30")
        seconds = float(wait if isinstance(wait, str) else wait[0])
        return RateLimited(text, provider="slack", code="ratelimited", retry_after=seconds)
    if status >= 500 or code in AWAY:
        return Unavailable(text, provider="slack", code=code)
    if code in REFUSED:
        return Refused(f"{text}; the bot token is not accepted", provider="slack", code=code)
    if code in FORBIDDEN:
        needed = str(response.get("needed", ""))
        return Forbidden(f"{text} (needs {needed})" if needed else text, provider="slack", code=code, permission=needed)
    if code.endswith("_not_found"):
        return NotFound(text, provider="slack", code=code)
    return Rejected(text, provider="slack", code=code)
