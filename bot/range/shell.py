"""The commands that a step's ``run:`` may use. They are interpreted here; nothing ever reaches a shell.

Understood: words, quotes, ``$NAME``, pipes, ``&&``, ``||``, ``;``, ``>`` and ``>>`` into $GITHUB_ENV, $GITHUB_OUTPUT,
$GITHUB_STEP_SUMMARY or /dev/null, and the commands of ``_COMMANDS``. Anything else fails the step and says so.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import textwrap
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions
import botocore.loaders
import botocore.session
import requests
from botocore.config import Config

from bot.range.images import Layer, PushDenied, built, digest_at, push_to_ecr, push_to_ghcr
from bot.range.npm_package import NpmCommand, NpmFailed
from bot.range.registries import packages
from bot.range.registries.docker import Docker

SINKS = {"/github/env": "env", "/github/output": "output", "/github/summary": "summary", "/dev/null": "null"}
# Commands that would build or test in a real job. Here they succeed; a build leaves its files in dist/.
_BUILDS = ("make", "npm ci", "npm install", "npm run", "npm test", "yarn", "pnpm install", "pnpm run", "go build",
           "go test", "cargo build", "cargo test", "pip install", "python -m pip install", "python -m build", "pytest",
           "mkdir")  # fmt: skip
# these work against the range's registry, in a package of it
_NPM = ("npm ci", "npm publish", "npm publish --provenance", "npm whoami")
_BUILT = ("dist/", "build/", "target/")
_SERVICE_MODELS = botocore.loaders.create_loader()  # reading a service's model takes 0.1 s: once a process
_IMAGE = re.compile(
    r"(?P<host>ghcr\.io|\d{12}\.dkr\.ecr\.[\w-]+\.amazonaws\.com)/(?P<repository>[\w./-]+):(?P<tag>[\w.-]+)"
)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
Run = Generator[float, None, int]


class NotInterpreted(Exception):
    """A line that the range does not interpret."""


class _Exit(Exception):
    """``exit N``."""


@dataclass(slots=True, kw_only=True)
class Box:
    """All that a step's commands can touch."""

    env: dict[str, str]
    files: Mapping[str, bytes]
    say: Callable[[str], None]
    aws_url: str | None
    npm_url: str | None = None
    registries: Mapping[str, str] = field(default_factory=dict)  # addresses by name
    hosts: Mapping[str, str] = field(default_factory=dict)  # addresses of the range, by the name that a script says
    id_token: Callable[[str], str] | None = None  # None where the job may ask for none
    attest: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None  # the same: signs a statement as the job
    sinks: dict[str, str] = field(default_factory=dict)  # env, output, summary -> text
    built: bool = False
    docker: Docker | None = None  # the job's own, which remembers who has signed in
    trace: bool = False
    docker_token: str = ""  # of the registry that the step has logged in to

    def client(self, service: str) -> Any:
        """A client with the credentials of the step's environment, never the machine's. Raises ``BotoCoreError``."""
        key, secret = self.env.get("AWS_ACCESS_KEY_ID"), self.env.get("AWS_SECRET_ACCESS_KEY")
        if not key or not secret:
            raise botocore.exceptions.NoCredentialsError
        region = self.env.get("AWS_REGION") or self.env.get("AWS_DEFAULT_REGION") or "us-east-1"
        return aws_client(self.aws_url, service, region, key, secret, self.env.get("AWS_SESSION_TOKEN") or None)


def aws_client(url: str | None, service: str, region: str, key: str, secret: str, token: str | None = None) -> Any:
    """A client of the range's AWS that reads nothing of the machine's; without a range there is nothing to reach."""
    if url is None:
        raise botocore.exceptions.EndpointConnectionError(endpoint_url=f"https://{service}.amazonaws.com/")
    nowhere: dict[str, tuple[Any, ...]] = {
        "profile": (None, [], None, None), "config_file": (None, [], os.devnull, None),
        "credentials_file": (None, [], os.devnull, None), "ca_bundle": (None, [], None, None),
    }  # fmt: skip
    core = botocore.session.Session(session_vars=nowhere)
    core.register_component("data_loader", _SERVICE_MODELS)
    config = Config(
        retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=20, proxies={},
        s3={"addressing_style": "path"},
    )  # fmt: skip
    return boto3.session.Session(botocore_session=core, region_name=region).client(
        service, endpoint_url=url, config=config, aws_access_key_id=key, aws_secret_access_key=secret,
        aws_session_token=token,
    )  # fmt: skip


