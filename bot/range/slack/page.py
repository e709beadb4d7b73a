"""The page of the range's Slack: what one person sees, with everything that they can click, as plain HTML.

It is drawn over the same functions as the hands of people (``Hand``, ``Touch``) and knows nothing of its own. Every act
is a form that answers with the page; a script only spares the reloading. Other sites cannot make a browser act here.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

import anyio
import jinja2
from markupsafe import Markup
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from bot.errors import InputError
from bot.range.slack import cast, chat, elements, eyes, mrkdwn
from bot.range.slack.eyes import Cannot
from bot.range.slack.hand import Act
from bot.range.slack.nouns import Person, View
from bot.range.slack.state import State

HERE = Path(__file__).parent / "templates"
FIRST, PLACE = "jonas", "incidents"  # whom a newcomer is, and where
LONG_POLL_S, LOOK_S = 15.0, 0.1
TYPED = {
    "plain_text_input": "text", "email_text_input": "email", "url_text_input": "url", "number_input": "number",
    "datepicker": "date", "timepicker": "time",
}  # fmt: skip
HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff", "referrer-policy": "same-origin", "cache-control": "no-store",
}  # fmt: skip
Body = dict[str, Any]


class Stage(Protocol):
    """What happens in the company that one can start from the page."""

    def shown(self) -> list[Body]:
        """``{name, title, leaked, tries, acts}`` for each scenario."""

    def leak(self, name: str) -> None:
        """Let its secret leak and be abused. Raises InputError."""

    def tries(self, name: str) -> None:
        """The attacker tries again. Raises InputError."""

    def act(self, name: str) -> str:
        """Somebody of the company does what no API does; returns what they say of it. Raises InputError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class At:
    """Where blocks stand: the form that their fields belong to, and what each click carries with it."""

    id: str
    form: str
    action: str
    fields: dict[str, str]
    values: Body
    errors: dict[str, str] = field(default_factory=dict)
    suggested: Body = field(default_factory=dict)


