"""What publishes to npm, and whether it can do so by OIDC.

Sources: lerna 9.0.0 (its commit d51e344), @semantic-release/npm 13.1.0 (e3319f1), changesets/action 1.7.0 (54220dd:
before, it wrote "undefined" for a missing token into .npmrc), release-it's docs/npm.md ("Trusted Publishing", with
npm.skipChecks), README of JS-DevTools/npm-publish ("v1 to v4"); pnpm up to 10 calls npm, later ones exchange the token
themselves. auto's plugin stops without NPM_TOKEN (plugins/npm/src/index.ts); of yarn 1 and bun nothing is known.
"""

from __future__ import annotations

import json
import re
from typing import Any

from bot.oidc.find import Carrier
from bot.oidc.hands import npm_raise
from bot.oidc.refusal import Refusal
from bot.oidc.shape import Job, Step, leaves
from bot.oidc.work import Work

PUBLISH = re.compile(
    r"(?<![\w-])(npm\s+(--?\S+\s+)*publish|pnpm\s+(-\S+\s+(\$\{\{[^}]*\}\}\S*|(?!publish)\S*)\s*)*(-r\s+)?publish|yarn\s+npm\s+publish|yarn\s+publish"
    r"|yarn\s+workspaces\s+foreach[^\n]*npm\s+publish|lerna\s+publish|semantic-release|changeset\s+publish|release-it"
    r"|nx\s+release|bun\s+publish|npx\s+np\b|auto\s+shipit|napi\s+prepublish|npm\s+\$\{\{[^}]*publish[^}]*\}\})"
)
INSTALLS = re.compile(
    r"(?<![\w-])(npm\s+(ci|install|i|clean-install|install-test)|yarn(\s+install)?(?=\s*($|\n|--|&&))|pnpm\s+(install|i)|bun\s+install)\b[^\n&;|]*"
)
NOT_PUBLISHED = re.compile(
    r"(?m)(?<![\w-])npm\s+(whoami(?!\s*$)|dist-tag\s+(add|rm)|deprecate|unpublish|access|owner|token|team|org|profile)\b|npm-cli-login"
)
OPAQUE = re.compile(
    r"(?m)(^|[\s;&|(])((npm|pnpm|yarn|bun)\s+(run\s+)?[\w:./@-]+|\./\S+|(bash|sh|node|python\d?|ts-node|tsx)\s+\S+|make\b|npx\s+\S+|pnpm\s+\S+|[\w./-]+\.(sh|js|mjs|ts|py)\b)"
)
# A script of the repository that publishes by its name; looked for only where nothing else can be seen to.
NAMED = re.compile(
    r"(?m)(?<![\w-])((npm|pnpm|yarn|bun)\s+(run\s+|exec\s+)?[\w:.-]*(publish|release)[\w:.-]*|make\s+[^\n;&|]*(publish|release)"
    r"|((bash|sh|node|npx|tsx|ts-node)\s+)?[\w./-]*(publish|release)[\w-]*\.(sh|m?js|ts))"
)
WHO = re.compile(r"\s*npm\s+whoami\s*")  # a look at whose token it is; without a token there is nobody to name
ACTIONS = {
    "changesets/action": "", "cycjimmy/semantic-release-action": "semantic-release", "nick-fields/retry": "",
    "nick-invision/retry": "", "codfish/semantic-release-action": "semantic-release",
}  # fmt: skip
INPUTS = {"js-devtools/npm-publish": 4}  # an action whose token input may go, and the major version that allows it
OLD_INPUTS = {"token", "registry", "package", "tag", "access", "dry-run"}  # those that versions 1 to 4 have alike
# Actions that are one command around the token, by their action.yaml; the command takes their place.
RUNS = {"cucumber/action-publish-npm": "npm publish"}
CHANGESETS = (1, 7)  # before, the action writes an .npmrc with the text "undefined"
_NEEDS = {"lerna": ("lerna", (9, 0)), "semantic-release": ("@semantic-release/npm", (13, 1))}
# The majors from which on these publish by OIDC; semantic-release 25 brings @semantic-release/npm 13.1.
LEAST = {"semantic-release": 25, "lerna": 9, "npm": 11}
BRINGS = 5  # the major of the actions that run semantic-release, from which on they bring that one
_GLOBAL_NPM = re.compile(r"npm\s+(?:i|install)\s+(?:(?:-g|--global)\s+)?npm@v?(?P<major>\d+)")
YARN = (4, 10)  # yarnpkg/berry, release @yarnpkg/cli/4.10.0: "yarn npm publish" exchanges the token
_CANNOT = {
    r"(?<![\w-])yarn\s+publish": ("yarn 1", "Publish by `npm publish`."),
    r"(?<![\w-])bun\s+publish": ("bun", "Publish by `npm publish`."),
    r"(?<![\w-])auto\s+shipit": ("auto, which stops where NPM_TOKEN is not set", "Publish by `npm publish`."),
}