def _tokens(line: str, env: Mapping[str, str]) -> list[tuple[str, str]]:
    """Words (quotes and variables resolved) and operators. Raises ``NotInterpreted`` on other syntax."""
    found: list[tuple[str, str]] = []
    word: str | None = None
    at = 0
    while at < len(line):
        char = line[at]
        if char in " \t|&;>":
            if word is not None:
                found.append(("word", word))
                word = None
            if char in " \t":
                at += 1
                continue
            op = line[at : at + 2] if line[at : at + 2] in ("||", "&&", ">>") else char
            if op == "&":
                raise NotInterpreted("background jobs")
            found.append(("op", op))
            at += len(op)
        elif char == "#" and word is None:
            break
        elif char == "'":
            end = line.find("'", at + 1)
            if end < 0:
                raise NotInterpreted("a quote that does not end on its line")
            word = (word or "") + line[at + 1 : end]
            at = end + 1
        elif char == '"':
            piece, at = _double_quoted(line, at + 1, env)
            word = (word or "") + piece
        elif char == "$":
            piece, at = _variable(line, at, env)
            word = word if not piece and word is None else (word or "") + piece
        elif char == "\\" and at + 1 < len(line):
            word, at = (word or "") + line[at + 1], at + 2
        elif char in "`<()":
            raise NotInterpreted(f"{char!r} in a command")
        else:
            word, at = (word or "") + char, at + 1
    if word is not None:
        found.append(("word", word))
    return found


def _double_quoted(line: str, at: int, env: Mapping[str, str]) -> tuple[str, int]:
    piece = ""
    while at < len(line) and line[at] != '"':
        if line[at] == "$":
            more, at = _variable(line, at, env)
            piece += more
        elif line[at] == "\\" and line[at + 1 : at + 2] in ('"', "\\", "$", "`"):
            piece, at = piece + line[at + 1], at + 2
        elif line[at] == "`":
            raise NotInterpreted("command substitution")
        else:
            piece, at = piece + line[at], at + 1
    if at >= len(line):
        raise NotInterpreted("a quote that does not end on its line")
    return piece, at + 1


def _variable(line: str, at: int, env: Mapping[str, str]) -> tuple[str, int]:
    named = re.match(r"\$(?:\{([A-Za-z_]\w*)\}|([A-Za-z_]\w*))", line[at:])
    if named is None:
        if line[at : at + 2] in ("$(", "${", "$$", "$?"):
            raise NotInterpreted("substitution other than $NAME")
        return "$", at + 1
    return env.get(named[1] or named[2], ""), at + named.end()


def lines_of(script: str) -> list[str]:
    """Logical lines: continued ones joined, comments and blank ones gone."""
    joined = re.sub(r"\\\n\s*", " ", script)
    return [line.strip() for line in joined.splitlines() if line.strip() and not line.strip().startswith("#")]


def interpret(script: str, box: Box) -> Run:
    """Run a script as ``bash -e`` would. Yields seconds to sleep; returns the exit status."""
    for line in lines_of(script):
        try:
            status = yield from _line(line, box)
        except _Exit as exc:
            return int(exc.args[0])
        except NotInterpreted as exc:
            box.say(f"the range's runner does not interpret this line ({exc}): {line}")
            return 127
        if status:
            return status
    return 0


