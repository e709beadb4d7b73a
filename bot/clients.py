"""The providers' own clients (boto3, PyGithub) behind the World's protocols, and how their errors become ours.

Both Worlds use these classes; only addresses and credentials differ. A read that failed in passing is tried again
here (``bot.reads``); a write never is: the engine looks first.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cached_property
from hmac import compare_digest
from typing import Any, ClassVar
from urllib.parse import urlencode, urlsplit

import boto3
import botocore
import botocore.credentials
import botocore.exceptions
import botocore.loaders
import botocore.session
import github
import requests
from botocore.config import Config
from botocore.parsers import ResponseParserError

from bot import errors, traces
from bot.batches import Batches
from bot.model import Secret
from bot.reads import ATTEMPTS, again, decoded
from bot.world import Reply

CONNECT_S, READ_S = 5.0, 20.0
API_VERSION = "2022-11-28"
REVOKED_AT_ONCE = 1000  # credentials in one request (docs.github.com/rest/credentials/revoke)
REVOCATIONS_AN_HOUR = 60  # from one address, since it carries nobody's credentials (docs.github.com/rest, rate limits)
_SERVICE_MODELS = botocore.loaders.create_loader()  # reading a service's model takes 0.1 s: once a process

_REFUSED = {
    "InvalidClientTokenId", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "ExpiredTokenException",
    "UnrecognizedClientException", "InvalidSignatureException", "AuthFailure", "InvalidToken", "TokenRefreshRequired",
}  # fmt: skip
_FORBIDDEN = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
_NOT_FOUND = {
    "NoSuchEntity", "NoSuchBucket", "NoSuchKey", "ResourceNotFoundException", "RepositoryNotFoundException",
    "ImageNotFoundException", "ScanNotFoundException", "ParameterNotFound", "LifecyclePolicyNotFoundException",
}  # fmt: skip
_SLOW_DOWN = {"Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException", "SlowDown"}


@contextmanager
def aws_errors(what: str) -> Iterator[None]:
    """Map what boto3 raises inside to ``bot.errors``; ``what`` says what was tried ("deactivate AKIA…")."""
    failure: errors.ProviderError
    try:
        yield
        return
    except botocore.exceptions.ClientError as exc:
        code = str(exc.response.get("Error", {}).get("Code", ""))
        status = int(exc.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        failure = _aws_failure(what, code, status, exc.operation_name)
    except (botocore.exceptions.BotoCoreError, ResponseParserError) as exc:
        failure = errors.Unavailable(f"AWS did not answer: {what} ({type(exc).__name__})", provider="aws")
    raise failure from None


def _aws_failure(what: str, code: str, status: int, operation: str) -> errors.ProviderError:
    said = f"AWS refused to {what}: {code}"
    if code in _REFUSED:
        return errors.Refused(said, provider="aws", code=code)
    if code in _FORBIDDEN:
        return errors.Forbidden(f"{said} on {operation}", provider="aws", code=code, permission=operation)
    if code in _NOT_FOUND:
        return errors.NotFound(said, provider="aws", code=code)
    if code in _SLOW_DOWN:
        return errors.RateLimited(said, provider="aws", code=code, retry_after=2.0)
    if status >= 500 or not code:
        return errors.Unavailable(said, provider="aws", code=code)
    return errors.Rejected(said, provider="aws", code=code)


class _Careful:
    """A boto3 client that repeats what only reads, as botocore's standard mode does, and nothing else."""

    READS = ("get_", "list_", "describe_", "lookup_", "head_", "simulate_", "batch_get_", "batch_check_",
              "can_paginate")  # fmt: skip

    def __init__(self, reading: Any, writing: Any) -> None:
        self._reading, self._writing = reading, writing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reading if name.startswith(self.READS) else self._writing, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsRole:
    """A role that is assumed whenever its last session nears its end. ``fetch`` gives what botocore calls metadata."""

    arn: str
    fetch: Callable[[], dict[str, Any]]
    now: Callable[[], datetime]  # the clock that sessions end by
    METHOD: ClassVar[str] = "bulkhead-role"
    CANONICAL_NAME: ClassVar[str | None] = None

    def load(self) -> Any:
        """As a provider of credentials to botocore."""
        return botocore.credentials.DeferredRefreshableCredentials(self.fetch, self.METHOD, time_fetcher=self.now)


