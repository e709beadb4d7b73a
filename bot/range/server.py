"""The range in one process: AWS, GitHub, npm, Slack, the OIDC issuer and the control address, each on a port.

All ports are of 127.0.0.1. ``main`` prints one JSON line with every address and the credentials of the cast, and ends
when its standard input closes or on SIGTERM. The control address has no authentication: whoever can reach loopback
owns the range anyway.
"""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bot.errors import InputError
from bot.range import aws as aws_range
from bot.range import company, npm_theft, poisoned_action, second_account
from bot.range.attacker import Attacker, Loot, NothingFound
from bot.range.clock import RangeClock
from bot.range.gcp import Gcp
from bot.range.gcp import seed as seed_gcp
from bot.range.github import GitHubRange
from bot.range.github.packages import Ghcr
from bot.range.images import ImageRange
from bot.range.issuer import OidcIssuer
from bot.range.kubernetes import Kubernetes
from bot.range.npm import NpmRegistry
from bot.range.npm_theft import COLLECTOR, Collector
from bot.range.npm_web import NpmWeb
from bot.range.oidc_replay import LeakAfterMove
from bot.range.port import HOST, listen
from bot.range.registries import docker_theft, registries, theft
from bot.range.registries import seed as seed_registries
from bot.range.runner import Runner
from bot.range.scanners import Asked, Scanner
from bot.range.scenarios import FIRST, SCENARIOS, Scenario
from bot.range.sigstore import Sigstore
from bot.range.slack import SlackRange
from bot.range.stage import Stage
from bot.range.switchboard import AsgiApp, Switchboard
from bot.range.vault import Vault

PERSON_ACTS = npm_theft.PERSON_ACTS | theft.PERSON_ACTS | docker_theft.PERSON_ACTS | poisoned_action.PERSON_ACTS