class Page:
    """The routes. ``acts`` are those of the hands; ``keep`` puts what was typed into a view without telling the app."""

    def __init__(
        self, state: Callable[[], State], acts: dict[str, Act], keep: Callable[[Person, Body], None],
        suggested: Callable[[str], Body],
    ) -> None:  # fmt: skip
        self._state, self._acts, self._keep, self._suggested = state, acts, keep, suggested
        self._limiter: anyio.CapacityLimiter | None = None
        self.stage: Stage | None = None
        loader = jinja2.FileSystemLoader(HERE)
        # what a block leaves out is undefined, and nothing is shown for it
        self._html = jinja2.Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
        self._html.globals["TYPED"] = TYPED
        self._html.filters |= {
            "mrkdwn": _mrkdwn, "emoji": mrkdwn.emoji, "clock": _clock, "iso": _iso, "local": _local, "chosen": _chosen,
            "quote": partial(quote, safe=""), "address": _address,
        }  # fmt: skip

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/", self._look, methods=["GET"]),
            Route("/page/version", self._version, methods=["GET"]),
            Route("/page/file/{id}", self._file, methods=["GET"]),
            Route("/page/{name:str}.{kind:str}", self._static, methods=["GET"]),
            Route("/page/{act}", self._act, methods=["POST"]),
        ]

    # what is seen --------------------------------------------------------------------------------------------------

    async def _look(self, request: Request) -> Response:
        if refused := _foreign(request):
            return refused
        return await self._in_thread(partial(self._shown, dict(request.query_params)))

    def _shown(self, query: dict[str, str]) -> Response:
        state = self._state()
        try:
            person = _person(state, query.get("as") or FIRST)
        except Cannot as exc:
            return PlainTextResponse(str(exc), 404, HEADERS)
        with state.lock:
            chat.post_due(state)
            seen = eyes.look(state, person)
            names = state.app.shortcut_names
        return HTMLResponse(self._draw(query, person, seen, names), headers=HEADERS)

    def _draw(self, query: dict[str, str], me: Person, seen: Body, names: dict[str, str]) -> str:
        where, thread = query.get("in") or PLACE, query.get("thread", "")
        channel = next((c for c in seen["channels"] if where in (c["id"], c["name"])), None)
        root = next((m for m in channel["messages"] if m["ts"] == thread), None) if channel else None
        common = {"as": me.name, "in": where, "thread": thread}
        kinds = seen["app"]["shortcuts"]
        shortcuts = {
            kind: [(c, names.get(c, c)) for c, k in kinds.items() if k == kind] for kind in ("message", "global")
        }
        return self._html.get_template("page.html").render(
            look=seen, me=me, where=where, thread=thread if root else "", channel=channel, root=root,
            modal=seen["modals"][-1] if seen["modals"] else None, said=query.get("said", "")[:300],
            cast=[(p, ", ".join(roles)) for name, roles in cast.ROLES.items() for p in self._state().people.values()
                  if p.name == name],
            message_shortcuts=shortcuts["message"], global_shortcuts=shortcuts["global"],
            stage=self.stage.shown() if self.stage else [], link=partial(_link, common),
            at_message=partial(_at_message, common, channel), at_view=partial(self._at_view, common),
        )  # fmt: skip

    def _at_view(self, common: dict[str, str], view: Body, kind: str) -> At:
        target = {"home": "1"} if kind == "home" else {"view_id": view["id"]}
        return At(
            id=kind, form=f"form-{kind}", action="/page/submit", fields=common | target, values=view["state"]["values"],
            errors=view["errors"], suggested=self._suggested(view["id"]),
        )  # fmt: skip

    async def _version(self, request: Request) -> Response:
        """The number of the last change; waits a while for one when the page has seen that already."""
        seen = request.query_params.get("seen", "")
        for _ in range(int(LONG_POLL_S / LOOK_S)):
            if str(self._state().version) != seen or await request.is_disconnected():
                break
            await asyncio.sleep(LOOK_S)
        return JSONResponse({"version": self._state().version}, headers=HEADERS)

    async def _static(self, request: Request) -> Response:
        kinds = {"css": "text/css", "js": "text/javascript"}
        name, kind = request.path_params["name"], request.path_params["kind"]
        if name != "page" or kind not in kinds:
            return PlainTextResponse("there is no such file", 404, HEADERS)
        return Response((HERE / f"page.{kind}").read_bytes(), media_type=kinds[kind], headers=HEADERS)

    async def _file(self, request: Request) -> Response:
        if refused := _foreign(request):
            return refused
        state = self._state()
        with state.lock:
            found = state.files.get(request.path_params["id"])
            try:
                person = _person(state, request.query_params.get("as", ""))
                content = found.content if found and not found.deleted else None
                if found is None or content is None:
                    raise Cannot("file_not_found", "there is no such file")
                eyes.channel_of(state, person, found.channel, member=False)
            except Cannot as exc:
                return PlainTextResponse(str(exc), 404, HEADERS)
            name = re.sub(r"[^A-Za-z0-9._-]", "_", found.name)
        more = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(content, media_type="application/octet-stream", headers=HEADERS | more)

    # what is done --------------------------------------------------------------------------------------------------

    async def _act(self, request: Request) -> Response:
        if refused := _foreign(request, acts=True):
            return refused
        sent: list[Any] = parse_qsl((await request.body()).decode("utf-8", "replace"), keep_blank_values=True)
        return await self._in_thread(partial(self._done, request.path_params["act"], FormData(sent)))

    def _done(self, act: str, form: FormData) -> Response:
        common = {name: str(form.get(name, "")) for name in ("as", "in", "thread")}
        said = ""
        try:
            person = _person(self._state(), common["as"])
            common |= self._do(act, person, form) or {}
        except Cannot as exc:
            said = str(exc)
        except (InputError, LookupError, ValueError) as exc:
            said = f"That cannot be: {exc}"
        return RedirectResponse(_link(common | ({"said": said} if said else {})), 303)

    def _do(self, act: str, person: Person, form: FormData) -> dict[str, str] | None:
        """One act; returns where the person is afterwards, when that is another place."""
        given = {name: str(form[name]) for name in ("channel", "ts", "view_id", "home", "callback_id") if name in form}
        if act == "say":
            self._say(person, given, form)
        elif act in ("click", "choose", "suggest"):
            self._touch(act, person, given, form)
        elif act in ("submit", "close"):
            with self._state().lock:
                seen = eyes.view_of(self._state(), person, given)
                values = _entered(seen, form)
            if act == "close":
                self._acts["close"](person, given)
            else:
                self._acts["submit"](person, given | {"values": values})
        elif act == "home":
            self._acts["home"](person, {})
            return {"in": "home", "thread": ""}
        elif (act == "shortcut" and "callback_id" in given) or act == "join":
            self._acts[act](person, given)
        elif act == "stage" and self.stage is not None:
            self._play(self.stage, person, form)
        else:
            raise Cannot("unknown_act", f"nobody can {act[:40]!r} here")
        return None

    def _play(self, stage: Stage, person: Person, form: FormData) -> None:
        if "act" in form:
            self._state().notice(person.id, stage.act(str(form["act"])))
        elif "tries" in form:
            stage.tries(str(form["tries"]))
        else:
            stage.leak(str(form.get("leak", "")))

    def _say(self, person: Person, given: Body, form: FormData) -> None:
        text, thread = str(form.get("text", "")), str(form.get("where", ""))
        command = re.match(r"/[^\s/]+(\s|$)", text)
        body = given | {"text": text} | ({"thread_ts": thread} if thread else {})
        self._acts["command" if command else "message"](person, body)

    def _touch(self, act: str, person: Person, given: Body, form: FormData) -> None:
        """A click or a choice. What stands in the form comes along, as it does in Slack's client."""
        pointed = str(form.get("choose") or form.get("confirmed") or form.get("click") or "")
        block_id, action_id, chosen, was = [*(unquote(part) for part in pointed.split("|")), "", "", ""][:4]
        state = self._state()
        with state.lock:
            if given.get("ts"):
                blocks = eyes.message_of(state, person, given).blocks
            else:
                view = eyes.view_of(state, person, given)
                blocks = view.body["blocks"]
                self._keep(person, given | {"values": _entered(view, form)})
            block, element = _still_there(blocks, block_id, action_id, was)
        body = given | {
            "block_id": block["block_id"], "action_id": action_id, "confirmed": "confirmed" in form,
        }  # fmt: skip
        if act == "suggest":
            query = form.get(f"q|{quote(block_id, safe='')}|{quote(action_id, safe='')}", "")
            self._acts["suggest"](person, body | {"query": str(query)})
        elif chosen:
            self._acts["click"](person, body | {"value": chosen})
        elif act == "choose":
            self._acts["click"](person, body | {"value": _value(element, block_id, form)})
        else:
            self._acts["click"](person, body)

    async def _in_thread(self, work: Callable[[], Response]) -> Response:
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(40)  # people wait here while the app works
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)