def script(step: Step) -> str:
    """The commands of a step, also of actions that run what they are given."""
    given = [step.input(name) for name in ("command", "publish", "run", "script", "cwd")] if step.uses else []
    return "\n".join([step.run, RUNS.get(step.action, ""), *given]) + (
        " semantic-release" if ACTIONS.get(step.action) == "semantic-release" else ""
    )


def action(work: Work, step: Step, inputs: list[Carrier]) -> None:
    """See to it that an action works without the token. Raises Refusal when it cannot."""
    name = step.uses.split("@")[0]
    if step.action in RUNS:
        _run(work, step)
        return
    if inputs and step.action not in INPUTS:
        raise Refusal("tool-cannot", f"{name} asks for the token", "Publish by `npm publish` in a step of its own.")
    if inputs:
        version = _version(step)
        if version is None or version[0] < INPUTS[step.action]:
            _raise_version(work, step, version)
    elif step.action == "changesets/action":
        version = _version(step)
        if version is None and re.fullmatch(r"[0-9a-f]{40}", step.uses.partition("@")[2]):
            raise Refusal("tool-cannot", f"which release {name} is at cannot be told", "Write it behind the commit.")
        if version is not None and len(version) > 1 and version[:2] < CHANGESETS:
            work.repin(step)
            work.notes.append(f"{step.job.workflow.path}: changesets/action goes to {work.pin(step.action).version}")
    elif step.action not in ACTIONS:
        folder = work.repository.called_action(step.uses)
        given = any(path.startswith(folder) for path in work.repository.files) if folder else True
        raise Refusal("tool-cannot", f"{name} is not known to publish without a token",
                      lacks="" if given else f"{folder}action.yml")  # fmt: skip


def _run(work: Work, step: Step) -> None:
    """The action's command in its place. Raises Refusal when it is told more than the token and a folder."""
    if set(map(str.lower, step.inputs)) - {"npm-token", "working-directory"}:
        raise Refusal("tool-cannot", f"{step.uses} has inputs that are not known", "Publish by `npm publish`.")
    draft = work.draft(step.job.workflow.path)
    draft.delete((*step.path, "uses"))
    draft.delete((*step.path, "with"))
    draft.insert(step.path, "run", RUNS[step.action], near="uses")
    if folder := step.input("working-directory") or (step.job.folder and "."):  # an action knows no defaults of a job
        draft.insert(step.path, "working-directory", folder, near="uses")


def _version(step: Step) -> tuple[int, ...] | None:
    """The version that a step's action is used at, from its tag or from the comment behind a commit."""
    source = step.job.workflow.source
    at = step.node.get("uses")
    comment = source.text[at.end : source.line_end(at.end)] if at is not None else ""
    ref = step.uses.partition("@")[2]
    found = re.match(r"v?(\d+(\.\d+)*)$", ref) or re.search(r"#\D*v?(\d+(\.\d+)*)", comment)
    return tuple(int(part) for part in found[1].split(".")) if found else None


def _raise_version(work: Work, step: Step, version: tuple[int, ...] | None) -> None:
    """An older release of an action: the newer one, where nothing that the step says has another meaning there."""
    node = step.node.get("id")
    read = node is not None and any(
        re.search(rf"steps\.{re.escape(node.value)}\.outputs\.type", text) for text in leaves(step.job.node)
    )
    if version is None or (version[0] == 1 and (set(map(str.lower, step.inputs)) - OLD_INPUTS or read)):
        raise Refusal(
            "tool-cannot", f"{step.uses} is older than trusted publishing",
            f"Use version {INPUTS[step.action]} of it, or `npm publish` in a step of its own, then plan again.",
        )  # fmt: skip
    if version[0] == 1:  # from version 2 on it ignores lifecycle scripts unless it is told not to
        work.set_input(step, "ignore-scripts", "false")
    work.repin(step)
    work.notes.append(f"{step.job.workflow.path}: {step.action} goes to {work.pin(step.action).version}")