def _line(line: str, box: Box) -> Run:
    status, take = 0, True
    part: list[tuple[str, str]] = []
    for token in [*_tokens(line, box.env), ("op", ";")]:
        if token not in (("op", "&&"), ("op", "||"), ("op", ";")):
            part.append(token)
            continue
        if part and take:
            status = yield from _pipeline(part, box)
        part, take = [], token[1] == ";" or (token[1] == "&&") == (status == 0)
        if token[1] == ";" and status:
            return status
    return status


def _pipeline(part: list[tuple[str, str]], box: Box) -> Run:
    commands: list[list[str]] = [[]]
    sink = ""
    rest = iter(part)
    for kind, value in rest:
        if kind == "op" and value == "|":
            commands.append([])
        elif kind == "op":
            sink = next(rest, ("word", ""))[1]
            if sink not in SINKS:
                raise NotInterpreted(f"writing to {sink or 'nothing'}")
        else:
            commands[-1].append(value)
    if any(not words for words in commands):
        raise NotInterpreted("an empty command")
    output, status = "", 0
    for words in commands:
        if box.trace:
            box.say("+ " + " ".join(words))
        if words[0] == "sleep":
            yield _seconds(words)
            output, status = "", 0
        elif words[0].startswith("./") or words[0] in ("bash", "sh"):
            status = yield from _script(words, box)
            output = ""
        else:
            status, output = _command(words, output, box)
    if sink:
        box.sinks[SINKS[sink]] = box.sinks.get(SINKS[sink], "") + output
    else:
        for text in output.splitlines():
            box.say(text)
    return status


def _seconds(words: list[str]) -> float:
    try:
        return float(words[1].removesuffix("s"))
    except (IndexError, ValueError):
        raise NotInterpreted("a sleep without seconds") from None


def _script(words: list[str], box: Box) -> Run:
    path = (words[0] if words[0].startswith("./") else words[1] if len(words) > 1 else "").removeprefix("./")
    data = box.files.get(path)
    if data is None:
        box.say(f"{words[0]}: {path or 'no file'}: No such file or directory")
        return 127
    return (yield from interpret(data.decode(), box))


def _command(words: list[str], given: str, box: Box) -> tuple[int, str]:
    name, said = words[0], " ".join(words)
    if name in _COMMANDS:
        return _COMMANDS[name](words[1:], given, box)
    if len(words) == 1 and _ASSIGNMENT.match(name):
        return _export(words, given, box)
    if said in _NPM and box.npm_url is not None and "package-lock.json" in box.files:
        if words[-1] == "--provenance" and box.id_token is None:
            return 1, "npm error code EUSAGE\nnpm error Provenance generation requires id-token: write\n"
        return _npm(words, box.npm_url, box)
    known = next((known for known in packages.COMMANDS if said == known or said.startswith(f"{known} ")), "")
    if packages.COMMANDS.get(known, ("",))[0] in box.registries:
        return _printed(lambda it: packages.publish(known, it.registries, it.env, it.files), box)
    if any(said == known or said.startswith(f"{known} ") for known in _BUILDS):
        box.built = True
        return 0, f"{said}: done\n"
    raise NotInterpreted(f"{name} is not one of its commands")


def _echo(args: list[str], _given: str, _box: Box) -> tuple[int, str]:
    end = "\n"
    while args and args[0] in ("-n", "-e", "-ne", "-en"):
        end = "" if "n" in args[0] else end
        args = args[1:]
    return 0, " ".join(args) + end


def _printf(args: list[str], _given: str, _box: Box) -> tuple[int, str]:
    pattern, values = args[0] if args else "", iter(args[1:])
    filled = re.sub(r"%[sdb]", lambda _m: next(values, ""), pattern).replace("%%", "%")
    return 0, filled.replace("\\n", "\n").replace("\\t", "\t")


def _env(args: list[str], _given: str, box: Box) -> tuple[int, str]:
    if args:
        return (0, box.env[args[0]] + "\n") if args[0] in box.env else (1, "")
    return 0, "".join(f"{name}={value}\n" for name, value in box.env.items())


