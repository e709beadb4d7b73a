"""Webhooks of repositories and organizations, and what became of each delivery.

GitHub sends once, waits ten seconds, keeps what it sent for three days, and sends again only when it is asked to, with
the same body and the same GUID (docs.github.com "Handling failed webhook deliveries").
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import ipaddress
import json
import time as machine
import uuid
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from bot.range.github import shapes
from bot.range.github.alerts import shown as alert_shown
from bot.range.github.http import Answer, Call, Op, Problem, not_found
from bot.range.github.nouns import Repo
from bot.range.github.state import State

R, O = "/repos/{owner}/{repo}", "/orgs/{org}"
KEPT = timedelta(days=3)
PATIENCE_S = 10.0
OK, FAILED = "OK", "failed to connect"
Row = dict[str, Any]


def _held(call: Call) -> dict[int, Row]:
    return call.org.hooks if "org" in call.params else call.repo.hooks


def _url(call: Call, row: Row) -> str:
    home = f"{call.base}/orgs/{call.params['org']}" if "org" in call.params else shapes.api(call.repo, call.base)
    return f"{home}/hooks/{row['id']}"


def _shown(call: Call, row: Row) -> Row:
    """GitHub does not tell who made a webhook, and shows its secret as stars."""
    url = _url(call, row)
    config = {"url": row["url"], "content_type": "json", "insecure_ssl": "0"}
    return {
        "type": "Organization" if "org" in call.params else "Repository", "id": row["id"], "name": "web",
        "active": True, "events": row["events"], "config": config | ({"secret": "********"} if row["secret"] else {}),
        "created_at": shapes.when(row["at"]), "updated_at": shapes.when(row["at"]), "url": url,
        "test_url": f"{url}/test", "ping_url": f"{url}/pings", "deliveries_url": f"{url}/deliveries",
        "last_response": {"code": None, "status": "unused", "message": None},
    }  # fmt: skip


def hooks(call: Call) -> Any:
    return [_shown(call, row) for row in call.page(_held(call).values())]


def add(call: Call) -> Any:
    config, events = call.field("config", dict), call.body.get("events") or ["push"]
    row = new(call.state, str(config.get("url", "")), events, str(config.get("secret", "")))
    _held(call)[row["id"]] = row
    return Answer(201, _shown(call, row))


def new(state: State, url: str, events: list[str], secret: str = "") -> Row:
    """A webhook, to be put among those of its repository or organization."""
    return {"id": state.next_id(), "url": url, "events": events, "at": state.now(), "secret": secret, "deliveries": []}


def _hook(call: Call) -> Row:
    try:
        return _held(call)[call.number("hook_id")]
    except KeyError:
        raise not_found() from None


_SHORT = ("id", "guid", "delivered_at", "redelivery", "duration", "status", "status_code", "event", "action",
          "installation_id", "repository_id", "throttled_at")  # fmt: skip


def deliveries(call: Call) -> Any:
    """The newest first, in pages that begin at a cursor: it is given in the Link header and is no number of a page."""
    since = call.state.now() - KEPT
    rows = [row for row in reversed(_hook(call)["deliveries"]) if row["at"] >= since]
    try:
        size = min(max(int(call.query.get("per_page", 30)), 1), 100)
    except ValueError:
        raise Problem(422, "per_page must be a number") from None
    if cursor := call.query.get("cursor"):
        at = next((k for k, row in enumerate(rows) if f"v1_{row['id']}" == cursor), None)
        if at is None:
            raise Problem(422, "The cursor is not one of this webhook's")
        rows = rows[at:]
    if len(rows) > size:
        asked = urlencode({"per_page": size, "cursor": f"v1_{rows[size]['id']}"})
        call.headers["link"] = f'<{call.base}{call.path}?{asked}>; rel="next"'
    return [{name: row[name] for name in _SHORT} for row in rows[:size]]


def _delivery(call: Call) -> Row:
    wanted = call.number("delivery_id")
    found: Row | None = next((row for row in _hook(call)["deliveries"] if row["id"] == wanted), None)
    if found is None or found["at"] < call.state.now() - KEPT:
        raise not_found()
    return found


def delivery(call: Call) -> Any:
    """One, with what was sent and what came back. The body is told as JSON, not as the bytes that were signed."""
    row = _delivery(call)
    request = {"headers": row["headers"], "payload": json.loads(row["body"])}
    answered = {"headers": {}, "payload": row["answer"]}
    return {name: row[name] for name in _SHORT} | {"url": row["url"], "request": request, "response": answered}


def attempt(call: Call) -> Any:
    """Send the same body with the same GUID once more."""
    row = _delivery(call)
    _send(call.state, _hook(call), row["event"], row["body"], row, guid=row["guid"])
    return Answer(202, {})


def tell(state: State, repo: Repo, event: str, payload: Row) -> None:
    """Send an event to every webhook of the repository and of its organization that wants it."""
    org = state.orgs.get(repo.owner.login)
    wanted = [one for hooks in (repo.hooks, org.hooks if org else {}) for one in hooks.values()]
    body = json.dumps(payload | {"repository": shapes.repo_small(repo, state.base_url)}, separators=(",", ":")).encode()
    about = {"action": payload.get("action"), "repository_id": repo.id}
    for hook in wanted:
        if {event, "*"} & set(hook["events"]):
            _send(state, hook, event, body, about)


def told_alert(state: State, repo: Repo, number: int, action: str) -> None:
    """Tell of one of the repository's alerts; no webhook ever holds its value."""
    row = alert_shown(repo, repo.alerts[number], state.base_url, hidden=True)
    tell(state, repo, "secret_scanning_alert", {"action": action, "alert": row})