class Range:
    """Every server of the range, and the drill's moves. ``start`` opens the ports, ``stop`` closes them."""

    def __init__(self) -> None:
        self.clock = RangeClock()
        self.switchboard = Switchboard(self.clock)
        self.issuer = OidcIssuer(self.clock)
        self.aws = aws_range.AwsRange(self.clock, self.switchboard, self.issuer)
        self.aws_url, self._aws_server = aws_range.serve(self.aws)
        self.sigstore = Sigstore(self.clock, self.issuer)
        self.runner = Runner(self.clock, self.issuer, self.aws_url, self.sigstore)
        self.github = GitHubRange(self.clock, self.switchboard, self.issuer, self.runner)
        self.images = ImageRange(self.switchboard)
        self.npm, self.collector = NpmRegistry(self.clock), Collector()
        self.registries = registries(self.clock, self.switchboard, self.sigstore)
        self.gcp = Gcp(self.clock, self.switchboard)
        self.slack = SlackRange(self.clock, self.switchboard)
        self.stage = self.slack.page.stage = Stage(self)
        self._uvicorns: list[tuple[uvicorn.Server, threading.Thread]] = []
        self._drill = threading.Lock()  # one move at a time
        self.github_url = self.control_url = self.registry_url = ""
        self.company = company.Company()
        self.attacker: Attacker | None = None
        self.scenarios: dict[str, Scenario] = {}
        self._did: dict[str, dict[str, Any]] = {}
        self._stores: tuple[Vault, Kubernetes] | None = None

    def start(self) -> dict[str, Any]:
        """Open the ports and seed the company. Returns what ``main`` prints."""
        self.github_url = self.github.base_url = self._serve(self.github.asgi)
        self.npm.base_url = self.runner.npm_url = self._serve(NpmWeb(self.npm, self.switchboard, self.issuer).asgi)
        for name, server in self.registries.items():
            server.base_url = self.runner.registries[name] = self._serve(server.asgi)
        self.gcp.base_url = self._serve(self.gcp.asgi)
        self.collector.url = self.runner.hosts[COLLECTOR] = self._serve(self.collector.asgi)
        self.registry_url = self.runner.registries["ghcr"] = self._serve(self.images.asgi)
        self.slack.base_url = self._serve(self.slack.asgi)
        self.slack.start()
        self.control_url = self._serve(control(self))
        vault, cluster = self.stores()
        cast = self.reset()
        return {
            "aws": self.aws_url, "github": self.github_url, "npm": self.npm.base_url, "control": self.control_url,
            "registries": {n: s.base_url for n, s in self.registries.items()}, "registry": self.registry_url,
            "slack": self.slack.base_url, "gcp": self.gcp.base_url,
            "vault": vault.base_url, "kubernetes": cluster.base_url, "account_map": second_account.ACCOUNT_MAP,
            "stores": second_account.stores(vault.base_url),
            "oidc_issuer": f"{self.control_url}/oidc", "trust_root": self.sigstore.trusted_root,
            "pid": os.getpid(), "cast": cast,
        }  # fmt: skip

    def _serve(self, app: AsgiApp) -> str:
        listener = listen()
        config = uvicorn.Config(
            app, lifespan="off", log_config=None, access_log=False, proxy_headers=False, server_header=False,
            loop="asyncio", timeout_graceful_shutdown=1,
        )  # fmt: skip
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listener],), daemon=True, name="range-asgi")
        thread.start()
        self._uvicorns.append((server, thread))
        return f"http://{HOST}:{listener.getsockname()[1]}"

    def stores(self) -> tuple[Vault, Kubernetes]:
        """A Vault and a cluster."""
        if self._stores is None:
            self._stores = Vault(self.clock, self.switchboard), Kubernetes(self.clock, self.switchboard)
            for server in self._stores:
                server.base_url = self._serve(server.asgi)
        return self._stores

    def stop(self) -> None:
        """Close every port."""
        self.slack.stop()
        for server, _ in self._uvicorns:
            server.should_exit = True
        for _, thread in self._uvicorns:
            thread.join(timeout=3)
        self._aws_server.shutdown()
        self._aws_server.server_close()

    def reset(self) -> dict[str, Any]:
        """The company as it was before the leak, the machine's time, no faults, an empty log. Returns the cast."""
        with self._drill:
            self.clock.set(0.0)
            self.aws.reset()
            self.github.reset()
            self.images.reset()
            self.images.keeper = Ghcr(self.github.state)
            self.npm.reset()
            self.sigstore.reset()
            self.collector.reset()
            for server in self.registries.values():
                server.reset()
            self.gcp.reset()
            for store in self._stores or ():
                store.reset()
            self._did = {}
            self.company = company.seed(self.aws, self.github, self.npm, self.collector.url)
            self.company.cast["registries"] = seed_registries(self.registries)
            self.company.cast["gcp"] = seed_gcp(self.gcp)
            self.company.cast["stores"] = second_account.sign_ins(*self.stores())
            self.company.cast["slack"] = self.slack.reset()
            self.switchboard.reset()
            token = self.company.cast["github"]["quiet-otter"]
            self.attacker = Attacker(self.aws_url, self.github_url, token)
            self.scenarios = {name: make(self) for name, make in SCENARIOS.items()}
            return self.company.cast

    def state(self) -> dict[str, Any]:
        """What matters for comparing end states; ids and times are under ``volatile``."""
        aws, github = self.aws.snapshot(), self.github.snapshot()
        stores = {server.name: server.snapshot() for server in self._stores or ()}
        volatile = {"aws": aws.pop("volatile", {}), "github": github.pop("volatile", {})}
        return {
            "aws": aws, "github": github, "npm": self.npm.snapshot(), "slack": self.slack.snapshot(),
            "registries": {name: server.snapshot() for name, server in self.registries.items()},
            "gcp": self.gcp.snapshot(), "volatile": volatile,
        } | stores  # fmt: skip

    def values(self) -> list[str]:
        """Every secret that its servers know."""
        of_registries = [value for server in self.registries.values() for value in server.values()]
        packages = [*self.npm.values(), *of_registries]
        stores = [value for server in self._stores or () for value in server.values()]
        return [*self.aws.values(), *self.github.values(), *packages, *self.gcp.values(), *self.slack.values(), *stores]

    # The drill's moves

    def scenario(self, name: str = "") -> Scenario:
        """The scenario of this name, or the first drill's. Raises InputError for one that there is not."""
        found = self.scenarios.get(name or FIRST)
        if found is None:
            raise InputError(f"the range plays no scenario {name[:60]!r}; it has {', '.join(sorted(SCENARIOS))}")
        return found

    def move(self, asked: Any, scenario: str) -> dict[str, Any]:
        """The company gets ready for the migration's pull request, or rolls it out when ``asked`` has its number."""
        found = self.scenario(scenario)
        if not isinstance(found, LeakAfterMove) or not isinstance(asked, dict):
            raise InputError(f"nothing moves to OIDC in the scenario {scenario[:60]!r}")
        with self._drill:
            return found.move(asked) if "pull" in asked else found.prepare()

    def leak(self, scenario: str = "") -> dict[str, Any]:
        """The secret of a scenario becomes public."""
        with self._drill:
            return self.scenario(scenario).leak()

    def abuse(self, where: str = "", scenario: str = "") -> list[dict[str, Any]]:
        """The attacker finds it and acts."""
        with self._drill:
            return self.scenario(scenario).abuse(where)

    def tries(self, scenario: str = "") -> list[dict[str, Any]]:
        """The attacker tries again all that it holds."""
        return self.scenario(scenario).tries()

    def person(self, act: str, scenario: str = "") -> dict[str, Any]:
        """One of the company's people does, with their second factor, what no API does; some of it in one story."""
        known = {name: partial(do, self) for name, do in PERSON_ACTS.items()}
        known |= getattr(self.scenario(scenario), "people", {})
        if act not in known:
            raise InputError(f"nobody in the range does {act[:60]!r}; they do {', '.join(known)}")
        with self._drill:
            if act not in self._did:  # who is asked again says what came of it; nobody does it twice
                done = known[act]()
                if done.get("waits"):
                    return done
                self._did[act] = done
            return self._did[act]

    def happens(self, act: str, scenario: str = "") -> dict[str, Any]:
        """What comes of a choice in this scenario, or what puts that right again; once, however often it is told."""
        known = getattr(self.scenario(scenario), "happens", {})
        if act not in known:
            raise InputError(f"nothing called {act[:60]!r} happens in {scenario[:60]!r}; what does: {', '.join(known)}")
        with self._drill:
            name = f"{scenario}:{act}"
            if name not in self._did:
                self._did[name] = known[act]()
            return self._did[name]

    def alert(self, body: Any) -> dict[str, Any]:
        """What a scanner sends about what has leaked in a scenario, signed with the secret that the body names."""
        scenario, name, leak = _scenario(body), _word(body, "scanner"), body.get("leak")
        known: dict[str, Scanner] = getattr(self.scenario(scenario), "scanners", {})
        if name not in known:
            raise InputError(f"{name[:60]!r} sees nothing of {scenario[:60]!r}; who does: {', '.join(known)}")
        if not isinstance(leak, dict):
            raise InputError("leak must be what was told of it")
        return known[name](Asked(range=self, secret=_word(body, "secret"), leak=leak)).as_json()

    def collateral(self, scenario: str = "") -> dict[str, Any]:
        """Whether somebody who has nothing to do with the leak can still work: by key and by an older session.

        A scenario may say what else has to work in the end (``works``: what it is -> what is wrong with it, or '').
        """
        key, session = self.company.cast["aws"][company.BYSTANDER], self.company.bystander_session
        if self.attacker is None or session is None:
            raise InputError("there is no company yet; reset first")
        ways = {
            "key": Loot(key["key_id"], key["secret"]),
            "session": Loot(session.key_id, session.secret, session.token),
        }
        detail = {name: self.attacker.probe(loot) for name, loot in ways.items()}
        for login in ("mara", "jonas"):  # their other tokens, which nobody has leaked
            dead = self.github.state.tokens[self.company.cast["github"][login]].revoked
            detail[f"token of {login}"] = "401" if dead else ""
        detail["npm"] = "" if self.npm.accepts(self.company.npm_bystander) else "E401"
        works = getattr(self.scenario(scenario), "works", None)
        detail |= works() if works else {}
        return {"ok": not any(detail.values()), "detail": detail}


