"""npm: trusted publishing in place of a token.

Sources: docs.npmjs.com/trusted-publishers (npm 11.5.1 or newer and Node 22.14 or newer, GitHub-hosted runners, publish
only), README of actions/setup-node (``package-manager-cache``). npm tries OIDC first and falls back to a token in
silence, so every token has to go: one that stays hides a publisher that is set up wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from bot.oidc import recipes
from bot.oidc.find import Carrier
from bot.oidc.hands import composite, npm_tools
from bot.oidc.hands.composite import Composite, Use
from bot.oidc.refusal import Refusal
from bot.oidc.shape import SECRET, Job, Step
from bot.oidc.work import Work

WHY = "npm trusted publishing"
SETUP = "actions/setup-node"
REGISTRY = "https://registry.npmjs.org"
OWN = re.compile(r"(https?://)?registry\.(npmjs\.org|yarnpkg\.com)/?", re.IGNORECASE)
_AUTH = re.compile(r"_authToken|npmAuthToken|_auth=|\bnpm-cli-login\b", re.IGNORECASE)
_AUTH_LINE = re.compile(
    r"""\s*(
        (echo|printf)\s.*(_authToken|npmAuthToken).*>+\s*\S+                       # into an .npmrc
      | (p?npm|yarn)\s+(config\s+)?set\s.*(_authToken|npmAuthToken).*              # by the tool itself
    )\s*""",
    re.VERBOSE | re.IGNORECASE,
)
_AUTH_FIRST = re.compile(
    r"((echo|printf)\s[^&|;]*_authToken[^&|;]*>+\s*[^\s&|;]+|npm\s+(config\s+)?set\s[^&|;]*_authToken[^&|;]*)\s*&&\s*",
    re.IGNORECASE,
)
_HEREDOC = re.compile(
    r"\s*cat\s*(<<-?\s*['\"]?(\w+)['\"]?\s*>+\s*\S*npmrc\S*|>+\s*\S*npmrc\S*\s*<<-?\s*['\"]?(\w+)['\"]?)\s*"
)
_FLAG = re.compile(
    r"\s--(//registry\.npmjs\.org/:_authToken|token|auth-token)[= ]\S*(\$\{\{[^}]*\}\}|\$\{?\w+\}?)[\"']?"
)


def migrate(work: Work) -> None:
    """Draft the migration of one token. Raises Refusal."""
    work.refuse_odd(by_matrix=True)
    for carrier in work.wide():
        work.drop(carrier)
    publishes = npm_tools.PUBLISH.search
    files: dict[str, None] = {}
    for job, carriers, wide in work.using_jobs(lambda s, _: bool(publishes(npm_tools.script(s))), "publish"):
        _job(work, job, carriers, wide)
        files |= dict.fromkeys([job.workflow.path])
    if len(files) > 1:
        work.notes.append(
            f"each of {', '.join(files)} is a trusted publisher of its own at npm; a package that several of them "
            "publish needs a configuration for each"
        )
    work.pass_on()


def _job(work: Work, job: Job, carriers: list[Carrier], wide: Carrier | None) -> None:
    work.trusted(job)
    if not job.hosted:
        raise Refusal("self-hosted", f"job {job.id} runs on {job.runs_on}", "Publish from a job on a hosted runner.")
    steps = {step.index: step for step in job.steps}
    touched: dict[int, list[Carrier]] = {}
    for carrier in carriers:
        if carrier.kind == "job-env":
            work.drop(carrier)
            wide = carrier
        elif carrier.step is not None:
            touched.setdefault(carrier.step, []).append(carrier)
    names = {c.name for c in carriers} | ({wide.name} if wide else set())
    consumers = [steps[n] for n, own in sorted(touched.items()) if _step(work, steps[n], own, names)]
    if wide is None:
        wide = next((c for n in touched for c in touched[n] if c.kind == "step-env" and steps[n].action == SETUP), None)
    if wide is not None or not consumers:
        known = {step.index for step in consumers}
        left = [s for s in job.steps if s.index not in known and not work.draft(job.workflow.path).deleted(s.path)]
        found = [s for s in left if npm_tools.PUBLISH.search(npm_tools.script(s))]
        consumers += found or ([] if consumers else [s for s in left if npm_tools.NAMED.search(npm_tools.script(s))])
        _refuse_other_commands(work, job, touched)
    asking = [step for step in job.steps if any(map(npm_tools.WHO.fullmatch, step.run.splitlines()))]
    for step in (each for each in job.steps if each.index not in touched):
        named = any(re.search(rf"\$\{{?{n}\b", step.run) for n in names if n)
        if step in asking or (_AUTH.search(step.run) and named):
            _script(work, step)
    if asking and not consumers:
        raise Refusal("not-only-publish", f"job {job.id} asks npm whose token it is, and publishes nothing")
    if not consumers:
        raise Refusal("consumers-unknown", f"no step of job {job.id} can be seen to publish to npm")
    consumers.sort(key=lambda step: step.index)
    _refuse_other_uses(job, consumers)
    npm_tools.check(work, job, consumers)
    outside = [s for s in consumers if not any(work.actions.get(p) for p in composite.files(work, s))]
    if outside:  # an action of ours that publishes sets Node up by itself
        _node(work, job, outside)
    for step in consumers:
        work.guard(step)
    work.grant(job, WHY)


def _refuse_other_commands(work: Work, job: Job, touched: Iterable[int]) -> None:
    """A token that every step has may do more than to publish."""
    for step in job.steps:
        if npm_tools.NOT_PUBLISHED.search(step.run):
            raise Refusal("not-only-publish", f"step {step.name!r} of job {job.id} does more than to publish")
        if step.index not in touched and npm_tools.INSTALLS.search(step.run):
            work.assumed.append(f"job {job.id}: what step {step.name!r} installs is public, so it needs no token")


def _step(work: Work, step: Step, carriers: Iterable[Carrier], names: set[str]) -> bool:
    """Take the token out of a step. Whether the step publishes, or may."""
    inputs = [c for c in carriers if c.kind == "input"]
    if (found := composite.called(work, step, inputs)) is not None:
        return _composite(work, found)
    for carrier in carriers:
        if carrier.kind == "step-env" and not carrier.part and not _only_for_auth(step, carrier.name):
            raise Refusal("renamed", f"{carrier.where} gives the token to a script under the name {carrier.name}")
        if carrier.kind in {"step-env", "input"} and step.action not in npm_tools.RUNS:
            work.drop(carrier)
    if step.action == SETUP:
        return False  # it hands the variable on to every step that follows
    if step.uses and not inputs and _unread(work, step, carriers):
        return False
    if step.uses:
        npm_tools.action(work, step, inputs)
        return True
    stores = _AUTH.search(step.run) or any(map(npm_tools.WHO.fullmatch, step.run.splitlines()))
    if (stores or any(c.kind == "run" for c in carriers)) and _script(work, step):
        return False
    if npm_tools.NOT_PUBLISHED.search(step.run):
        raise Refusal("not-only-publish", f"step {step.name!r} of job {step.job.id} does more than to publish")
    if npm_tools.PUBLISH.search(step.run):
        return True
    if npm_tools.INSTALLS.search(step.run) and not npm_tools.OPAQUE.search(npm_tools.INSTALLS.sub("", step.run)):
        raise Refusal(
            "not-only-publish", f"step {step.name!r} of job {step.job.id} installs with the token",
            "Give the install a token that may only read, under another name, then plan again.",
        )  # fmt: skip
    left = [line for line in step.run.splitlines() if not _AUTH.search(line)]
    return bool(npm_tools.OPAQUE.search("\n".join(left)))


def _composite(work: Work, found: Composite) -> bool:
    """An action of this repository that takes the token by an input: none is left in it. Whether it publishes."""
    if found.path not in work.actions:
        publishing = {step.index: step for use in found.uses if (step := _inner(work, found, use)) is not None}
        steps = [publishing[index] for index in sorted(publishing)]
        work.actions[found.path] = bool(steps)
        if steps:
            _refuse_other_uses(steps[0].job, steps)
            npm_tools.check(work, steps[0].job, steps)
            _node(work, steps[0].job, steps)
    publishes = work.actions[found.path]
    if publishes and work.pulled(found.caller):
        raise Refusal("reached-by-forks", f"pull requests come to {found.path}, which publishes")
    found.forget(work)
    return publishes


def _inner(work: Work, found: Composite, use: Use) -> Step | None:
    """Take the token out of one place of an action. The step when it publishes."""
    step, draft = use.step, found.draft(work)
    held = use.kind == "step-env" and use.whole
    if step is None or not (held or use.kind == "run") or npm_tools.NOT_PUBLISHED.search(step.run):
        raise found.refuse(use)
    if held:
        if use.name.upper() not in recipes.data("providers")["npm"]["env"] and not _only_for_auth(step, use.name):
            raise found.refuse(use)
        draft.delete(use.path)
    if use.kind == "run" or _AUTH.search(step.run):
        left = "\n".join(line for line in _lines(work, step.run.split("\n")) if line is not None)
        if re.search(rf"\binputs\b.{{0,4}}{re.escape(use.input)}\b", left):
            raise found.refuse(use)
        if _script(work, step):
            return None
    if npm_tools.PUBLISH.search(step.run):
        return step
    if held and npm_tools.INSTALLS.search(step.run):
        raise Refusal(
            "not-only-publish", f"{found.path} installs with the token",
            "Give the install a token that may only read, under another name, then plan again.",
        )  # fmt: skip
    if held and not _AUTH.search(step.run) and step.action != SETUP:
        raise found.refuse(use)
    return None


def _unread(work: Work, step: Step, carriers: Iterable[Carrier]) -> bool:
    """Whether an action of this repository, whose files are given, reads none of the variables."""
    folder = work.repository.called_action(step.uses)
    files = [work.repository.files[path] for path in work.repository.files if folder and path.startswith(folder)]
    return bool(files) and not any(c.name.encode() in text for c in carriers for text in files)


def _only_for_auth(step: Step, name: str) -> bool:
    """Whether a variable is read in lines that write the token to a configuration, and nowhere else."""
    lines = [line for line in step.run.splitlines() if re.search(rf"\$\{{?{re.escape(name)}\b", line)]
    return bool(lines) and all(_AUTH.search(line) for line in lines)


def _script(work: Work, step: Step) -> bool:
    """Take out the lines that write the token to a configuration. True when nothing is left and the step goes."""
    draft = work.draft(step.job.workflow.path)
    if draft.edit_lines((*step.path, "run"), lambda lines: _lines(work, lines)):
        draft.delete_step(step.path)
        return True
    return False


def _lines(work: Work, lines: list[str]) -> list[str | None]:
    made: list[str | None] = list(lines)
    for start, end in _heredocs(lines):
        kept = [n for n in range(start + 1, end) if lines[n].strip() and not _AUTH.search(lines[n])]
        for number in range(start, end + 1) if not kept else range(start + 1, end):
            if not kept or _AUTH.search(lines[number]):
                made[number] = None
    for number, line in enumerate(made):
        if line is None or line.strip().startswith("#"):
            continue
        new: str | None = _FLAG.sub("", _AUTH_FIRST.sub("", line))
        if npm_tools.WHO.fullmatch(line):
            made[number] = None
            continue
        if (
            _AUTH_LINE.fullmatch(line)
            and not line.rstrip().endswith("\\")
            and (not number or not lines[number - 1].rstrip().endswith("\\"))
        ):
            new = None
        checked = line if new is None else ""
        if checked and not OWN.search(checked) and "//" in checked:
            raise Refusal("other-service", "the token is written for a registry other than registry.npmjs.org")
        if new is not None and (
            _AUTH.search(new) or set(work.credential.secrets) & {n.upper() for p in SECRET.findall(new) for n in p if n}
        ):
            raise Refusal(
                "forwarded",
                f"a script uses the token otherwise than to publish: {SECRET.sub('secrets.…', new).strip()[:80]}",
            )
        made[number] = new
    return made


def _heredocs(lines: list[str]) -> list[tuple[int, int]]:
    found = []
    for start, line in enumerate(lines):
        if opened := _HEREDOC.fullmatch(line):
            word = opened[2] or opened[3]
            end = next((n for n in range(start + 1, len(lines)) if lines[n].strip() == word), None)
            if end is not None and any(_AUTH.search(each) for each in lines[start:end]):
                found.append((start, end))
    return found


def _refuse_other_uses(job: Job, consumers: list[Step]) -> None:
    registries = {s.input("registry-url") for s in job.steps if s.action == SETUP and s.input("registry-url")}
    named = {m for s in consumers for m in re.findall(r"--registry[= ][\"']?(\S+)", s.run)}
    env = [(k, v) for s in consumers for k, v in {**job.workflow.env, **job.env, **s.env}.items()]
    named |= {v for k, v in env if k.lower() == "npm_config_registry"}
    foreign = [r for r in registries if not OWN.match(r)]
    if any(not OWN.match(r) for r in named) or (foreign and not named and len(registries) == len(foreign)):
        said = ", ".join(sorted([*foreign, *named]))
        raise Refusal(
            "other-service", f"job {job.id} publishes to {said}", "That registry has to offer federation itself."
        )


# Node and npm ---------------------------------------------------------------------------------------------------------


def _node(work: Work, job: Job, consumers: list[Step]) -> None:
    """See to it that the publishing steps have npm 11.5.1: Node 24 brings it."""
    image = _image(job)
    if re.match(r"node:(2[4-9]|[3-9]\d|latest|current|alpine)\b", image) and "24.0" not in image:
        return  # its npm is the one that is wanted, and setup-node would bring another
    if "alpine" in image:
        raise Refusal(
            "tool-cannot", f"{job.title} publishes in {image}, whose npm is too old and for which setup-node has none",
            "Use an image with Node 24, such as node:24-alpine, then plan again.",
        )  # fmt: skip
    first = consumers[0]
    before = [s for s in job.steps if s.action == SETUP and s.index < first.index]
    step = before[-1] if before else None
    version = step.input("node-version") if step is not None else ""
    if (
        step is None
        or not _known(version)
        or not all(_same(step, each) for each in consumers)
        or (OWN.match(step.input("registry-url") or REGISTRY) is None)
    ):
        conditions = {work.condition(each) for each in consumers}
        shared = conditions.pop() if len(conditions) == 1 else ""  # setting up Node does no harm where nothing follows
        inputs = {"node-version": "24", "registry-url": REGISTRY, "package-manager-cache": "false"}
        work.draft(job.workflow.path).insert_step(first.path, work.uses_step(SETUP, inputs, **{"if": shared}))
        for other in before:
            work.drop_input(other, "cache", "cache-dependency-path")
        said = f"{job.workflow.path}, {job.title}: Node 24 is set up before publishing; the build keeps its own"
        work.notes.append(said)
        return
    if not _new_enough(version):
        work.set_input(step, "node-version", "24")
        work.notes.append(
            f"{job.workflow.path}, {job.title}: Node {version} becomes 24, whose npm knows trusted publishing"
        )
    work.drop_input(step, "cache", "cache-dependency-path", "always-auth")
    work.set_input(step, "package-manager-cache", "false", near=list(step.inputs)[-1])
    work.repin(step)


def _image(job: Job) -> str:
    """The container that a job runs in, as it is named; '' for none."""
    node = job.node.get("container")
    if node is None:
        return ""
    image = node.get("image") if node.real.kind == "map" else node
    return image.real.value.partition("@")[0].removeprefix("docker.io/").removeprefix("library/") if image else ""


def _same(setup: Step, first: Step) -> bool:
    return setup.condition in {"", first.condition}


def _known(version: str) -> bool:
    """Whether a version may be raised in place: one written out, and not so old that the build would not survive it."""
    if version.lower() in {"lts/*", "latest", "current", "node", "lts/krypton"}:
        return True
    found = re.match(r"[v^~>=]*(\d+)", version)
    return "${{" not in version and found is not None and int(found[1]) >= 20


def _new_enough(version: str) -> bool:
    if not version[:1].isdigit():
        return version.lower() in {"lts/*", "latest", "current", "node", "lts/krypton"}
    major, *rest = version.split(".")
    minor = rest[0] if rest else "x"
    return int(major) > 24 or (int(major) == 24 and (not minor.isdigit() or int(minor) >= 5))
