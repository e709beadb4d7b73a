"""Packages of the three registries, made from a name and some files, and handed in as their own clients do it.

Used by the company when it releases, by its runner's ``twine``, ``cargo`` and ``gem``, and by whoever stole a token.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import struct
import tarfile
import tomllib
import zipfile
from collections.abc import Callable, Mapping
from typing import Any

import requests

_EPOCH = 499162500  # always the same bytes


class PublishFailed(Exception):
    """What the client prints before it ends with status 1."""


def _tar(files: Mapping[str, bytes]) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.mtime = len(data), 0o644, _EPOCH
            archive.addfile(info, io.BytesIO(data))
    return raw.getvalue()


def wheel(name: str, version: str, files: Mapping[str, bytes]) -> tuple[str, bytes]:
    """(file name, bytes) of a pure wheel (packaging.python.org, "Binary distribution format")."""
    escaped = re.sub(r"[-_.]+", "_", name).lower()
    info = f"{escaped}-{version}.dist-info"
    held = {
        **{f"{escaped}/{path}": data for path, data in files.items()},
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: range\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},sha256={_urlsafe(data)},{len(data)}" for path, data in held.items()]
    held[f"{info}/RECORD"] = "\n".join([*record, f"{info}/RECORD,,", ""]).encode()
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, data in held.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return f"{escaped}-{version}-py3-none-any.whl", raw.getvalue()


def _urlsafe(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def crate(name: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """A .crate: a packed tar of a folder NAME-VERSION."""
    manifest = f'[package]\nname = "{name}"\nversion = "{version}"\nedition = "2021"\n'.encode()
    held = {"Cargo.toml": manifest, "src/lib.rs": b"", **files}
    return gzip.compress(_tar({f"{name}-{version}/{path}": data for path, data in held.items()}), mtime=0)


def gem(name: str, version: str, files: Mapping[str, bytes]) -> bytes:
    """A .gem: a tar of the packed specification and the packed files (guides.rubygems.org/specification-reference)."""
    said = (
        f"--- !ruby/object:Gem::Specification\nname: {name}\nversion: !ruby/object:Gem::Version\n  version: {version}\n"
        "platform: ruby\nauthors: [harbor-lights]\nsummary: a gem of the range\n"
    )
    packed = {"metadata.gz": gzip.compress(said.encode(), mtime=0), "data.tar.gz": gzip.compress(_tar(files), mtime=0)}
    return _tar(packed)


def send(verb: str, url: str, **more: Any) -> requests.Response:
    """One request to a server of the range."""
    with requests.Session() as session:
        session.trust_env = False
        return session.request(verb, url, timeout=20, **more)


def twine(url: str, token: str, name: str, version: str, files: Mapping[str, bytes]) -> requests.Response:
    """``twine upload`` of a wheel."""
    filename, data = wheel(name, version, files)
    form = {
        ":action": "file_upload", "protocol_version": "1", "metadata_version": "2.1", "name": name, "version": version,
        "filetype": "bdist_wheel", "pyversion": "py3", "sha256_digest": hashlib.sha256(data).hexdigest(),
    }  # fmt: skip
    parts: dict[str, Any] = {key: (None, value) for key, value in form.items()}
    return send("POST", f"{url}/legacy/", auth=("__token__", token), files=parts | {"content": (filename, data)})


def cargo(url: str, token: str, name: str, version: str, files: Mapping[str, bytes]) -> requests.Response:
    """``cargo publish`` of a crate without dependencies."""
    said = json.dumps({"name": name, "vers": version, "deps": [], "features": {}}).encode()
    data = crate(name, version, files)
    body = struct.pack("<I", len(said)) + said + struct.pack("<I", len(data)) + data
    headers = {"Authorization": token, "User-Agent": "cargo (range)"}
    return send("PUT", f"{url}/api/v1/crates/new", headers=headers, data=body)


def gem_push(url: str, token: str, name: str, version: str, files: Mapping[str, bytes]) -> requests.Response:
    """``gem push``."""
    headers = {"Authorization": token, "Content-Type": "application/octet-stream"}
    return send("POST", f"{url}/api/v1/gems", headers=headers, data=gem(name, version, files))


CLIENTS: dict[str, Callable[[str, str, str, str, Mapping[str, bytes]], requests.Response]] = {
    "pypi": twine, "crates": cargo, "rubygems": gem_push,
}  # fmt: skip
# What a step may say -> (registry, the variable that the client takes its token from).
COMMANDS = {
    "twine upload": ("pypi", "TWINE_PASSWORD"), "cargo publish": ("crates", "CARGO_REGISTRY_TOKEN"),
    "gem push": ("rubygems", "GEM_HOST_API_KEY"),
}  # fmt: skip


def publish(command: str, urls: Mapping[str, str], env: Mapping[str, str], files: Mapping[str, bytes]) -> str:
    """A step's client, with what is checked out. Returns what it prints. Raises PublishFailed."""
    registry, variable = COMMANDS[command]
    name, version = _made(files)
    answer = CLIENTS[registry](urls[registry], env.get(variable, ""), name, version, {"README.md": b"made by a job\n"})
    if answer.status_code != requests.codes.ok:
        raise PublishFailed(f"error: {answer.status_code} from the registry: {answer.text[:200]}")
    return f"Published {name} {version}\n"


def _made(files: Mapping[str, bytes]) -> tuple[str, str]:
    """Name and version of what the checkout makes."""
    try:
        if "pyproject.toml" in files:
            found = tomllib.loads(files["pyproject.toml"].decode())["project"]
            return str(found["name"]), str(found["version"])
        if "Cargo.toml" in files:
            found = tomllib.loads(files["Cargo.toml"].decode())["package"]
            return str(found["name"]), str(found["version"])
        spec = next(name for name in files if name.endswith(".gemspec"))
    except (KeyError, StopIteration):
        raise PublishFailed("error: nothing to publish in this folder") from None
    version = re.search(r"version\s*=\s*[\"']([\d.]+)", files[spec].decode())
    if version is None:
        raise PublishFailed(f"error: {spec} says no version")
    return spec.removesuffix(".gemspec"), version[1]