def _base64(args: list[str], given: str, _box: Box) -> tuple[int, str]:
    flags = " ".join(args)
    if flags in ("-d", "--decode"):
        try:
            return 0, base64.b64decode("".join(given.split()), validate=True).decode(errors="replace")
        except binascii.Error:
            return 1, "base64: invalid input\n"
    if flags not in ("", "-w0", "-w 0", "--wrap=0", "-"):
        raise NotInterpreted(f"base64 {flags}")
    coded = base64.b64encode(given.encode()).decode()
    return 0, coded if "0" in flags else "".join(f"{row}\n" for row in textwrap.wrap(coded, 76))


def _export(args: list[str], _given: str, box: Box) -> tuple[int, str]:
    for pair in args:
        name, equals, value = pair.partition("=")
        if equals:
            box.env[name] = value
    return 0, ""


def _set(args: list[str], _given: str, box: Box) -> tuple[int, str]:
    if any(flag not in ("-e", "-u", "-x", "-eu", "-ex", "-eux", "-euo", "-euxo", "-o", "pipefail") for flag in args):
        raise NotInterpreted(f"set {' '.join(args)}")
    box.trace = box.trace or any("x" in flag for flag in args if flag.startswith("-"))
    return 0, ""


def _cat(args: list[str], given: str, box: Box) -> tuple[int, str]:
    if not args:
        return 0, given
    data = box.files.get(args[0].removeprefix("./"))
    return (1, f"cat: {args[0]}: No such file or directory\n") if data is None else (0, data.decode(errors="replace"))


def _exit(args: list[str], _given: str, _box: Box) -> tuple[int, str]:
    raise _Exit(int(args[0]) if args and args[0].isdigit() else 0)


def _aws(args: list[str], _given: str, box: Box) -> tuple[int, str]:
    args = [a for a in args if not a.startswith("--")]
    try:
        if args == ["sts", "get-caller-identity"]:
            arn = box.client("sts").get_caller_identity()["Arn"]
            return 0, f'{{\n    "Arn": "{arn}"\n}}\n'
        if args == ["s3", "ls"]:
            return 0, "".join(f"{b['Name']}\n" for b in box.client("s3").list_buckets()["Buckets"])
        if args[:2] == ["s3", "cp"] and len(args) == 4 and args[3].startswith("s3://"):
            return _copy_up(args[2], args[3], box)
    except botocore.exceptions.ClientError as exc:
        return 254, f"\naws: [ERROR]: {exc}\n"
    except botocore.exceptions.BotoCoreError as exc:
        return 253, f"\naws: [ERROR]: {exc}\n"
    raise NotInterpreted(f"aws {' '.join(args[:2])}")


def _docker(args: list[str], given: str, box: Box) -> tuple[int, str]:
    """``docker build``; ``docker push`` to ECR as its helper signs in, and after a login to Docker Hub and ghcr.io."""
    if args[:1] == ["build"]:
        box.built = True
        if box.docker is not None:
            box.docker.build(args, box.files)
        return 0, f"docker {' '.join(args)}: done\n"
    if args[:3] == ["buildx", "imagetools", "inspect"] and args[4:5] == ["--format"] and len(args) == 6:
        return _inspected(args[3], args[5], box)
    if args[:2] == ["login", "ghcr.io"] and args[-1] == "--password-stdin":
        box.docker_token = given.strip()
        return 0, "Login Succeeded\n"
    pushed = _IMAGE.fullmatch(args[1]) if args[:1] == ["push"] and len(args) == 2 else None
    if pushed is None:
        if box.docker is None or args[:1] not in (["login"], ["tag"], ["push"]):
            raise NotInterpreted(f"docker {' '.join(args[:2])}")
        return _printed(lambda docker: docker.run(args, given), box.docker)
    files = {path: data for path, data in box.files.items() if not path.startswith(".github/")}
    labels = {"org.opencontainers.image.source": f"https://github.com/{box.env.get('GITHUB_REPOSITORY', '')}"}
    blobs, manifest = built(
        [Layer(made_by="COPY . /", files=files)], created=datetime.fromtimestamp(0, UTC), labels=labels
    )
    try:
        if pushed["host"] == "ghcr.io":
            url = box.registries["ghcr"]
            digest = push_to_ghcr(url, box.docker_token, pushed["repository"], pushed["tag"], blobs, manifest)
        else:
            digest = push_to_ecr(box.client("ecr"), pushed["repository"], pushed["tag"], blobs, manifest)
    except (botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, PushDenied) as exc:
        return 1, f"denied: {exc}\n"
    return 0, f"{pushed['tag']}: digest: {digest} size: {len(manifest)}\n"


