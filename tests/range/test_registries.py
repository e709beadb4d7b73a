"""The range's PyPI, crates.io and RubyGems.org: their rules, and pip and cargo themselves as clients."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import requests

from bot.range.clock import RangeClock
from bot.range.registries import registries
from bot.range.registries.packages import CLIENTS, PublishFailed, gem, publish, wheel
from bot.range.registries.server import RegistryServer
from bot.range.served import Problem
from bot.range.switchboard import Switchboard
from tests.slack_range import serving

NAME = "harbor-bell"
CARGO = shutil.which("cargo")
needs_cargo = pytest.mark.skipif(CARGO is None, reason="the cargo command is not installed")


@pytest.fixture(scope="module")
def shops() -> Iterator[dict[str, RegistryServer]]:
    """Each registry of packages on a port."""
    clock = RangeClock()
    made = {name: each for name, each in registries(clock, Switchboard(clock)).items() if name in CLIENTS}
    with ExitStack() as stack:
        for server in made.values():
            server.base_url = stack.enter_context(serving(server.asgi))
        yield made


@pytest.fixture
def shop(shops: dict[str, RegistryServer]) -> dict[str, RegistryServer]:
    """All of them empty, at the machine's time."""
    for server in shops.values():
        server.reset()
        server.add_user("mara")
    shops["pypi"].clock.set(0.0)
    return shops


def call(server: RegistryServer, verb: str, path: str, token: str = "", **more: Any) -> requests.Response:
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": token} if token else {}
        return session.request(verb, server.base_url + path, headers=headers | more.pop("headers", {}), **more)


def push(server: RegistryServer, token: str, version: str, name: str = NAME) -> requests.Response:
    return CLIENTS[server.name](server.base_url, token, name, version, {"a.txt": b"a"})


def test_a_version_is_taken_once_and_from_its_owner_only(shop: dict[str, RegistryServer]) -> None:
    for server in shop.values():
        server.add_user("jonas")
        mara, jonas = (server.add_token(user, f"of {user}") for user in ("mara", "jonas"))
        assert push(server, mara, "1.0.0").status_code == 200, server.name
        assert push(server, mara, "1.0.0").status_code in (400, 409)
        assert push(server, jonas, "1.0.1").status_code == 403
        assert server.delivered(NAME) == "1.0.0"


def test_a_token_that_was_revoked_is_refused(shop: dict[str, RegistryServer]) -> None:
    for server in shop.values():
        token = server.add_token("mara", "release")
        assert server.revoke("release") == 1
        assert push(server, token, "1.0.0").status_code in (401, 403), server.name
        assert server.snapshot() == {"packages": {}, "tokens": ["release: revoked"]}
        assert server.values() == [token]


# PyPI


def test_pypi_knows_a_token_by_its_id_before_it_looks_at_the_form(shop: dict[str, RegistryServer]) -> None:
    pypi = shop["pypi"]
    token = pypi.add_token("mara", "release", packages=(NAME,))
    part = {":action": (None, "file_upload")}

    def asked(value: str) -> int:
        with requests.Session() as session:
            session.trust_env = False
            url = f"{pypi.base_url}/legacy/"
            return session.post(url, auth=("__token__", value), files=part, timeout=20).status_code

    forged = token[:-8] + "AAAAAAAA"
    assert [asked(value) for value in (token, forged, "pypi-AgEIcHlwaS5vcmcCJA", "words")] == [400, 400, 403, 403]
    assert push(pypi, forged, "1.0.0").status_code == 403, "the signature counts where a project is named"
    assert push(pypi, token, "1.0.0", name="harbor-other").status_code == 403, "and so does what it is limited to"
    assert push(pypi, token, "1.0.0").status_code == 200
    pypi.revoke("release")
    assert asked(token) == 403


def test_pypi_takes_no_new_file_of_an_old_release(shop: dict[str, RegistryServer]) -> None:
    pypi: Any = shop["pypi"]
    token = pypi.add_token("mara", "release")
    push(pypi, token, "1.0.0")
    pypi.clock.advance(timedelta(days=15).total_seconds())
    answer = push(pypi, token, "1.0.0")
    assert (answer.status_code, "already exists" in answer.text) == (400, True)
    with pytest.raises(Problem, match="older than 14 days"):
        pypi.publish("mara", NAME, "1.0.0", "harbor_bell-1.0.0.tar.gz", b"x")