# what was typed ------------------------------------------------------------------------------------------------------


def _still_there(blocks: list[Body], block_id: str, action_id: str, was: str) -> tuple[Body, Body]:
    """What somebody has pressed. Blocks that the app does not name get new ids by an edit; then the value tells."""
    try:
        return elements.find(blocks, action_id, block_id)
    except LookupError:
        for block, element in elements.each(blocks):
            if was and element.get("action_id") == action_id and element.get("value") == was:
                return block, element
        raise Cannot("gone", "This has changed meanwhile; look at it again.") from None


def _entered(view: View, form: FormData) -> dict[str, Body]:
    """What stands in the form, by block_id and action_id."""
    found: dict[str, Body] = {}
    for block, element in elements.each(view.body["blocks"]):
        if elements.stateful(element):
            found.setdefault(block["block_id"], {})[element["action_id"]] = _value(element, block["block_id"], form)
    return found


def _value(element: Body, block_id: str, form: FormData) -> Any:
    name = f"v|{quote(block_id, safe='')}|{quote(element['action_id'], safe='')}"
    several = [str(one) for one in form.getlist(name) if one != ""]
    if element["type"] == "checkboxes" or element["type"].startswith("multi_") or element["type"] == "file_input":
        return several
    text = several[0] if several else ""
    if element["type"] == "datetimepicker" and text:
        return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
    if element["type"] == "rich_text_input":
        said = {"type": "rich_text_section", "elements": [{"type": "text", "text": text}]}
        return {"type": "rich_text", "elements": [said]} if text else None
    return text.replace("\r\n", "\n") or None


