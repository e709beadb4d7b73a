"""Provenance without trusted publishing: the release proves where it was built, and signs in with a stored token.

The story is that of axios (March 2026): ``id-token: write`` and a badge at npm, and a token in the job all the same.
What the id-token is used for there is the statement, and not the sign-in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from bot.errors import InputError
from bot.range import company
from bot.range.npm_company import GOOD, NEW_TOKEN_NAME, PACKAGE, RELEASE, RELEASE_YAML, SECRET
from bot.range.npm_package import release
from bot.range.npm_theft import BACKDOOR, NpmTheft
from bot.range.npm_trust import Publisher
from bot.range.people import as_person

if TYPE_CHECKING:
    from bot.range.server import Range

LAST = "1.4.5"  # what is published with the token that was kept
ATTESTED = RELEASE_YAML.replace("contents: read\n", "contents: read\n  id-token: write\n", 1).replace(
    "run: npm publish\n", "run: npm publish --provenance\n"
)


class ProvenanceOnly(NpmTheft):
    """The theft of a publish token, in a release that looks as if it had none."""

    def __init__(self, range_: Range) -> None:
        super().__init__(range_)
        self._kept = ""  # the token that was kept beside a trusted publisher

    def leak(self) -> dict[str, Any]:
        files: dict[str, str | bytes | None] = {RELEASE: ATTESTED}
        self._range.github.state.commit_files(company.FERRY, files, "Publish with provenance", "mara", runs=False)
        told = super().leak()
        said = f"npm shows a badge at {PACKAGE}: its releases have provenance. The job has an id-token, and a token."
        return told | {"story": [said, *told["story"]]}

    @property
    def happens(self) -> dict[str, Callable[[], dict[str, Any]]]:
        """What comes of a choice, by its name."""
        return super().happens | {"keep-the-token": self._keep, "drop-the-token": self._drop}

    def _keep(self) -> dict[str, Any]:
        """The form at npm is filled in, and the new token stays in its secret; the job reads it as before."""
        self._trust()
        held = self._range.github.state.secrets[("actions", "repository", company.FERRY)]
        self._kept = held[SECRET].value
        self._range.clock.advance(3600)
        stolen, self._token = self._token, self._kept
        body = release({"name": PACKAGE, "version": LAST, "license": "MIT"}, {"index.js": BACKDOOR})
        code = self._npm("PUT", f"/{quote(PACKAGE, safe='@')}", body)
        self._token = stolen
        if code:
            raise InputError(f"npm refuses the token that was kept: {code}")
        said = f"The token that was kept for emergencies is read as the one before. An hour later {PACKAGE}@{LAST}"
        return {"story": [f"{said} is out, without provenance: npm takes a token as well as it takes the release."]}

    def _trust(self) -> None:
        self._range.npm.publishers[PACKAGE] = Publisher(repository=company.FERRY, workflow="release.yml")

    def _drop(self) -> dict[str, Any]:
        """Mara deletes the token and its secret, and has the version taken down."""
        self._range.npm.revoke(NEW_TOKEN_NAME)
        as_person(self._range, "mara", "DELETE", f"/actions/secrets/{SECRET}")
        package = self._range.npm.packages[PACKAGE]
        with self._range.npm.lock:
            package.versions.pop(LAST, None)
            package.tags["latest"] = GOOD
        said = "Mara deletes the token and its secret, and npm takes the version down. The release signs in by itself."
        return {"story": [said]}

    def tries(self) -> list[dict[str, Any]]:
        """And the token that was kept."""
        found = super().tries()
        for row in found:
            if row["name"] == "default-install":
                row["refused"] = row["refused"] and row["code"] != LAST
        if self._kept:
            dead = not self._range.npm.accepts(self._kept)
            found.append({"name": "kept-token", "refused": dead, "code": "E401" if dead else "", "identity_code": "",
                          "said": "publishing with the token that was kept"})  # fmt: skip
        return found