def only_reads(right: str) -> bool:
    """Whether a permission, such as ``iam:GetUser``, is of a call that only reads: whoever reads makes it."""
    return bool(botocore.xform_name(right.partition(":")[2]).startswith(_Careful.READS))


class AwsClients:
    """boto3, without the machine's own configuration when an endpoint is given.

    With two roles, what only reads is asked as ``reads_as`` and everything else as ``acts_as``, never the other way.
    ``others``: regions beside its own whose images and packages are read.
    """

    def __init__(
        self, *, key_id: str = "", secret: str = "", region: str = "us-east-1", endpoint: str = "",
        reads_as: AwsRole | None = None, acts_as: AwsRole | None = None, others: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.regions = tuple(dict.fromkeys((region, *others)))
        self._identity = {"aws_access_key_id": key_id, "aws_secret_access_key": secret} if key_id else {}
        self._endpoint, self.region, self._reads_as, self._acts_as = endpoint, region, reads_as, acts_as
        self._config = Config(
            connect_timeout=CONNECT_S, read_timeout=READ_S, max_pool_connections=32,
            parameter_validation=True, s3={"addressing_style": "path"}, proxies={} if endpoint else None,
        )  # fmt: skip
        self._own: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()  # a boto3 session makes one client at a time; clients themselves are thread-safe
        self._offset_s: float | None = None

    @cached_property
    def _session(self) -> boto3.session.Session:
        """Made when AWS is first asked: it takes 30 ms, and many an incident never asks."""
        return self._made(self._reads_as)

    @cached_property
    def _acting(self) -> boto3.session.Session:
        return self._session if self._acts_as is None else self._made(self._acts_as)

    def _made(self, role: AwsRole | None) -> boto3.session.Session:
        core = _detached_session() if self._endpoint else botocore.session.get_session()
        core.register_component("data_loader", _SERVICE_MODELS)
        if role is not None:
            core.register_component("credential_provider", botocore.credentials.CredentialResolver([role]))
        made = boto3.session.Session(region_name=self.region, botocore_session=core, **self._identity)
        made.events.register("before-call", _asks)
        made.events.register("after-call", self._saw)
        made.events.register("after-call", _has_answered)
        made.events.register("after-call-error", _has_not_answered)
        made.events.register("before-parse", _no_page)
        return made

    def _saw(self, parsed: dict[str, Any], **_: Any) -> None:
        """Every answer tells AWS's time, to the second (RFC 9110, 6.6.1)."""
        said = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", "")
        try:
            self._offset_s = parsedate_to_datetime(said).timestamp() - time.time()
        except ValueError:
            return  # an answer without a date tells nothing

    def now(self) -> datetime | None:
        if self._offset_s is None:
            return None
        return datetime.fromtimestamp(time.time() + self._offset_s, UTC)

    def _make(self, service: str, attempts: int, *, acts: bool = False, **identity: Any) -> Any:
        config = self._config.merge(Config(retries={"total_max_attempts": attempts, "mode": "standard"}))
        with self._lock:
            session = self._acting if acts else self._session
            return session.client(service, endpoint_url=self._endpoint or None, config=config, **identity)

    def client(self, service: str, region: str = "") -> Any:
        asked, where = (service, region), dict[str, Any](region_name=region) if region else {}
        if asked not in self._own:
            self._own[asked] = _Careful(
                self._make(service, ATTEMPTS, **where), self._make(service, 1, acts=True, **where)
            )  # fmt: skip
        return self._own[asked]

    def identities(self) -> tuple[str, ...]:
        """The roles that we work by, as ``World.identities`` names what is ours."""
        roles = (role.arn.rpartition("/")[2] for role in (self._reads_as, self._acts_as) if role)
        return tuple(f"aws-role:{name}" for name in roles)

    def download(self, url: str) -> bytes:
        host, inside = urlsplit(url), urlsplit(self._endpoint)
        ours = host.netloc == inside.netloc if self._endpoint else (
            host.scheme == "https" and (host.hostname or "").endswith((".amazonaws.com", ".amazonaws.com.cn"))
        )  # fmt: skip
        if not ours:
            raise errors.Rejected(f"AWS gave an address that is not its own: {host.netloc}", provider="aws")
        return again(lambda: _downloaded(url))

    def own_key_ids(self) -> tuple[str, ...]:
        """The access key that this process itself lives by, where it has one that can be named."""
        found = self._session.get_credentials()
        return (found.access_key,) if found is not None and found.access_key else ()

    def client_as(self, service: str, key_id: str, secret: Secret, session_token: Secret | None = None) -> Any:
        return self._make(
            service, ATTEMPTS, aws_access_key_id=key_id, aws_secret_access_key=secret.reveal(),
            aws_session_token=session_token.reveal() if session_token else None,
        )  # fmt: skip


def _asks(context: dict[str, Any], **_: Any) -> None:
    context["bulkhead began"] = time.time_ns()


def _has_answered(http_response: Any, model: Any, context: dict[str, Any], **_: Any) -> None:
    """A request of boto3, for a trace: the operation's name, and no word of what was asked or answered."""
    status = int(http_response.status_code)
    outcome = traces.OK if status < 400 else "refused"
    began = context.get("bulkhead began", time.time_ns())
    traces.past("request", began, outcome, provider="aws", operation=model.name, status=status)


def _has_not_answered(context: dict[str, Any], event_name: str, **_: Any) -> None:
    began = context.get("bulkhead began", time.time_ns())
    traces.past("request", began, "Unavailable", provider="aws", operation=event_name.rpartition(".")[2])


def _downloaded(url: str) -> bytes:
    with requests.Session() as session:
        session.trust_env = False  # no ~/.netrc, no proxy of the machine
        try:
            answer = session.get(url, timeout=(CONNECT_S, READ_S), allow_redirects=False)
        except requests.RequestException as exc:
            name = type(exc).__name__
        else:
            if answer.status_code == requests.codes.ok:
                return answer.content
            name = str(answer.status_code)
    raise errors.Unavailable(f"AWS did not give what it promised: {name}", provider="aws")


def _no_page(response_dict: dict[str, Any], operation_model: Any, **_: Any) -> None:
    """Raises ResponseParserError for a proxy's page instead of an answer. botocore ends in a KeyError on it, or, where
    it expects JSON, reads an empty answer; that would be believed: there are no events, so nobody has planted anything.
    """
    body = b"" if operation_model.has_streaming_output else response_dict["body"].lstrip()
    if not body or response_dict["status_code"] >= 300:
        return
    if operation_model.service_model.resolved_protocol.endswith("json"):
        with suppress(ValueError):
            json.loads(body)
            return
    elif body[:5].lower() not in (b"<html", b"<!doc"):
        return
    raise ResponseParserError("a page instead of an answer")


def _detached_session() -> botocore.session.Session:
    """A session that reads neither the machine's AWS files nor its profile: the range's must work, and stay, apart."""
    nowhere: dict[str, Any] = {"profile": (None, [], None, None), "config_file": (None, [], os.devnull, None),
               "credentials_file": (None, [], os.devnull, None), "ca_bundle": (None, [], None, None)}  # fmt: skip
    return botocore.session.Session(session_vars=nowhere)


class GitHubClient:
    """GitHub's REST API through PyGithub's requester: no silent False, no repeated POST, redirects without our token.

    API version 2022-11-28 (docs.github.com/rest/about-the-rest-api/api-versions), which is asked for by name, since a
    later one leaves out what is read here. An Enterprise Server is left to its own.
    """

    def __init__(
        self, *, token: str = "", auth: github.Auth.Auth | None = None, base_url: str = "https://api.github.com"
    ) -> None:
        self._base = base_url.rstrip("/")
        self._server = self._base.endswith("/api/v3")  # GitHub Enterprise Server
        self._auth = auth or github.Auth.Token(token)
        self._revocations: Batches[Secret] = Batches(
            self._revoke, REVOKED_AT_ONCE, errors.Rejected, REVOCATIONS_AN_HOUR
        )
        self._local = threading.local()
        self._left: tuple[int, int] | None = None

    def left(self) -> tuple[int, int] | None:
        return self._left

    def _counted(self, headers: dict[str, str]) -> None:
        """Every answer tells what is left of the hour's requests (docs.github.com/rest, rate limits)."""
        with suppress(KeyError, ValueError):
            self._left = int(headers["x-ratelimit-remaining"]), int(headers["x-ratelimit-limit"])

    @property
    def web(self) -> str:
        """Origin of the pages: api.github.com -> github.com, api.SUB.ghe.com -> SUB.ghe.com, HOST/api/v3 -> HOST."""
        return self._base.removesuffix("/api/v3").replace("://api.", "://", 1)

    @property
    def api(self) -> github.Github:
        """PyGithub. One a thread: its connection keeps the request that is under way on itself."""
        if not hasattr(self._local, "api"):
            self._local.api = github.Github(
                auth=self._auth, base_url=self._base, retry=None, timeout=int(READ_S), per_page=100,
                seconds_between_requests=None, seconds_between_writes=None,
                api_version=None if self._server else API_VERSION,
            )  # fmt: skip
        return self._local.api  # type: ignore[no-any-return]

    def _call(self, verb: str, path: str, body: Any = None, more: dict[str, str] | None = None) -> Reply:
        if verb == "GET":
            return again(lambda: self._once(verb, path, body, more))
        return self._once(verb, path, body, more)

    def _once(self, verb: str, path: str, body: Any, more: dict[str, str] | None) -> Reply:
        with traces.span("request", provider="github", method=verb) as say:
            reply = self._asked(verb, path, body, more)
            say(status=reply.status)
            return reply

    def _asked(self, verb: str, path: str, body: Any, more: dict[str, str] | None) -> Reply:
        what = f"{verb} {path.split('?')[0]}"
        failure: errors.ProviderError
        try:
            status, headers, text = self.api.requester.requestJson(verb, path, headers=more, input=body)
            self._counted(headers)
            if status < 400:
                return Reply(status, dict(headers), None if status >= 300 else decoded(text, what, "github"))
            failure = _github_failure(what, status, dict(headers), text)
        except github.GithubException as exc:
            failure = _github_failure(what, exc.status, dict(exc.headers or {}), str(exc.message or ""))
        except (requests.RequestException, OSError) as exc:
            failure = errors.Unavailable(f"GitHub did not answer: {what} ({type(exc).__name__})", provider="github")
        raise failure from None

    def get(self, path: str, **params: Any) -> Any:
        return self._call("GET", path + (f"?{urlencode(params)}" if params else "")).data

    def ask(self, path: str, etag: str = "", **params: Any) -> Reply:
        query = f"?{urlencode(params)}" if params else ""
        return self._call("GET", path + query, more={"If-None-Match": etag} if etag else None)

    def pages(self, path: str, items: str = "", **params: Any) -> Iterator[dict[str, Any]]:
        page = 1
        while True:
            data = self.get(path, **{**params, "per_page": 100, "page": page})
            found = data[items] if items else data
            yield from found
            if len(found) < 100:
                return
            page += 1

    def send(self, verb: str, path: str, body: Any = None) -> Reply:
        return self._call(verb, path, body)

    def download(self, path: str) -> bytes:
        return again(lambda: self._downloaded(path))

    def _downloaded(self, path: str) -> bytes:
        for final in (False, True):
            target = self._call("GET", path).headers.get("location", "")
            if not target:
                raise errors.NotFound(f"GitHub gave no download for {path}", provider="github")
            answer = self._plain("GET", target)
            if answer.status_code < 400:
                return answer.content
            if answer.status_code != 403 or final:  # a link is good for a minute; then it wants to be asked for again
                raise _github_failure(f"the download of {path}", answer.status_code, {}, "")
        raise AssertionError("the second try returns or raises")

    def status_as(self, secret: Secret, path: str = "/rate_limit") -> int:
        return self._plain("GET", self._base + path, {"Authorization": f"Bearer {secret.reveal()}"}).status_code

    def ask_as(self, secret: Secret, path: str) -> Reply:
        answer = self._plain("GET", self._base + path, {"Authorization": f"Bearer {secret.reveal()}"})
        data = decoded(answer.text, f"GET {path}", "github") if answer.status_code < 300 else None
        return Reply(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, data)

    def is_own(self, secret: Secret) -> bool:
        if isinstance(self._auth, github.Auth.AppInstallationAuth):
            held = getattr(self._auth, "_AppInstallationAuth__installation_authorization", None)  # the last one minted
            own = "" if held is None else str(held.token)
        else:
            own = self._auth.token if isinstance(self._auth, github.Auth.Token) else ""
        return bool(own) and compare_digest(own.encode(), secret.reveal().encode())

    def revoke(self, secrets: Sequence[Secret]) -> None:
        for start in range(0, len(secrets), REVOKED_AT_ONCE):
            self._revocations.add(secrets[start : start + REVOKED_AT_ONCE])

    def _revoke(self, secrets: Sequence[Secret]) -> None:
        body = {"credentials": [secret.reveal() for secret in secrets]}
        if self._server:  # it takes whoever signs in, and has the API since 3.19 (docs.github.com/enterprise-server)
            self._call("POST", "/credentials/revoke", body)
            return
        answer = self._plain("POST", f"{self._base}/credentials/revoke", body=body)
        if answer.status_code >= 400:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            raise _github_failure("POST /credentials/revoke", answer.status_code, headers, "")

    def _plain(
        self, verb: str, url: str, headers: dict[str, str] | None = None, body: Any = None
    ) -> requests.Response:  # fmt: skip
        def once() -> requests.Response:
            with requests.Session() as session:
                session.trust_env = False  # no ~/.netrc, no proxy of the machine
                try:
                    with traces.span("request", provider="github", method=verb) as say:
                        answer = session.request(verb, url, headers=headers, json=body, timeout=(CONNECT_S, READ_S))
                        say(status=answer.status_code)
                        return answer
                except requests.RequestException as exc:
                    name = type(exc).__name__
            raise errors.Unavailable(f"GitHub did not answer ({name})", provider="github")

        return again(once) if verb == "GET" else once()


def _github_failure(what: str, status: int, headers: dict[str, str], body: str) -> errors.ProviderError:
    said = f"GitHub refused {what}: {status}"
    code = str(status)
    if status == 401:
        return errors.Refused(said, provider="github", code=code)
    if status == 429 or (status == 403 and ("retry-after" in headers or headers.get("x-ratelimit-remaining") == "0")):
        return errors.RateLimited(said, provider="github", code=code, retry_after=_retry_after(headers))
    if status == 403:
        needs = headers.get("x-accepted-github-permissions", "") or headers.get("x-accepted-oauth-scopes", "")
        hint = f"; it needs {needs}" if needs else ""
        return errors.Forbidden(said + hint, provider="github", code=code, permission=needs)
    if status in (404, 410):
        return errors.NotFound(said, provider="github", code=code)
    if status >= 500:
        return errors.Unavailable(said, provider="github", code=code)
    return errors.Rejected(said, provider="github", code=code)


def _retry_after(headers: dict[str, str]) -> float:
    """Seconds to wait. Without retry-after GitHub asks for a minute at least (docs.github.com/rest, rate limits)."""
    try:
        return max(0.05, float(headers["retry-after"]))
    except (KeyError, ValueError):
        return 60.0


class RealClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class RangeClock:
    """The range's clock: the machine's plus an offset that the range's control address tells (``GET /clock``).

    It is read on the event loop, so while it is in use a thread of its own asks for the offset, and ``now`` only
    reads what that has heard. After a pause the first ``now`` asks by itself: what it heard last may be old.
    """

    def __init__(self, control: str, *, fresh_s: float = 0.1, use_s: float = 2.0) -> None:
        self._url, self._fresh_s, self._use_s = f"{control}/clock", fresh_s, use_s
        self._offset, self._asked, self._used = 0.0, float("-inf"), float("-inf")
        self._lock = threading.Lock()  # one asks at a time
        self._asking = False
        self._session = requests.Session()
        self._session.trust_env = False

    def now(self) -> datetime:
        self._used = time.monotonic()
        # Twice as old as the thread lets it become: the thread is not there, or has not come to it.
        if self._used - self._asked > 2 * self._fresh_s:
            self._ask()
            with self._lock:
                if not self._asking:
                    self._asking = True
                    threading.Thread(target=self._keep_asking, name="range-clock", daemon=True).start()
        return datetime.fromtimestamp(time.time() + self._offset, UTC)

    def _ask(self) -> None:
        with self._lock:
            if time.monotonic() - self._asked <= self._fresh_s:
                return  # somebody else has asked meanwhile
            # A clock that stands still for a moment harms nothing; every server of the range is gone with it.
            with suppress(requests.RequestException):
                self._offset = float(self._session.get(self._url, timeout=CONNECT_S).json()["offset_s"])
            self._asked = time.monotonic()

    def _keep_asking(self) -> None:
        while True:
            time.sleep(self._fresh_s)
            with self._lock:
                if time.monotonic() - self._used > self._use_s:
                    self._asking = False
                    return
            self._ask()
