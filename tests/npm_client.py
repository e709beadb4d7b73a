"""The real npm command with a home of its own, pointed at a registry on loopback."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

NPM = shutil.which("npm")
needs_npm = pytest.mark.skipif(NPM is None, reason="the npm command is not installed")


@dataclass
class NpmCommand:
    """``npm`` against one registry. ``token`` is sent when it is not ''."""

    url: str
    folder: Path
    token: str = ""

    def __call__(
        self, *words: str, at: Path | None = None, token: str | None = None, env: dict[str, str] | None = None
    ) -> tuple[int, str]:  # fmt: skip
        rc, value = self.folder / "npmrc", self.token if token is None else token
        auth = f"//{self.url.removeprefix('http://')}/:_authToken={value}\n" if value else ""
        rc.write_text(f"registry={self.url}\n{auth}audit=false\nfund=false\nupdate-notifier=false\n")
        env = {
            **(env or {}), "PATH": os.environ["PATH"], "HOME": str(self.folder), "npm_config_userconfig": str(rc),
            "npm_config_cache": str(self.folder / "cache"), "npm_config_prefer_online": "true",
            "NO_PROXY": "127.0.0.1", "npm_config_fetch_retries": "0", "npm_config_ignore_scripts": "true",
        }  # fmt: skip
        assert NPM is not None
        done = subprocess.run(
            [NPM, *words], cwd=at or self.folder, env=env, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def write(self, name: str, version: str, **more: object) -> Path:
        """The folder of a package to publish."""
        place = self.folder / f"{name.replace('/', '+')}-{version}"
        place.mkdir(exist_ok=True)
        (place / "package.json").write_text(json.dumps({"name": name, "version": version, **more}))
        (place / "index.js").write_text(f"exports.version = {version!r}\n")
        return place

    def publish(self, name: str, version: str, token: str | None = None, **more: object) -> tuple[int, str]:
        return self("publish", "--access", "public", at=self.write(name, version, **more), token=token)

    def installed(self, package: str, spec: str = "") -> str:
        """The version that an install in an empty folder gets."""
        place = self.folder / f"app{len(list(self.folder.iterdir()))}"
        place.mkdir()
        (place / "package.json").write_text('{"name": "app", "version": "0.0.0"}')
        status, said = self("install", package + spec, at=place, token="")
        assert status == 0, said
        return str(json.loads((place / "node_modules" / package / "package.json").read_text())["version"])
