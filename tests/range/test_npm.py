"""The real npm client against the range's registry: it publishes, installs, tags, unpublishes, and is refused."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import uvicorn

from bot.range.clock import RangeClock
from bot.range.issuer import OidcIssuer
from bot.range.npm import NpmProblem, NpmRegistry
from bot.range.npm_keys import Keys
from bot.range.npm_package import release
from bot.range.npm_trust import AUDIENCE, Publisher, exchanged
from bot.range.npm_web import NpmWeb
from bot.range.port import listen
from bot.range.switchboard import Switchboard
from tests.npm_client import NPM, NpmCommand, needs_npm

NAME = "@harbor-lights/bell"


class Shop:
    """The registry on a port, and the npm command."""

    def __init__(self, registry: NpmRegistry, url: str, folder: Path) -> None:
        self.registry, self.folder, self.npm = registry, folder, NpmCommand(url, folder)

    def publish(self, name: str, version: str, **more: object) -> tuple[int, str]:
        return self.npm.publish(name, version, **more)

    def installed(self, spec: str = "") -> str:
        return self.npm.installed(NAME, spec)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    clock = RangeClock()
    registry = NpmRegistry(clock)
    listener = listen()
    server = uvicorn.Server(uvicorn.Config(NpmWeb(registry, Switchboard(clock)).asgi, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    registry.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    registry.add_user("mara")
    shop = Shop(registry, registry.base_url, tmp_path)
    shop.npm.token = registry.add_token("mara", "release")
    yield shop
    server.should_exit = True
    thread.join(5)


@needs_npm
def test_npm_publishes_views_and_installs(shop: Shop) -> None:
    assert shop.npm("whoami") == (0, "mara\n")
    status, said = shop.publish(NAME, "1.0.0")
    assert (status, f"+ {NAME}@1.0.0" in said) == (0, True), said
    assert json.loads(shop.npm("view", NAME, "--json")[1])["dist-tags"] == {"latest": "1.0.0"}
    assert shop.installed() == "1.0.0"
    manifest = shop.registry.packages[NAME].versions["1.0.0"]
    assert manifest["_npmUser"]["name"] == "mara"
    status, said = shop.npm("publish", "--access", "public", at=shop.folder / f"{NAME.replace('/', '+')}-1.0.0")
    assert (status, "cannot publish over" in said) == (1, True), said


@needs_npm
def test_npm_ci_takes_what_the_lock_file_says(shop: Shop) -> None:
    shop.publish(NAME, "1.0.0")
    place = shop.folder / "locked"
    place.mkdir()
    app = {"name": "app", "version": "0.0.0", "dependencies": {NAME: "^1.0.0"}}
    (place / "package.json").write_text(json.dumps(app))
    assert shop.npm("install", "--package-lock-only", at=place)[0] == 0
    shop.publish(NAME, "1.0.1")
    status, said = shop.npm("ci", at=place, token="")
    assert status == 0, said
    assert json.loads((place / "node_modules" / NAME / "package.json").read_text())["version"] == "1.0.0"


@needs_npm
def test_npm_moves_a_tag_and_the_default_install_follows(shop: Shop) -> None:
    shop.publish(NAME, "1.0.0")
    shop.publish(NAME, "1.0.1")
    assert shop.installed() == "1.0.1"
    status, said = shop.npm("dist-tag", "add", f"{NAME}@1.0.0", "latest")
    assert status == 0, said
    assert shop.installed() == "1.0.0"
    assert shop.npm("dist-tag", "add", f"{NAME}@1.0.1", "next")[0] == 0
    assert shop.npm("dist-tag", "ls", NAME)[1] == "latest: 1.0.0\nnext: 1.0.1\n"
    assert shop.npm("dist-tag", "rm", NAME, "next")[0] == 0


@needs_npm
def test_npm_deprecates_and_takes_it_back(shop: Shop) -> None:
    shop.publish(NAME, "1.0.0")
    assert shop.npm("deprecate", f"{NAME}@1.0.0", "do not use")[0] == 0
    assert shop.npm("view", NAME, "deprecated")[1].strip() == "do not use"
    assert shop.npm("deprecate", f"{NAME}@1.0.0", "")[0] == 0
    assert shop.npm("view", NAME, "deprecated")[1].strip() == ""


@needs_npm
def test_npm_unpublishes_a_young_version_and_its_number_is_gone_for_good(shop: Shop) -> None:
    shop.publish(NAME, "1.0.0")
    shop.publish(NAME, "1.0.1")
    status, said = shop.npm("unpublish", f"{NAME}@1.0.1")
    assert status == 0, said
    package = shop.registry.packages[NAME]
    assert (list(package.versions), package.tags) == (["1.0.0"], {"latest": "1.0.0"})
    assert list(package.files) == ["bell-1.0.0.tgz"]
    assert shop.installed("@^1.0.0") == "1.0.0"
    status, said = shop.npm("publish", "--access", "public", at=shop.folder / f"{NAME.replace('/', '+')}-1.0.1")
    assert (status, "cannot publish over" in said) == (1, True), said


@needs_npm
def test_npm_may_not_unpublish_what_others_use(shop: Shop) -> None:
    shop.publish(NAME, "1.0.0")
    shop.publish(NAME, "1.0.1")
    shop.publish("buoy", "1.0.0", dependencies={NAME: "^1.0.0"})
    status, said = shop.npm("unpublish", f"{NAME}@1.0.1")
    assert (status, "has dependent packages in the registry" in said) == (1, True), said
    del shop.registry.packages["buoy"]
    shop.registry.clock.advance(timedelta(days=4).total_seconds())
    status, said = shop.npm("unpublish", f"{NAME}@1.0.1")
    assert (status, "downloads in the last week" in said) == (1, True), said


@needs_npm
def test_a_revoked_token_is_refused_by_whoami_and_publish(shop: Shop) -> None:
    shop.publish(NAME, "1.0.0")
    assert shop.registry.revoke("release") == 1
    status, said = shop.npm("whoami")
    assert (status, "E401" in said) == (1, True), said
    status, said = shop.publish(NAME, "1.0.1")
    assert (status, "E401" in said) == (1, True), said
    assert list(shop.registry.packages[NAME].versions) == ["1.0.0"]


@needs_npm
def test_a_token_cannot_revoke_tokens_only_a_person_can(shop: Shop) -> None:
    (token,) = shop.registry.tokens.values()
    status, said = shop.npm("token", "revoke", token.key[:8])
    assert (status, "EOTP" in said or "one-time" in said) == (1, True), said
    assert not token.revoked


def test_downloads_climb_while_a_version_is_latest_and_stop_when_it_is_not(shop: Shop) -> None:
    from bot.range.npm_package import document, packed

    registry = shop.registry
    (token,) = registry.tokens.values()
    for version in ("1.0.0", "1.0.1"):
        manifest = {"name": NAME, "version": version}
        registry.publish(document(manifest, packed({"package.json": json.dumps(manifest).encode()})), token)
    seen = []
    for _ in range(3):
        registry.clock.advance(3600)
        seen.append(registry.downloads(registry.packages[NAME])["1.0.1"])
    assert seen == sorted(set(seen))
    registry.clock.advance(20 * 3600)
    assert 45_000 < registry.downloads(registry.packages[NAME])["1.0.1"] <= 50_000
    registry.set_tag(NAME, "latest", "1.0.0", token)
    stopped = registry.downloads(registry.packages[NAME])["1.0.1"]
    registry.clock.advance(3600)
    assert registry.downloads(registry.packages[NAME])["1.0.1"] == stopped


def test_an_identity_is_exchanged_for_a_token_of_one_package_that_soon_ends() -> None:
    clock = RangeClock()
    issuer, registry = OidcIssuer(clock), NpmRegistry(clock)
    registry.add_user("mara")
    own = registry.tokens[registry.add_token("mara", "release")]
    for name in ("ferry", "timetable"):
        registry.publish(release({"name": name, "version": "1.0.0"}), own)
    registry.publishers["ferry"] = Publisher(repository="o/ferry", workflow="release.yml", environment="production")
    claims = {
        "sub": "s", "repository": "o/ferry", "environment": "production",
        "workflow_ref": "o/ferry/.github/workflows/release.yml@refs/heads/main",
    }  # fmt: skip

    def asked(audience: str = AUDIENCE, name: str = "ferry", **other: str) -> object:
        return exchanged(registry, issuer, name, issuer.mint(claims | other, audience))

    refused = [
        asked(repository="o/other"), asked(environment="staging"), asked(name="timetable"), asked("sts.amazonaws.com"),
        asked(workflow_ref="o/ferry/.github/workflows/other.yml@refs/heads/main"),
        exchanged(registry, OidcIssuer(clock), "ferry", issuer.mint(claims, AUDIENCE)),
    ]  # fmt: skip
    assert refused == [None] * 6
    found = exchanged(registry, issuer, "ferry", issuer.mint(claims, AUDIENCE))
    assert found is not None
    token = registry.caller(f"Bearer {found['token']}")
    registry.publish(release({"name": "ferry", "version": "1.0.1"}), token)
    with pytest.raises(NpmProblem) as caught:
        registry.publish(release({"name": "timetable", "version": "1.0.1"}), token)
    assert caught.value.status == 403
    clock.advance(901)
    with pytest.raises(NpmProblem) as caught:
        registry.caller(f"Bearer {found['token']}")
    assert caught.value.status == 401


# The real client judges what the range signs --------------------------------------------------------------------------

# npm asks Sigstore's TUF repository first whether it has keys of the registry. It has none of one on loopback; that
# answer is given here, without the network. The rest of the command is npm's own.
WITHOUT_TUF = """
try {
  const tuf = require(require.resolve('@sigstore/tuf', { paths: [process.env.NPM_IS_AT] }))
  const none = Object.assign(new Error('no such target'), { code: 'TUF_FIND_TARGET_ERROR' })
  tuf.initTUF = async () => ({ getTarget: async () => { throw none } })
} catch (error) {
  if (error.code !== 'MODULE_NOT_FOUND') throw error  // an older npm goes to the registry at once
}
"""


@needs_npm
@pytest.mark.slow
def test_npm_audit_signatures_agrees_with_what_the_range_signs(shop: Shop) -> None:
    if tuple(map(int, shop.npm("--version")[1].split(".")[:2])) < (8, 15):
        pytest.skip("npm audit signatures came with npm 8.15")
    shop.publish(NAME, "1.0.0")
    place = shop.folder / "app"
    place.mkdir()
    app = {"name": "app", "version": "0.0.0", "dependencies": {NAME: "1.0.0"}}
    (place / "package.json").write_text(json.dumps(app))
    assert shop.npm("install", at=place, token="")[0] == 0
    (shop.folder / "tuf.cjs").write_text(WITHOUT_TUF)
    npm = Path(NPM or "").resolve().parent
    preload = {"NODE_OPTIONS": f'--require "{shop.folder / "tuf.cjs"}"', "NPM_IS_AT": str(npm)}
    dist = shop.registry.packages[NAME].versions["1.0.0"]["dist"]
    good, other = dist["signatures"], Keys().sign(NAME, "1.0.0", dist["integrity"])

    def audited(signatures: list[dict[str, str]]) -> tuple[int, str]:
        dist["signatures"] = signatures
        return shop.npm("audit", "signatures", at=place, token="", env=preload)

    status, said = audited(good)
    assert (status, "1 package has a verified registry signature" in said) == (0, True), said
    status, said = audited([])
    assert (status, "1 package has a missing registry signature" in said) == (1, True), said
    status, said = audited([{**other, "keyid": good[0]["keyid"]}])
    assert (status, "1 package has an invalid registry signature" in said) == (1, True), said
    status, said = audited([other])
    assert (status, "EMISSINGSIGNATUREKEY" in said) == (1, True), said
    shop.registry.keys.rotate(shop.registry.packages[NAME].times["1.0.0"] - timedelta(days=1))
    status, said = audited(good)
    assert (status, "EEXPIREDSIGNATUREKEY" in said) == (1, True), said
