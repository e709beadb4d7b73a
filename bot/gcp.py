"""Google Cloud's IAM as the bot's own service account, and how a leaked service-account key is tried.

A key is tried with a JWT that it signs for IAM alone and that buys nothing (google.aip.dev/auth/4111). The usual way,
to buy an access token, would make one more thing that outlives the key: it is gone only when that JWT is refused, to
hear why, and with a scope that opens nothing but the account's own name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote

import jwt
import requests

from bot import errors
from bot.model import Liveness, Secret
from bot.reads import again, decoded
from bot.registries.http import Http
from bot.world import Reply

KIND = "gcp-service-account-key"
TOKEN_TAIL = "gcp-access-token"  # noqa: S105 - a kind of tail
IAM, RESOURCES, TOKENS = (
    "https://iam.googleapis.com", "https://cloudresourcemanager.googleapis.com", "https://oauth2.googleapis.com"
)  # fmt: skip
SETTING = "BULKHEAD_GCP_KEY_FILE"
TOKEN_LIFE_S = 3600  # the most that a key's JWT buys (developers.google.com, "Using OAuth 2.0 for Server to Server")
_AUDIENCE, _FOR_TOKENS = "https://iam.googleapis.com/", "https://oauth2.googleapis.com/token"
_GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_SCOPE = "https://www.googleapis.com/auth/"
_EARLY_S = 30  # an own token is bought anew so long before it ends
_CLOCK = "reasonable timeframe"  # what the token endpoint says when clocks differ
_NAME = re.compile(r"projects/(?P<project>[\w.:-]+)/serviceAccounts/(?P<email>[\w.+-]+@[\w.-]+)/keys/(?P<key>\w+)")


@dataclass(frozen=True, slots=True)
class KeyName:
    """A service-account key by Google's own name for it."""

    project: str
    email: str
    key: str

    @property
    def account(self) -> str:
        """The account's resource name."""
        return f"projects/{self.project}/serviceAccounts/{self.email}"

    def __str__(self) -> str:
        return f"{self.account}/keys/{self.key}"


def key_name(text: str) -> KeyName:
    """Read ``projects/P/serviceAccounts/EMAIL/keys/KEY``. Raises InputError."""
    found = _NAME.fullmatch(text)
    if found is None:
        raise errors.InputError(
            f"{text[:120]!r} does not name a service-account key; it is projects/PROJECT/serviceAccounts/EMAIL/keys/KEY"
        )
    return KeyName(found["project"], found["email"], found["key"])


def own_name(key_file: str) -> KeyName | None:
    """Whose key a key file holds; None where there is none. Raises InputError for a file that is no key."""
    if not key_file:
        return None
    try:
        said = json.loads(key_file)
        name = KeyName(str(said["project_id"]), str(said["client_email"]), str(said["private_key_id"]))
    except (ValueError, KeyError, TypeError):
        raise errors.InputError(f"{SETTING} is not the JSON file of a service-account key") from None
    return key_name(str(name))