def _inspected(name: str, template: str, box: Box) -> tuple[int, str]:
    """``docker buildx imagetools inspect NAME --format TEMPLATE``, for an image at ghcr.io and its digest."""
    image = _IMAGE.fullmatch(name)
    if image is None or image["host"] != "ghcr.io":
        raise NotInterpreted(f"docker buildx imagetools inspect {name}")
    digest = digest_at(box.registries["ghcr"], image["repository"], image["tag"])
    if not digest:
        return 1, f"ERROR: {name}: not found\n"
    return 0, template.replace("{{.Manifest.Digest}}", digest) + "\n"


def _npm(words: list[str], url: str, box: Box) -> tuple[int, str]:
    npm = NpmCommand(url, box.env, box.files, box.id_token, box.attest)
    try:
        if words[1] == "publish":
            return 0, npm.publish(provenance=words[-1] == "--provenance")
        return 0, {"ci": npm.ci, "whoami": npm.whoami}[words[1]]()
    except NpmFailed as exc:
        return 1, f"{exc}\n"


def _printed(client: Callable[[Any], str], of: Any) -> tuple[int, str]:
    """What a registry's client prints, and the status that it ends with."""
    try:
        return 0, client(of)
    except packages.PublishFailed as exc:
        return 1, f"{exc}\n"


def _curl(args: list[str], _given: str, box: Box) -> tuple[int, str]:
    """A form that is posted to a host of the range."""
    data, rest = "", iter(args)
    url = ""
    for arg in rest:
        if arg in ("-d", "--data"):
            data = next(rest, "")
        elif arg in ("-X", "-H", "-o"):
            next(rest, "")
        elif not arg.startswith("-"):
            url = arg
    host = urlsplit(url).hostname or ""
    if host not in box.hosts:
        raise NotInterpreted(f"curl to {host or 'nowhere'}")
    pairs = (pair.partition("=") for pair in data.split("&"))
    form = {name: value for name, _, value in pairs if name}
    told: dict[str, Any] = {"from": box.env.get("GITHUB_REPOSITORY", ""), "env": form}
    with requests.Session() as session:
        session.trust_env = False
        session.post(f"{box.hosts[host]}/collect", json=told, timeout=20)
    return 0, ""


def _copy_up(source: str, target: str, box: Box) -> tuple[int, str]:
    path = source.removeprefix("./")
    data = box.files.get(path)
    if data is None and box.built and path.startswith(_BUILT):
        data = f"built by the range: {path}\n".encode()
    if data is None:
        return 255, f"\nThe user-provided path {source} does not exist.\n"
    bucket, _slash, key = target.removeprefix("s3://").partition("/")
    key = key + path.rsplit("/", 1)[-1] if not key or key.endswith("/") else key
    box.client("s3").put_object(Bucket=bucket, Key=key, Body=data)
    return 0, f"upload: ./{path} to s3://{bucket}/{key}\n"


_COMMANDS: dict[str, Callable[[list[str], str, Box], tuple[int, str]]] = {
    "echo": _echo, "printf": _printf, "env": _env, "printenv": _env, "base64": _base64, "export": _export,
    "set": _set, "cat": _cat, "exit": _exit, "aws": _aws, "docker": _docker, "curl": _curl,
    "true": lambda _a, _g, _b: (0, ""), "false": lambda _a, _g, _b: (1, ""),
}  # fmt: skip