class _Control:
    """What the control address answers: each method gets the decoded body and returns what becomes JSON."""

    def __init__(self, range_: Range) -> None:
        self.range = range_

    def routes(self) -> list[tuple[str, str, Callable[[Any], Any]]]:
        range_, oidc = self.range, "/oidc/.well-known"
        return [
            ("GET", "/clock", self.clock),
            ("POST", "/clock", self.move_clock),
            ("POST", "/reset", lambda _: {"cast": range_.reset()}),
            ("POST", "/faults", self.add_faults),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/trail", self.trail),
            ("GET", "/requests", lambda _: range_.switchboard.requests()),
            ("DELETE", "/requests", self.clear_requests),
            ("GET", "/state", lambda _: range_.state()),
            ("GET", "/values", lambda _: range_.values()),
            ("GET", "/slack/app", lambda _: range_.slack.installed()),
            ("POST", "/slack/app", range_.slack.install),
            ("POST", "/slack/group", range_.slack.regroup),
            ("POST", "/slack/disconnect", self.disconnect),
            ("POST", "/stage", self.play),
            ("POST", "/drill/move", lambda body: range_.move(body, _scenario(body))),
            ("POST", "/drill/leak", lambda body: range_.leak(_scenario(body))),
            ("POST", "/drill/abuse", self.abuse),
            ("POST", "/drill/tries", lambda body: range_.tries(_scenario(body))),
            ("POST", "/drill/happens", lambda body: range_.happens(_word(body, "act"), _scenario(body))),
            ("POST", "/drill/person", lambda body: range_.person(_word(body, "act"), _scenario(body))),
            ("POST", "/drill/alert", range_.alert),
            ("GET", "/drill/stolen", lambda _: {"values": range_.collector.values()}),
            ("POST", "/drill/collateral", lambda body: range_.collateral(_scenario(body))),
            ("GET", f"{oidc}/jwks", lambda _: range_.issuer.jwks()),
            (
                "GET",
                f"{oidc}/openid-configuration",
                lambda _: range_.issuer.configuration(f"{range_.control_url}/oidc"),
            ),
        ]

    def clock(self, _body: Any) -> Any:
        return {"offset_s": self.range.clock.offset, "now": self.range.clock.now().isoformat()}

    def move_clock(self, body: Any) -> Any:
        self.range.clock.advance(_number(body, "advance_s"))
        return self.clock(body)

    def add_faults(self, body: Any) -> Any:
        self.range.switchboard.add(body if isinstance(body, list) else [body])
        return {}

    def clear_faults(self, _body: Any) -> Any:
        self.range.switchboard.clear_faults()
        return {}

    def clear_requests(self, _body: Any) -> Any:
        self.range.switchboard.clear_requests()
        return {}

    def trail(self, body: Any) -> Any:
        """How CloudTrail is: throttled as AWS throttles it, late as AWS is late. Both are off until set."""
        trail = self.range.aws.trail
        trail.lookups_per_second = _number(body, "lookups_per_second", 0.0)
        trail.lag_s = _number(body, "lag_s", 0.0)
        return {}

    def play(self, body: Any) -> Any:
        """A scenario leaks as if somebody had pressed its button on the page."""
        self.range.stage.leak(_scenario(body) or FIRST)
        return {"stage": self.range.stage.shown()}

    def disconnect(self, body: Any) -> Any:
        """Slack ends its Socket Mode connections, or warns that it will."""
        reason = _word(body, "reason")
        return self.range.slack.disconnect(reason, close=reason != "warning")

    def abuse(self, body: Any) -> Any:
        where = body.get("run_url", "") if isinstance(body, dict) else ""
        return {"acts": self.range.abuse(str(where), _scenario(body))}