class GcpClient:
    """IAM as the bot, or as a key that is being tried. ``now``: the World's clock, since signatures carry times."""

    label = "Google Cloud"

    def __init__(
        self, *, key_file: str = "", now: Callable[[], datetime], iam_url: str = IAM, resources_url: str = RESOURCES,
        tokens_url: str = TOKENS,
    ) -> None:  # fmt: skip
        self._http = Http(label=self.label, provider="gcp", base_url=iam_url)
        self._resources, self._tokens, self._now = resources_url.rstrip("/"), tokens_url.rstrip("/"), now
        self.own, self._file = own_name(key_file), key_file
        self._bought: tuple[str, float] = ("", 0.0)

    def get(self, path: str) -> Any:
        return again(lambda: self._call("GET", f"{self._http.base}/v1/{path}")).data

    def send(self, verb: str, path: str) -> Reply:
        return self._call(verb, f"{self._http.base}/v1/{path}")

    def roles(self, name: str) -> tuple[str, ...]:
        key = key_name(name)
        url = f"{self._resources}/v1/projects/{quote(key.project)}:getIamPolicy"
        policy = again(lambda: self._call("POST", url)).data
        member = f"serviceAccount:{key.email}"
        return tuple(b["role"] for b in policy.get("bindings", ()) if member in b.get("members", ()))

    def tried(self, name: str, secret: Secret) -> tuple[Liveness, str]:
        key = key_name(name)
        try:
            bearer = self._signed(key, secret, _AUDIENCE)
        except (ValueError, TypeError, jwt.PyJWTError):
            return Liveness.UNKNOWN, "the value that is held is no private key that could sign"
        headers = {"Authorization": f"Bearer {bearer}"}
        answer = again(lambda: self._ask("GET", f"{self._http.base}/v1/{key.account}", headers=headers))
        if answer.status_code in (200, 403, 404):  # who asks is known; what he may is another matter
            return Liveness.LIVE, f"Google takes what the key signs as {key.email}"
        if answer.status_code != 401:
            return Liveness.UNKNOWN, f"Google answered {answer.status_code} to what the key signs"
        return self._why_refused(key, secret)

    def _why_refused(self, key: KeyName, secret: Secret) -> tuple[Liveness, str]:
        answer = self._buy(self._signed(key, secret, _FOR_TOKENS, f"{_SCOPE}userinfo.email"))
        if answer.status_code == 200:
            return Liveness.LIVE, f"Google refuses what the key signs for IAM, and still gives it tokens of {key.email}"
        error, why = _token_error(answer)
        if error != "invalid_grant" or _CLOCK in why:
            return Liveness.UNKNOWN, f"Google gives the key no token: {answer.status_code} {error}, {why}"
        return Liveness.DEAD, f"Google refuses the key: {error}, {why}"

    # as the bot -----------------------------------------------------------------------------------------------------

    def _call(self, verb: str, url: str) -> Reply:
        answer = self._ask(verb, url, headers={"Authorization": f"Bearer {self._token()}"})
        what = f"{verb} {url.removeprefix(self._http.base).removeprefix(self._resources)}"
        if answer.status_code >= 400:
            raise _failure(what, answer)
        headers = {k.lower(): v for k, v in answer.headers.items()}
        return Reply(answer.status_code, headers, decoded(answer.text, what, "gcp"))

    def _token(self) -> str:
        """An access token of the bot's own account. Raises Forbidden, which names the setting, where it has none."""
        if self.own is None:
            said = f"no service account of Google Cloud is configured ({SETTING})"
            raise errors.Forbidden(said, provider="gcp", permission=SETTING)
        value, ends = self._bought
        now = self._now().timestamp()
        if not ends - TOKEN_LIFE_S <= now < ends - _EARLY_S:
            answer = self._buy(
                self._signed(self.own, Secret(json.loads(self._file)["private_key"], "own"), _FOR_TOKENS,
                             f"{_SCOPE}cloud-platform")
            )  # fmt: skip
            if answer.status_code >= 400:
                error, why = _token_error(answer)
                raise errors.Refused(f"Google gives the bot no token: {error}, {why}", provider="gcp", code=error)
            bought = decoded(answer.text, "the bot's own token", "gcp")
            value, ends = bought["access_token"], now + float(bought["expires_in"])
            self._bought = (value, ends)
        return value

    # signing and asking ---------------------------------------------------------------------------------------------

    def _signed(self, key: KeyName, secret: Secret, audience: str, scope: str = "") -> str:
        now = int(self._now().timestamp())
        claims = {"iss": key.email, "sub": key.email, "aud": audience, "iat": now, "exp": now + TOKEN_LIFE_S}
        claims |= {"scope": scope} if scope else {}
        return jwt.encode(claims, secret.reveal(), algorithm="RS256", headers={"kid": key.key})

    def _buy(self, assertion: str) -> requests.Response:
        form = {"grant_type": _GRANT, "assertion": assertion}
        return self._ask("POST", f"{self._tokens}/token", data=form)

    def _ask(self, verb: str, url: str, **more: Any) -> requests.Response:
        """An answer. Raises Unavailable and RateLimited for what says nothing of who asked."""
        answer = self._http.ask(verb, url, **more)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise _failure(f"{verb} {url.partition('?')[0]}", answer)
        return answer


def _token_error(answer: requests.Response) -> tuple[str, str]:
    """The error and the sentence of the token endpoint (RFC 6749, 5.2)."""
    try:
        data = answer.json()
        return str(data["error"])[:60], str(data.get("error_description", ""))[:200]
    except (ValueError, KeyError, TypeError, AttributeError):
        return str(answer.status_code), ""


def _failure(what: str, answer: requests.Response) -> errors.ProviderError:
    """Google's error (google.rpc.Status, google.aip.dev/193) as one of ours."""
    status, why = answer.status_code, ""
    with suppress(ValueError, KeyError, TypeError):  # a proxy's page says nothing
        why = str(answer.json()["error"]["message"])[:300]
    said, code = f"Google refused {what}: {status}" + (f", {why}" if why else ""), str(status)
    if status == 401:
        return errors.Refused(said, provider="gcp", code=code)
    if status == 403:
        named = re.search(r"Permission '([\w.]+)'", why)
        return errors.Forbidden(said, provider="gcp", code=code, permission=named[1] if named else "")
    if status == 404:
        return errors.NotFound(said, provider="gcp", code=code)
    if status == 429:
        wait = answer.headers.get("retry-after", "")
        return errors.RateLimited(said, provider="gcp", code=code, retry_after=float(wait) if wait.isdigit() else 60.0)
    if status >= 500:
        return errors.Unavailable(said, provider="gcp", code=code)
    return errors.Rejected(said, provider="gcp", code=code)