def _send(state: State, hook: Row, event: str, body: bytes, about: Row, guid: str = "") -> None:
    made = guid or str(uuid.uuid4())
    headers = {
        "Accept": "*/*", "Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/range",
        "X-GitHub-Delivery": made, "X-GitHub-Event": event, "X-GitHub-Hook-ID": str(hook["id"]),
    }  # fmt: skip
    if hook["secret"]:
        digest = hmac.new(hook["secret"].encode(), body, hashlib.sha256).hexdigest()
        headers["X-Hub-Signature-256"] = f"sha256={digest}"
    began = machine.monotonic()
    status, answer = _post(hook["url"], body, headers)
    hook["deliveries"].append({
        "id": state.next_id(), "guid": made, "at": state.now(), "delivered_at": shapes.when(state.now()),
        "redelivery": bool(guid), "duration": round(machine.monotonic() - began, 2),
        "status": OK if 200 <= status < 400 else FAILED if status == 502 else f"Invalid HTTP Response: {status}",
        "status_code": status, "event": event, "action": about["action"], "installation_id": None,
        "repository_id": about["repository_id"], "throttled_at": None, "url": hook["url"], "headers": headers,
        "body": body, "answer": answer,
    })  # fmt: skip


def _post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """What the receiver said; 502, as GitHub writes it, when nobody did. The range sends to loopback only."""
    parts = urlsplit(url)
    try:
        if parts.scheme != "http" or not ipaddress.ip_address(parts.hostname or "").is_loopback:
            return 502, ""
    except ValueError:
        return 502, ""
    line = http.client.HTTPConnection(parts.hostname or "", parts.port or 80, timeout=PATIENCE_S)
    try:
        line.request("POST", parts.path or "/", body, headers)
        answer = line.getresponse()
        return answer.status, answer.read(4096).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 502, ""
    finally:
        line.close()


def _ops(home: str, needs: str) -> tuple[Op, ...]:
    one, read, write = home + "/hooks/{hook_id}/deliveries", f"{needs}:read", f"{needs}:write"
    return (
        Op(method="GET", path=home + "/hooks", handle=hooks, needs=read),
        Op(method="POST", path=home + "/hooks", handle=add, needs=write),
        Op(method="GET", path=one, handle=deliveries, needs=read),
        Op(method="GET", path=one + "/{delivery_id}", handle=delivery, needs=read),
        Op(method="POST", path=one + "/{delivery_id}/attempts", handle=attempt, needs=write),
    )


OPS = (*_ops(R, "webhooks"), *_ops(O, "organization_hooks"))