def control(range_: Range) -> Starlette:
    """The control API."""
    routes = _Control(range_).routes()
    return Starlette(
        routes=[Route(path, _endpoint(work), methods=[method]) for method, path, work in routes],
        exception_handlers={InputError: _bad, NothingFound: _bad},
    )


def _number(body: Any, name: str, default: float | None = None) -> float:
    value = body.get(name, default) if isinstance(body, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InputError(f"{name} must be a number")
    return float(value)


def _word(body: Any, name: str) -> str:
    value = body.get(name) if isinstance(body, dict) else None
    if not isinstance(value, str):
        raise InputError(f"{name} must be a word")
    return value


def _scenario(body: Any) -> str:
    """The scenario that a body names; '' is the first drill's."""
    name = body.get("scenario", "") if isinstance(body, dict) else ""
    if not isinstance(name, str):
        raise InputError("scenario must be a name")
    return name


def _endpoint(work: Callable[[Any], Any]) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> JSONResponse:
        raw = await request.body()
        try:
            body = json_module.loads(raw or b"{}")
        except ValueError:
            raise InputError("the body is not JSON") from None
        # the work is done in a thread: it may call the range's own servers
        return JSONResponse(await run_in_threadpool(work, body))

    return endpoint


def _bad(_request: Request, exc: Exception) -> JSONResponse:
    return JSONResponse({"message": str(exc)}, status_code=400)


def _alone() -> None:
    """Nothing of the machine's own AWS set-up or proxies may reach the clients of the range."""
    proxies = ("http_proxy", "https_proxy", "all_proxy")
    moto = ("MOTO_", "INITIAL_NO_AUTH_ACTION_COUNT")  # moto's own checks stay off
    for name in [n for n in os.environ if n.startswith(("AWS_", *moto)) or n.lower() in proxies]:
        del os.environ[name]
    os.environ |= {
        "AWS_CONFIG_FILE": os.devnull, "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": HOST,
    }  # fmt: skip


def main(json: bool = False) -> None:
    """Run until standard input closes or SIGTERM comes. With ``json`` the one line is for a program."""
    _alone()
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    began = time.monotonic()
    range_ = Range()
    found = range_.start()

    def watch() -> None:
        while os.read(0, 4096):
            pass
        over.set()

    threading.Thread(target=watch, daemon=True, name="range-stdin").start()
    if json:
        sys.stdout.write(json_module.dumps(found) + "\n")
    else:
        lines = [f"{name:12} {found[name]}" for name in ("aws", "github", "control", "oidc_issuer")]
        took = f"The range is up after {time.monotonic() - began:.1f} s; it ends when its input closes (Ctrl-D)."
        sys.stdout.write("\n".join([took, *lines]) + "\n")
    sys.stdout.flush()
    over.wait()
    range_.stop()