def check(work: Work, job: Job, consumers: list[Step]) -> None:
    """Refuse tools that cannot; list what a file of the repository would have told."""
    text = "\n".join(script(step) for step in consumers)
    known = _package(work)
    for found in re.finditer(r"(?:npm|pnpm|yarn|bun)\s+(?:run\s+)?([\w:.-]+)", text):
        text += "\n" + str(known.get("scripts", {}).get(found[1], ""))
    for pattern, (tool, hand) in _CANNOT.items():
        if re.search(pattern, text):
            raise Refusal("tool-cannot", f"{job.title} publishes with {tool}", hand)
    if re.search(r"(?<![\w-])release-it\b", text) and not _skips_checks(work, known):
        raise Refusal(
            "tool-cannot", f"{job.title} publishes with release-it, which asks npm first who it is",
            "Set npm.skipChecks in the configuration of release-it 19.0.5 or newer, then plan again.",
        )  # fmt: skip
    _pinned(work, job, text, consumers)
    stated_all = {**known.get("dependencies", {}), **known.get("devDependencies", {})}
    for word, (package, least) in _NEEDS.items():
        if not re.search(rf"(?<![\w-]){word}\b", text):
            continue
        wanted = ".".join(map(str, least))
        stated = str(stated_all.get(package, ""))
        version = re.search(r"(\d+)(?:\.(\d+))?", stated)
        if version is not None and (int(version[1]), int(version[2] or 99)) < least:
            raise Refusal("tool-cannot", f"{package} {stated} is older than trusted publishing; it needs {wanted}")
        work.assumed.append(f"{job.title}: {package} is {wanted} or newer")
    _yarn(work, job, text, known)
    if not PUBLISH.search(text) and not all(step.action in INPUTS for step in consumers):
        names = ", ".join(repr(step.name) for step in consumers)
        work.assumed.append(f"{job.title}: what {names} runs publishes through npm, not through yarn 1")


def _pinned(work: Work, job: Job, text: str, consumers: list[Step]) -> None:
    """Raise a tool that the workflow itself names in a version that is too old. Raises Refusal where that cannot be."""
    for tool, least in LEAST.items():
        for found in re.finditer(rf"(?<![\w-]){tool}@v?(\d+)", text):
            if int(found[1]) < least and not npm_raise.in_scripts(work, consumers, tool, least):
                raise Refusal(
                    "tool-cannot", f"{job.title} publishes with {tool} {found[1]}; trusted publishing needs {least}",
                    f"Raise {tool} to {least} or newer, then plan again.",
                )  # fmt: skip
    for step in consumers:
        stated = re.match(r"\D*(\d+)", step.input("semantic_version"))
        version = _version(step)
        old = bool((stated and int(stated[1]) < LEAST["semantic-release"]) or (version and version[0] < BRINGS))
        if ACTIONS.get(step.action) == "semantic-release" and old and not npm_raise.action(work, step):
            raise Refusal(
                "tool-cannot", f"{step.uses} runs a semantic-release that is older than {LEAST['semantic-release']}",
                f"Set semantic_version to {LEAST['semantic-release']} or newer, then plan again.",
            )  # fmt: skip
    last = max(step.index for step in consumers)
    for step in (each for each in job.steps if each.index <= last):
        installed = _GLOBAL_NPM.search(step.run)
        old = installed is not None and int(installed["major"]) < LEAST["npm"]
        if old and _stays(job, step, consumers) and not npm_raise.in_scripts(work, [step], "npm", LEAST["npm"]):
            raise Refusal(
                "tool-cannot", f"step {step.name!r} of {job.title} installs an npm that is older than {LEAST['npm']}",
                f"Take it out: Node 24 brings npm {LEAST['npm']}.",
            )  # fmt: skip


def _stays(job: Job, step: Step, consumers: list[Step]) -> bool:
    """Whether an npm that a step has installed is the one that publishes: no set-up of Node comes in between."""
    first = min(each.index for each in consumers)
    setups = [each for each in job.steps if each.action == "actions/setup-node" and each.index < first]
    raised = [each.index for each in setups if re.match(r"\D*2\d", each.input("node-version"))]
    return step.index >= first or any(index < step.index for index in raised)


def _yarn(work: Work, job: Job, text: str, package: dict[str, Any]) -> None:
    """Yarn 2 and newer publish by themselves, and by OIDC from a release on."""
    if not re.search(r"(?<![\w-])yarn\s+(workspaces?\s[^\n]*)?npm\s+publish", text):
        return
    stated = re.match(r"yarn@(\d+)\.(\d+)", str(package.get("packageManager", "")))
    wanted = ".".join(map(str, YARN))
    if stated is not None and (int(stated[1]), int(stated[2])) < YARN:
        raise Refusal(
            "tool-cannot", f"yarn {stated[1]}.{stated[2]} is older than trusted publishing; it needs {wanted}",
            f"Raise yarn to {wanted} or newer, then plan again.",
        )  # fmt: skip
    work.assumed.append(f"{job.title}: yarn is {wanted} or newer")


def _skips_checks(work: Work, package: dict[str, Any]) -> bool:
    """Whether release-it is told not to ask npm who it is, which it cannot answer without a token."""
    try:
        found = json.loads(work.repository.files.get(".release-it.json", b"{}"))
    except ValueError:
        found = {}
    tables = (found if isinstance(found, dict) else {}, package.get("release-it") or {})
    return any(bool((table.get("npm") or {}).get("skipChecks")) for table in tables if isinstance(table, dict))


def _package(work: Work) -> dict[str, Any]:
    try:
        found = json.loads(work.repository.files.get("package.json", b"{}"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