def _person(state: State, word: str) -> Person:
    for person in state.people.values():
        if word in (person.id, person.name) and not person.is_bot:
            return person
    raise Cannot("user_not_found", f"nobody here is called {word[:40]!r}")


def _foreign(request: Request, *, acts: bool = False) -> Response | None:
    """A refusal for what does not come from this page: another host's name leads here, or another site sent it."""
    host = urlsplit(f"//{request.headers.get('host', '')}")
    origin = request.headers.get("origin")
    mine = host.hostname in ("127.0.0.1", "localhost")
    if not mine or (acts and origin is not None and urlsplit(origin).netloc != host.netloc):
        return PlainTextResponse("this page is for people at this machine", 403, HEADERS)
    return None


# how it is shown -----------------------------------------------------------------------------------------------------


def _link(common: dict[str, str], **other: str) -> str:
    """The page for somebody at some place; ``as_``, ``in_`` and ``thread`` change it."""
    said = common | {name.rstrip("_"): value for name, value in other.items()}
    return "/?" + urlencode({name: value for name, value in said.items() if value})


def _at_message(common: dict[str, str], channel: Body | None, message: Body, in_thread: bool) -> At:
    where = f"{'t' if in_thread else 'm'}-{message['ts']}"
    values = elements.held(message["blocks"])
    fields = common | {"channel": str(channel["id"]) if channel else "", "ts": str(message["ts"])}
    return At(id=where, form=f"form-{where}", action="/page/click", fields=fields, values=values)


@jinja2.pass_context
def _mrkdwn(context: jinja2.runtime.Context, text: str) -> Markup:
    seen = context["look"]
    channels = {c["id"]: c["name"] for c in seen["channels"]}

    def names(kind: str, which: str) -> str:
        if kind == "user":
            return str(seen["people"].get(which, {"name": which})["name"])
        if kind == "group":
            return str(seen["groups"].get(which, {"handle": which})["handle"])
        return str(channels.get(which, "a private channel"))

    return Markup(mrkdwn.to_html(text, names))  # noqa: S704 - to_html escapes


def _at(ts: str) -> datetime:
    return datetime.fromtimestamp(float(ts), UTC)


def _clock(ts: str) -> str:
    return f"{_at(ts):%H:%M}"


def _iso(ts: str) -> str:
    return _at(ts).isoformat()


def _local(seconds: int | None) -> str:
    """What a datetime-local field holds, in UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M}" if seconds else ""


def _address(url: str) -> str:
    return url if re.match(r"https?://", url) else "#"


def _chosen(held: Body) -> list[str]:
    """The values that are chosen in a select."""
    one = held.get("selected_option")
    many = [*([one] if one else []), *(held.get("selected_options") or [])]
    ids = [held.get(name) for name in ("selected_user", "selected_channel", "selected_conversation")]
    lists = [held.get(name) or [] for name in ("selected_users", "selected_channels", "selected_conversations")]
    return [o["value"] for o in many] + [i for i in ids if i] + [i for row in lists for i in row]
