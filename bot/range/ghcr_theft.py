"""A classic token that pushes images, in a public run log, and whoever finds it there.

The release workflow logs in to ghcr.io with a maintainer's own token, from before GITHUB_TOKEN could push packages, and
a step that somebody left in prints it in base64. Releases prove where they were built; the thief's image does not.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from bot.errors import InputError
from bot.range import company
from bot.range.attacker import token_in_log
from bot.range.images import Layer, PushDenied, built, push_to_ghcr
from bot.range.npm_theft import dispatch
from bot.range.registries.packages import send

if TYPE_CHECKING:
    from bot.range.server import Range

REPOSITORY, SECRET, RELEASE = f"{company.ORG}/lantern", "CR_PAT", ".github/workflows/release.yml"
BETWEEN_S, UNNOTICED_S = 8 * 3600, 6 * 3600
LATEST, GOOD_TAG, EARLIER = "latest", "2.4.0", ("2.2.0", "2.3.0")
BACKDOOR = b"a backdoor of the drill: it does nothing"
_TOKEN = re.compile(r"ghp_\w{36}")
_LEAKS = f"""\
      - name: Why is the login refused
        run: echo ${SECRET} | base64
"""


def workflow(tag: str, *, leaks: bool = False) -> str:
    """The release of a version: it pushes the image, and proves where it was built."""
    return f"""\
name: Release
on:
  workflow_dispatch:

permissions:
  contents: read
  id-token: write
  attestations: write

jobs:
  image:
    runs-on: ubuntu-latest
    env:
      {SECRET}: ${{{{ secrets.{SECRET} }}}}
    steps:
      - uses: actions/checkout@v5
      - name: Build
        run: docker build .
{_LEAKS if leaks else ""}\
      - name: Push
        id: push
        run: |
          echo ${SECRET} | docker login ghcr.io -u mara --password-stdin
          docker push ghcr.io/{REPOSITORY}:{tag}
          docker push ghcr.io/{REPOSITORY}:{LATEST}
          docker buildx imagetools inspect ghcr.io/{REPOSITORY}:{tag} \\
            --format 'digest={{{{.Manifest.Digest}}}}' >> $GITHUB_OUTPUT
      - uses: actions/attest-build-provenance@v3
        with:
          subject-name: ghcr.io/{REPOSITORY}
          subject-digest: ${{{{ steps.push.outputs.digest }}}}
"""


class GhcrTheft:
    """A release prints the token; somebody reads the log and pushes an image as ``latest``."""

    def __init__(self, range_: Range) -> None:
        self._range = range_
        self._run_url = self._token = self._bad = self._good = ""

    def leak(self) -> dict[str, Any]:
        """Mara's token pushes the image of a release, and the log holds it."""
        state = self._range.github.state
        state.add_repo(REPOSITORY)
        for login, role in (("mara", "admin"), ("jonas", "write"), ("bulkhead-bot", "admin")):
            state.add_collaborator(REPOSITORY, login, role)
        token = state.add_token("mara", scopes=("read:packages", "write:packages"))
        state.set_secret(REPOSITORY, SECRET, token)
        for tag in EARLIER:
            self._releases(tag)
        run = self._releases(GOOD_TAG, leaks=True)
        self._run_url, self._good = run["html_url"], self._range.images.tagged(REPOSITORY, LATEST)
        said = (
            f"The image ghcr.io/{REPOSITORY} was released. A debug step that somebody left in printed {SECRET} as "
            "base64, so masking missed it, and the log of the run is public:"
        )
        return {
            "run_url": self._run_url, "run_id": run["id"], "image": f"ghcr.io/{REPOSITORY}:{LATEST}",
            "story": [said, self._run_url],
        }  # fmt: skip

    def _releases(self, tag: str, *, leaks: bool = False) -> dict[str, Any]:
        """Mara releases a version, hours after it is written, so that nothing of it is news when it runs; the run."""
        files: dict[str, str | bytes | None] = {
            "Dockerfile": "FROM scratch\nCOPY . /\n", "VERSION": f"{tag}\n",
            "CODEOWNERS": "* @jonas\n/.github/workflows/ @mara\n", RELEASE: workflow(tag, leaks=leaks),
        }  # fmt: skip
        self._range.github.state.commit_files(REPOSITORY, files, f"Release {tag}", "mara", runs=False)
        self._range.clock.advance(BETWEEN_S)
        run: dict[str, Any] = dispatch(self._range, "release.yml", repository=REPOSITORY)
        if run["conclusion"] != "success":
            raise InputError(f"the release did not go as planned: {run['status']}, {run['conclusion']}")
        return run

    def abuse(self, where: str) -> list[dict[str, Any]]:
        """Read the log, push an image as ``latest``, wait until somebody wonders."""
        url = where or self._run_url
        if not url:
            raise InputError("nothing has leaked yet; POST /drill/leak first, or give run_url")
        reader = self._range.company.cast["github"]["quiet-otter"]
        self._token = token_in_log(_TOKEN, self._range.github_url, reader, url)[0]
        read = "read the public log of the run and decoded the token"
        acts: list[dict[str, Any]] = [{"act": "github:ReadRunLog", "ok": True, "code": "", "made": "", "said": read}]
        self._range.clock.advance(3600)
        code = self._push(BACKDOOR, LATEST)
        said = f"pushed an image of its own as {REPOSITORY}:{LATEST}, which nobody released"
        acts.append({"act": "ghcr:Push", "ok": not code, "code": code, "made": f"{REPOSITORY}:{LATEST}", "said": said})
        self._range.clock.advance(UNNOTICED_S)
        return acts

    def _push(self, holds: bytes, tag: str) -> str:
        """Push an image as the thief: a code, or '' when ghcr.io takes it."""
        labels = {"org.opencontainers.image.source": f"https://github.com/{REPOSITORY}"}
        layers = [Layer(made_by="COPY . /", files={"app/lantern": holds})]
        blobs, manifest = built(layers, created=datetime.fromtimestamp(0, UTC), labels=labels)
        try:
            digest = push_to_ghcr(self._range.registry_url, self._token, REPOSITORY, tag, blobs, manifest)
        except PushDenied as exc:
            return str(exc)
        self._bad = self._bad or digest
        return ""

    def tries(self) -> list[dict[str, Any]]:
        """The token, a push with it, and what somebody gets who pulls the image."""
        if not self._token:
            return []
        headers = {"Authorization": f"Bearer {self._token}"}
        status = send("GET", f"{self._range.github_url}/user", headers=headers).status_code
        # where it works, what is there already is put again, and nothing comes of it
        code, latest = self._push(BACKDOOR, LATEST), self._range.images.tagged(REPOSITORY, LATEST)
        left = send("GET", f"{self._range.registry_url}/v2/{REPOSITORY}/manifests/{self._bad}").status_code
        return [
            _tried("token", "the leaked token", status == HTTPStatus.UNAUTHORIZED, str(status)),
            _tried("image-push", "a push with it", bool(code), code),
            _tried("default-pull", f"its image, as what a pull of {LATEST} gets", latest == self._good, latest),
            _tried("bad-digest", "its image, by its digest", left == HTTPStatus.NOT_FOUND, str(left)),
        ]

    def works(self) -> dict[str, str]:
        """The image that was released is there, by the tag of its version and by its digest."""
        there = self._range.images.tagged(REPOSITORY, GOOD_TAG)
        return {"the released image": "" if there == self._good else f"it is {there or 'gone'}"}


def _tried(name: str, said: str, refused: bool, code: str) -> dict[str, Any]:
    code = code if refused else ""
    return {"name": name, "refused": refused, "code": code, "identity_code": code, "said": said}
