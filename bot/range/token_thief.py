"""A maintainer's token in a public image layer, and the attacker who finds it there.

The story is that of two incidents: PyPI's administrator token of June 2024 (in a compiled file of a public image; the
layer, not the last state of the image, is what gives it away), and GhostAction of September 2025 (a stolen token pushes
a workflow named like a security scan, which sends each secret that it names to the attacker).
"""

from __future__ import annotations

import gzip
import io
import re
import tarfile
from collections.abc import Callable
from datetime import timedelta
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range import company
from bot.range.attacker import NothingFound
from bot.range.images import Layer
from bot.range.thief import OLD_BRANCH, Thief, public_key

if TYPE_CHECKING:
    from bot.range.server import Range

TAG = "1.4"
CREDENTIALS = "root/.git-credentials"
_TOKEN = re.compile(r"(?:ghp_\w{36}|github_pat_\w{82})")


class TokenInImage:
    """``found`` says that GitHub had found and revoked the token by itself before anybody reported it."""

    def __init__(self, range_: Range, *, found: bool = False) -> None:
        self._range, self._found = range_, found
        self._thief: Puller | None = None
        self._where = ""

    def leak(self) -> dict[str, Any]:
        """Publish the image as mara did an hour ago: a layer holds her token, and a later one deletes the file."""
        state = self._range.github.state
        token = state.add_token("mara", scopes=("repo", "workflow"), expires_in_s=90 * 86400)
        state.commit_files(
            company.FERRY, {"app/timetable.txt": "06:10 06:50\n"}, "Winter", "jonas", branch=OLD_BRANCH, runs=False
        )
        mirror = public_key()
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
                Layer(made_by=f"RUN rm /{CREDENTIALS}", files={"root/.wh..git-credentials": b""}),
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
        self._thief = Puller(self._range, where or self._where)
        acts = self._thief.find()
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


class Puller(Thief):
    """It pulls public images and looks into every layer."""

    def __init__(self, range_: Range, where: str) -> None:
        super().__init__(range_)
        self._where = where

    def find(self) -> list[dict[str, Any]]:
        """Pull the layers, take the token, look around, add a key, push a workflow to two branches."""
        self.token = self._pulled()
        said = "pulled the layers and found the token in one of them"
        found: dict[str, Any] = {"act": "registry:PullLayer", "ok": True, "code": "", "made": "", "said": said}
        return [found, *self.act("key", "workflow:main", f"workflow:{OLD_BRANCH}")]

    def _pulled(self) -> str:
        """The first token in any layer. Raises NothingFound."""
        host, _, rest = self._where.partition("/")
        name, _, tag = rest.rpartition(":")
        base = f"http://{host}/v2/{name}"
        if f"http://{host}" != self._range.registry_url:
            raise NothingFound(f"{host!r} is not the range's registry")
        answer = self._request("GET", f"{base}/manifests/{tag}", "")
        if answer.status_code != HTTPStatus.OK:
            raise NothingFound(f"the registry answers {answer.status_code}")
        for layer in answer.json()["layers"]:
            packed = self._request("GET", f"{base}/blobs/{layer['digest']}", "").content
            with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    match = _TOKEN.search(file.read().decode(errors="replace")) if file else None
                    if match:
                        return match[0]
        raise NothingFound("no token in the image")