def test_the_index_of_pypi_has_the_fields_of_its_standards(shop: dict[str, RegistryServer]) -> None:
    pypi: Any = shop["pypi"]
    push(pypi, pypi.add_token("mara", "release"), "1.0.0")
    publisher = {"kind": "GitHub", "repository": "harbor-lights/bell", "workflow": "release.yml"}
    pypi.publish("mara", NAME, "1.1.0", "harbor_bell-1.1.0.tar.gz", b"x", publisher=publisher)
    pypi.yank(NAME, "1.0.0", "broken")
    found = call(pypi, "GET", f"/simple/{NAME}/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}).json()
    assert (found["meta"]["api-version"], found["versions"]) == ("1.4", ["1.0.0", "1.1.0"])
    rows = {row["filename"]: row for row in found["files"]}
    old, new = rows["harbor_bell-1.0.0-py3-none-any.whl"], rows["harbor_bell-1.1.0.tar.gz"]
    assert (old["yanked"], old["provenance"], new["yanked"]) == ("broken", None, False)
    assert {"url", "hashes", "size", "upload-time", "requires-python", "core-metadata"} <= new.keys()
    bundle = call(pypi, "GET", new["provenance"].removeprefix(pypi.base_url)).json()["attestation_bundles"][0]
    assert bundle["publisher"] == publisher
    assert 'data-yanked="broken"' in call(pypi, "GET", f"/simple/{NAME}/").text
    pypi.quarantine(NAME)
    found = call(pypi, "GET", f"/simple/{NAME}/", headers={"Accept": "application/json"}).json()
    assert (found["files"], found["project-status"]) == ([], {"status": "quarantined"})
    with pytest.raises(Problem, match="quarantine"):
        pypi.yank(NAME, "1.1.0")


@pytest.mark.slow
def test_pip_passes_over_a_yanked_release_unless_it_is_pinned(shop: dict[str, RegistryServer], tmp_path: Path) -> None:
    pypi: Any = shop["pypi"]
    token = pypi.add_token("mara", "release")
    for version in ("1.0.0", "1.0.1"):
        assert push(pypi, token, version).status_code == 200

    def got(wanted: str) -> str:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        words = ["download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--isolated"]
        env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
        done = subprocess.run(
            [sys.executable, "-m", "pip", *words, "-d", place, "-i", f"{pypi.base_url}/simple/", wanted], env=env,
            check=False, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        return next((path.name.split("-")[1] for path in place.glob("*.whl")), done.stderr)

    assert got(NAME) == "1.0.1"
    pypi.yank(NAME, "1.0.1", "nobody released it")
    assert got(NAME) == "1.0.0"
    assert got(f"{NAME}==1.0.1") == "1.0.1"
    pypi.quarantine(NAME)
    assert "No matching distribution" in got(NAME)


@pytest.mark.slow
def test_uv_publishes_and_passes_over_a_yanked_release(shop: dict[str, RegistryServer], tmp_path: Path) -> None:
    pypi: Any = shop["pypi"]
    token = pypi.add_token("mara", "release", packages=(NAME,))
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "UV_PUBLISH_TOKEN": token}

    def uv(*words: str) -> tuple[int, str]:
        command = [str(Path(sys.executable).with_name("uv")), *words, "--no-config", "--no-cache"]
        done = subprocess.run(command, env=env, cwd=tmp_path, check=False, capture_output=True, text=True, timeout=100)
        return done.returncode, done.stdout + done.stderr

    for version in ("1.0.0", "1.0.1"):
        filename, data = wheel(NAME, version, {"a.py": b""})
        (tmp_path / filename).write_bytes(data)
        status, said = uv("publish", "--publish-url", f"{pypi.base_url}/legacy/", filename)
        assert status == 0, said
    (tmp_path / "wanted.in").write_text(NAME)
    resolve = ("pip", "compile", "wanted.in", "--index-url", f"{pypi.base_url}/simple/", "--no-annotate")
    assert f"{NAME}==1.0.1" in uv(*resolve)[1]
    pypi.yank(NAME, "1.0.1")
    assert f"{NAME}==1.0.0" in uv(*resolve)[1]
    pypi.revoke("release")
    (tmp_path / filename).write_bytes(wheel(NAME, "1.0.2", {})[1])
    (tmp_path / filename).rename(tmp_path / filename.replace("1.0.1", "1.0.2"))
    status, said = uv("publish", "--publish-url", f"{pypi.base_url}/legacy/", filename.replace("1.0.1", "1.0.2"))
    assert (status, "403" in said) == (2, True), said


# crates.io


def test_crates_io_answers_403_to_dead_and_live_tokens_and_says_which(shop: dict[str, RegistryServer]) -> None:
    crates = shop["crates"]
    whole, limited = crates.add_token("mara", "whole"), crates.add_token("mara", "limited", scopes=("publish-update",))

    def says(verb: str, path: str, token: str) -> str:
        answer = call(crates, verb, path, token)
        assert answer.status_code == 403
        return str(answer.json()["errors"][0]["detail"])

    assert says("GET", "/api/v1/me", whole) == says("GET", "/api/v1/me", limited)
    assert "authentication failed" in says("GET", "/api/v1/me", "cio" + "A" * 32)
    assert "required permissions" in says("DELETE", "/api/v1/tokens/current", limited)
    assert call(crates, "DELETE", "/api/v1/tokens/current", whole).status_code == 204
    assert "authentication failed" in says("DELETE", "/api/v1/tokens/current", whole)
    assert "User-Agent" in call(crates, "GET", "/api/v1/me", limited, headers={"User-Agent": ""}).text
    assert call(crates, "DELETE", "/api/v1/trusted_publishing/tokens", f"Bearer {limited}").status_code == 204
    assert crates.live(limited) is None


def test_a_yanked_crate_stays_in_the_index_with_its_mark(shop: dict[str, RegistryServer]) -> None:
    crates = shop["crates"]
    token = crates.add_token("mara", "release")
    for version in ("1.0.0", "1.0.1"):
        push(crates, token, version)
    path = f"/api/v1/crates/{NAME}/1.0.1"
    body = {"version": {"yanked": True, "yank_message": "nobody released it"}}
    assert call(crates, "PATCH", path, token, json=body).json()["version"]["yank_message"] == "nobody released it"
    assert call(crates, "GET", f"/api/v1/crates/{NAME}").json()["crate"]["default_version"] == "1.0.0"
    lines = call(crates, "GET", f"/index/ha/rb/{NAME}").text.splitlines()
    assert [('"yanked": true' in line) for line in lines] == [False, True]
    assert call(crates, "PUT", f"{path}/unyank", token).json() == {"ok": True}
    assert crates.delivered(NAME) == "1.0.1"
    wrong = {"version": {"yanked": False, "yank_message": "x"}}
    assert call(crates, "PATCH", path, token, json=wrong).status_code == 400


@pytest.mark.slow
@needs_cargo
def test_cargo_publishes_yanks_and_resolves_past_what_is_yanked(
    shop: dict[str, RegistryServer], tmp_path: Path
) -> None:
    crates = shop["crates"]
    token = crates.add_token("mara", "release")
    assert CARGO is not None
    config = f'[registries.range]\nindex = "sparse+{crates.base_url}/index/"\n[registry]\ndefault = "range"\n'
    env = {
        "PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", ""), "CARGO_HOME": str(tmp_path / "home"),
        "CARGO_REGISTRIES_RANGE_TOKEN": token, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1",
    }  # fmt: skip
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "config.toml").write_text(config)

    def cargo(*words: str, at: Path) -> str:
        done = subprocess.run(
            [CARGO, *words], cwd=at, env=env, check=False, capture_output=True, text=True, timeout=100
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout

    def package(name: str, version: str, needs: str = "") -> Path:
        place = tmp_path / f"{name}-{version}"
        (place / "src").mkdir(parents=True)
        (place / "src" / "lib.rs").write_text("")
        text = f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\nlicense = "MIT"\n'
        (place / "Cargo.toml").write_text(text + f'description = "a bell"\n[dependencies]\n{needs}\n[workspace]\n')
        return place

    for version in ("1.0.0", "1.0.1"):
        cargo("publish", "--no-verify", "--allow-dirty", at=package(NAME, version))
    needs = f'{NAME} = {{ version = "1", registry = "range" }}'

    def resolved(place: Path) -> str:
        cargo("generate-lockfile", at=place)
        rows = (place / "Cargo.lock").read_text().split("[[package]]")
        return next(row for row in rows if f'name = "{NAME}"' in row).split('version = "')[1].split('"')[0]

    assert resolved(package("app", "0.1.0", needs)) == "1.0.1"
    cargo("yank", NAME, "--version", "1.0.1", at=tmp_path)
    assert resolved(package("app", "0.2.0", needs)) == "1.0.0"
    cargo("yank", NAME, "--version", "1.0.1", "--undo", at=tmp_path)
    assert resolved(package("app", "0.3.0", needs)) == "1.0.1"


# RubyGems.org


def test_a_key_of_rubygems_does_what_its_scopes_say(shop: dict[str, RegistryServer]) -> None:
    gems = shop["rubygems"]
    pushes = gems.add_token("mara", "push", scopes=("push_rubygem",))
    yanks = gems.add_token("mara", "yank", scopes=("yank_rubygem", "index_rubygems"))
    assert push(gems, yanks, "1.0.0").status_code == 403
    assert push(gems, pushes, "1.0.0").text == f"Successfully registered gem: {NAME} (1.0.0)"
    form = {"gem_name": NAME, "version": "1.0.0"}
    assert call(gems, "DELETE", "/api/v1/gems/yank", pushes, data=form).status_code == 403
    assert call(gems, "GET", "/api/v1/gems.json", pushes).status_code == 403
    assert call(gems, "GET", "/api/v1/gems.json", "rubygems_" + "0" * 48).status_code == 401
    assert [row["name"] for row in call(gems, "GET", "/api/v1/gems.json", yanks).json()] == [NAME]
    gems.tokens[yanks].otp = True
    asked = call(gems, "DELETE", "/api/v1/gems/yank", yanks, data=form)
    assert (asked.status_code, "no OTP code" in asked.text) == (401, True)
    assert call(gems, "DELETE", "/api/v1/gems/yank", yanks, data=form, headers={"OTP": "123456"}).status_code == 200
    assert call(gems, "DELETE", "/api/v1/gems/yank", yanks, data=form, headers={"OTP": "123456"}).status_code == 422
    assert call(gems, "GET", f"/gems/{NAME}-1.0.0.gem").status_code == 403
    assert call(gems, "GET", f"/api/v1/versions/{NAME}.json").status_code == 404
    assert push(gems, pushes, "1.0.0").status_code == 409, "its number is gone"


def test_downloads_are_counted_once_a_minute(shops: dict[str, RegistryServer]) -> None:
    shop = shops["crates"]
    since = shop.clock.now()
    none, some, same, more = (shop.climbed(since, since + timedelta(seconds=s)) for s in (59, 60, 119, 120))
    assert none == 0 < some == same < more


@pytest.mark.parametrize("why", ["30 days", "100,000 downloads"])
def test_an_old_or_widespread_gem_is_not_deleted(shop: dict[str, RegistryServer], why: str) -> None:
    gems: Any = shop["rubygems"]
    key = gems.add_token("mara", "all")
    push(gems, key, "1.0.0")
    if why.startswith("30"):
        gems.clock.advance(timedelta(days=31).total_seconds())
    else:
        gems.gem(NAME).versions["1.0.0"].popular = 100_001
    answer = call(gems, "DELETE", "/api/v1/gems/yank", key, params={"gem_name": NAME, "version": "1.0.0"})
    assert (answer.status_code, why in answer.text) == (403, True)
    assert call(gems, "GET", f"/gems/{NAME}-1.0.0.gem").content == gem(NAME, "1.0.0", {"a.txt": b"a"})
    assert f"1.0.0 |checksum:{gems.gem(NAME).versions['1.0.0'].sha}" in call(gems, "GET", f"/info/{NAME}").text


def test_what_is_no_package_is_refused(shop: dict[str, RegistryServer]) -> None:
    keys = {name: server.add_token("mara", "all") for name, server in shop.items()}
    assert call(shop["rubygems"], "POST", "/api/v1/gems", keys["rubygems"], data=b"words").status_code == 422
    assert call(shop["crates"], "PUT", "/api/v1/crates/new", keys["crates"], data=b"w").status_code == 400
    assert call(shop["crates"], "GET", "/nowhere").status_code == 404


@pytest.mark.parametrize("files", [{}, {"x.gemspec": b"Gem"}, {"pyproject.toml": b"[tool]"}])
def test_a_job_that_has_nothing_to_publish_says_so(files: dict[str, bytes]) -> None:
    with pytest.raises(PublishFailed, match=r"nothing to publish|says no version"):
        publish("gem push", {"rubygems": "http://127.0.0.1:1"}, {}, files)
