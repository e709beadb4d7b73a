"""Docker Compose: services that are handed an AWS key by name get its session token beside it.

Source: docs.docker.com/reference/compose-file/services, "environment" (a list or a map; ``${NAME:-}`` is empty where
the variable is not set, so that nobody who starts the services without a session is warned).
"""

from __future__ import annotations

import re

from bot.oidc.draft import Draft
from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step
from bot.oidc.source import Node, Source
from bot.oidc.work import Work

COMMAND = re.compile(r"(?<![\w-])docker[- ]compose\b(?P<rest>[^\n;&|]*)")
DEFAULT = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
SECRET, TOKEN = "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"
_FILE = re.compile(r"(?:-f|--file)[= ]\s*[\"']?([^\s\"']+)")
_FROM_OUTSIDE = re.compile(rf"\$\{{?{SECRET}\b.*")


def hand_on(work: Work, line: str, folder: str) -> None:
    """See to it that the services of a line's compose files get the session token. Raises Refusal.

    ``folder``: where the line runs, from the top of the repository; '' for the top.
    """
    found = COMMAND.search(line)
    assert found is not None, "a line that calls compose"
    for path in _files(work, found["rest"], folder):
        source = Source(work.repository.files[path])
        services = source.root.get("services")
        for entry in services.real.entries if services is not None else []:
            _service(work, path, source, entry.key.value)
        left = [line for line in source.text.splitlines() if SECRET in line and not line.strip().startswith("#")]
        if len(left) != sum(_named(each.value) for each in (services.real.entries if services is not None else [])):
            raise Refusal("forwarded", f"{path} hands the key on otherwise than in the environment of a service")


def seen(work: Work, job: Job, step: Step, folder: str) -> None:
    """The same for a step that has the key from a login; what a file that was not given says, is listed."""
    for line in step.run.splitlines():
        if not COMMAND.search(line) or line.strip().startswith("#"):
            continue
        try:
            hand_on(work, line, folder)
        except Refusal as refusal:
            if not refusal.lacks:
                raise
            work.assumed.append(
                f"job {job.id}: {refusal.lacks} hands on {TOKEN} where it hands on the key to a service"
            )


def _files(work: Work, rest: str, folder: str) -> list[str]:
    """The compose files that a command reads. Raises Refusal when one was not given."""
    base = f"{folder.strip('./')}/" if folder.strip("./") else ""
    given = [base + name.removeprefix("./") for name in _FILE.findall(rest)]
    wanted = given or [next((base + name for name in DEFAULT if base + name in work.repository.files), "")]
    missing = [name or f"the compose file of {base or 'the top folder'}" for name in wanted
               if name not in work.repository.files]  # fmt: skip
    if missing:
        raise Refusal(
            "forwarded", "a script hands the key to containers, which a session token would not reach",
            "Name AWS_SESSION_TOKEN beside the key in the compose file.", lacks=missing[0],
        )  # fmt: skip
    return wanted


def _environment(service: Node) -> Node | None:
    return service.real.get("environment") if service.real.kind == "map" else None


def _named(service: Node) -> int:
    node = _environment(service)
    if node is None:
        return 0
    if node.real.kind == "map":
        return int(node.real.get(SECRET) is not None)
    return sum(item.real.value.partition("=")[0].strip() == SECRET for item in node.real.items)


def _service(work: Work, path: str, source: Source, name: str) -> None:
    at = ("services", name, "environment")
    node = _environment(source.at(at[:2]))
    if node is None or not _named(source.at(at[:2])):
        return
    draft = work.drafts.setdefault(path, Draft(source))
    if node.real.kind == "map":
        value = node.real.get(SECRET)
        outside = value is not None and (not value.real.value or _FROM_OUTSIDE.fullmatch(value.real.value))
        if outside and not draft.has((*at, TOKEN)):
            draft.insert(at, TOKEN, f"${{{TOKEN}:-}}", near=SECRET)
        return
    words = [item.real.value for item in node.real.items]
    number = next(n for n, word in enumerate(words) if word.partition("=")[0].strip() == SECRET)
    value_ = words[number].partition("=")[2]
    if (not value_ or _FROM_OUTSIDE.fullmatch(value_)) and not any(word.startswith(TOKEN) for word in words):
        draft.insert_item((*at, number), f"{TOKEN}=${{{TOKEN}:-}}" if value_ else TOKEN)
