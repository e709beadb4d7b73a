"""What publishes to npm, and whether it can do so by OIDC.

Sources: the tools' own release notes. lerna 9, @semantic-release/npm 13, yarn 4.10 and pnpm 10 (through npm) can;
yarn 1 and bun cannot.
"""

from __future__ import annotations

import json
import re
from typing import Any

from bot.oidc.find import Carrier
from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step
from bot.oidc.work import Work

PUBLISH = re.compile(
    r"(?<![\w-])(npm\s+(--?\S+\s+)*publish|pnpm\s+(-\S+\s+(?!publish)\S*\s*)*(-r\s+)?publish|yarn\s+npm\s+publish|yarn\s+publish"
    r"|yarn\s+workspaces\s+foreach[^\n]*npm\s+publish|lerna\s+publish|semantic-release|changeset\s+publish|release-it"
    r"|nx\s+release|bun\s+publish|npx\s+np\b|auto\s+shipit|napi\s+prepublish|npm\s+\$\{\{[^}]*publish[^}]*\}\})"
)
INSTALLS = re.compile(
    r"(?<![\w-])(npm\s+(ci|install|i|clean-install|install-test)|yarn(\s+install)?(?=\s*($|\n|--|&&))|pnpm\s+(install|i)|bun\s+install)\b[^\n&;|]*"
)
NOT_PUBLISHED = re.compile(
    r"(?<![\w-])npm\s+(whoami|dist-tag\s+(add|rm)|deprecate|unpublish|access|owner|token|team|org|profile)\b|npm-cli-login"
)
OPAQUE = re.compile(
    r"(?m)(^|[\s;&|(])((npm|pnpm|yarn|bun)\s+(run\s+)?[\w:./@-]+|\./\S+|(bash|sh|node|python\d?|ts-node|tsx)\s+\S+|make\b|npx\s+\S+|pnpm\s+\S+|[\w./-]+\.(sh|js|mjs|ts|py)\b)"
)
ACTIONS = {
    "changesets/action": "", "cycjimmy/semantic-release-action": "semantic-release", "nick-fields/retry": "",
    "nick-invision/retry": "", "codfish/semantic-release-action": "semantic-release",
}  # fmt: skip
INPUTS = {"js-devtools/npm-publish": 4}  # an action whose token input may go, and the major version that allows it
_NEEDS = {"lerna": ("lerna", 9), "semantic-release": ("@semantic-release/npm", 13)}


def script(step: Step) -> str:
    """The commands of a step, also of actions that run what they are given."""
    given = [step.input(name) for name in ("command", "publish", "run", "script", "cwd")] if step.uses else []
    return "\n".join([step.run, *given]) + (
        " semantic-release" if ACTIONS.get(step.action) == "semantic-release" else ""
    )


def action(step: Step, inputs: list[Carrier]) -> None:
    """Refuse an action that cannot work without the token."""
    name = step.uses.split("@")[0]
    if inputs and step.action not in INPUTS:
        raise Refusal("tool-cannot", f"{name} asks for the token", "Publish by `npm publish` in a step of its own.")
    if inputs:
        found = re.match(r"v?(\d+)", step.uses.partition("@")[2])
        if found is None or int(found[1]) < INPUTS[step.action]:
            raise Refusal(
                "tool-cannot", f"{step.uses} is older than trusted publishing",
                f"Use version {INPUTS[step.action]} of it, or `npm publish` in a step of its own, then plan again.",
            )  # fmt: skip
    elif step.action not in ACTIONS:
        raise Refusal("tool-cannot", f"{name} is not known to publish without a token")


def check(work: Work, job: Job, consumers: list[Step]) -> None:
    """Refuse tools that cannot; list what a file of the repository would have told."""
    text = "\n".join(script(step) for step in consumers)
    known = _package(work)
    for found in re.finditer(r"(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?([\w:.-]+)", text):
        text += "\n" + str(known.get("scripts", {}).get(found[1], ""))
    if re.search(r"(?<![\w-])yarn\s+publish|(?<![\w-])bun\s+publish", text):
        raise Refusal("tool-cannot", f"job {job.id} publishes with yarn 1 or bun", "Publish by `npm publish`.")
    for word, (package, major) in _NEEDS.items():
        if not re.search(rf"(?<![\w-]){word}\b", text):
            continue
        stated = {**known.get("dependencies", {}), **known.get("devDependencies", {})}.get(package, "")
        version = re.search(r"\d+", stated)
        if version is not None and int(version[0]) < major:
            raise Refusal("tool-cannot", f"{package} {stated} is older than trusted publishing; it needs {major}")
        work.assumed.append(f"job {job.id}: {package} is {major} or newer")
    if not PUBLISH.search(text):
        names = ", ".join(repr(step.name) for step in consumers)
        work.assumed.append(f"job {job.id}: what {names} runs publishes through npm, not through yarn 1")


def _package(work: Work) -> dict[str, Any]:
    try:
        found = json.loads(work.repository.files.get("package.json", b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
