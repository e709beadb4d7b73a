"""Whether a migrated workflow still does what it did: a second reading that shares no code with the migration.

It takes the text before and after and knows nothing of recipes: trees come from PyYAML's loader, scripts from lines.
``judge`` gives what is wrong in words; an empty list says that nothing was found. What it holds a migration to:

- triggers, jobs, their order, needs, conditions and environments are the same; a condition may only get narrower by a
  guard that is joined to it;
- every step is there and does the same, but for what carried the secret; steps that went did nothing but store it, and
  steps that came are logins;
- scopes: none is lost, no called job asks for more than its caller has, and only jobs that changed, or call what has
  changed, may mint an id-token;
- nothing refers to what went: secrets, step ids, variables of scripts and expressions;
- a login comes before what needs it, behind the checkout that would wipe it, and pull requests never get the role that
  others get.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

Tree = dict[str, Any]
LOGINS = {
    "aws-actions/configure-aws-credentials", "google-github-actions/auth", "azure/login", "nuget/login",
    "rubygems/configure-rubygems-credentials", "rust-lang/crates-io-auth-action", "actions/setup-node",
    "pypa/gh-action-pypi-publish",
}  # fmt: skip
MINTS = LOGINS | {
    "hashicorp/vault-action", "codecov/codecov-action", "docker/login-action", "js-devtools/npm-publish",
    "changesets/action", "google-github-actions/setup-gcloud", "pyo3/maturin-action", "messense/maturin-action",
    "cycjimmy/semantic-release-action", "rubygems/release-gem", "pulumi/auth-actions",
}  # fmt: skip
# What a login exports, so that a script finds it although no env names it any more.
EXPORTED = {
    "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS",
    "GEM_HOST_API_KEY", "BUNDLE_GEM__PUSH_KEY", "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
}  # fmt: skip
# Actions that are one command around a token: the command may stand in their place.
WRAPPED = {"cucumber/action-publish-npm": "npm publish"}
# What publishes to npm without a token from this major on; a line may name a newer one than it did.
RAISED = re.compile(r"(?<![\w@/-])(semantic-release|npm)@[~^v=]*(\d+)[\w.-]*")
LEAST = {"semantic-release": 25, "npm": 11}
NODE = re.compile(r"v?(2[4-9]|[3-9]\d)(\.\S*)?|lts/\*|lts/krypton|latest|current|node")
COMPANIONS = re.compile(
    r"USER(NAME)?$|_USER|^AWS_ACCESS_KEY_ID$|FILE_OVERRIDE|APPLICATION_CREDENTIALS|SESSION_TOKEN|GOOGLE_CREDENTIALS",
    re.IGNORECASE,
)
STORES = re.compile(
    r"_authToken|npmAuthToken|npmrc|pypirc|pypi-token|http-basic|cargo\s+login|credentials|aws_(access|secret|session)"
    r"|^\s*npm whoami\s*$|^(export\s+)?(TWINE|UV_PUBLISH|PDM_PUBLISH|MATURIN)_\w+=\S*$"
    r"|AWS_(ACCESS|SECRET|SESSION)|activate-service-account|\[default\]|^\s*(region|output)\s*=|az\s+login|npm-cli-login|auth|umask|^\s*rm\s+(-\w+\s+)*\S*(key|cred|json)\S*\s*$|EOF|^\s*---\s*$|>>?\s*\S+|chmod|mkdir",
    re.IGNORECASE,
)
NEEDS = [  # what a step shows of the scopes that it needs
    (re.compile(r"^actions/checkout@"), "contents", "read"),
    (re.compile(r"(?m)^\s*git\s+push\b"), "contents", "write"),
    (re.compile(r"\bgh\s+release\s+(create|upload|edit)"), "contents", "write"),
    (re.compile(r"^(softprops/action-gh-release|ncipollo/release-action)@"), "contents", "write"),
    (re.compile(r"^peter-evans/create-pull-request@"), "pull-requests", "write"),
    (re.compile(r"^github/codeql-action/upload-sarif@"), "security-events", "write"),
]
# The file that Google's login exports is no key; these take keys only.
LOGIN_FILE = re.compile(r"GOOGLE_APPLICATION_CREDENTIALS|GOOGLE_GHA_CREDS_PATH|outputs\.credentials_file_path")
KEY_READ = re.compile(r"activate-service-account|_json_key")
RANK = {"none": 0, "read": 1, "write": 2}


def judge(before: Mapping[str, str], after: Mapping[str, str], secrets: set[str]) -> list[str]:
    """What is wrong with a repository's files after a migration. ``secrets``: those that were migrated, in capitals."""
    found: list[str] = []
    for path, text in after.items():
        code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
        for name in re.findall(r"secrets\s*(?:\.\s*|\[\s*['\"])([\w-]+)", code):
            found += [f"{path}: {name} is still read"] if name.upper() in secrets else []
        if before.get(path) != text:
            found += [f"{path}: {said}" for said in _file(_tree(before[path]), _tree(text), secrets)]
    trees, old = ({path: _tree(text) for path, text in each.items()} for each in (after, before))
    return found + sorted({*_elevated(trees)} - {*_elevated(old)})


def _elevated(trees: Mapping[str, Tree]) -> Iterator[str]:
    """Calls that GitHub would refuse: a called job asks for more than its caller may have."""
    for path, tree in trees.items():
        for name, job in tree["jobs"].items():
            called = str(job.get("uses") or "").removeprefix("./")
            allowed = _stated(job, tree)
            if called not in trees or allowed is None:
                continue
            for inner, each in trees[called]["jobs"].items():
                for scope, level in (_stated(each, trees[called]) or {}).items():
                    if RANK.get(level, 0) > RANK.get(allowed.get(scope, allowed.get("*", "none")), 0):
                        yield f"{path}: job {name} calls {called}, whose job {inner} asks for {scope}: {level}"


def _tree(text: str) -> Tree:
    tree = dict(yaml.load(text.removeprefix("\ufeff"), Loader=yaml.BaseLoader))  # noqa: S506 - strings only
    if not isinstance(tree.get("jobs"), dict):
        tree["jobs"] = {}  # a file that nothing runs
    for job in tree["jobs"].values():
        for step in job.get("steps") or []:
            tables = [each for each in (step, job, tree) if isinstance(each.get("env"), dict)]
            for key in ("with", "env"):
                if isinstance(step.get(key), dict):
                    step[key] = {name: _handed(value, tables, key) for name, value in step[key].items()}
    return tree


def _handed(value: Any, tables: list[Tree], key: str) -> Any:
    """What ``env.NAME`` stands for, where a variable holds a secret and nothing else."""
    found = re.fullmatch(r"\s*\$\{\{\s*env\s*\.\s*(\w+)\s*\}\}\s*", str(value))
    for table in tables if found else ():
        held = str(table["env"].get(found[1], "")) if found else ""
        own = key == "env" and "steps" not in table and "jobs" not in table  # a variable is not read by its neighbours
        if held and not own:
            return held if re.fullmatch(r"\s*\$\{\{\s*secrets\s*\.\s*[\w-]+\s*\}\}\s*", held) else value
    return value


def _file(old: Tree, new: Tree, secrets: set[str]) -> Iterator[str]:
    for key in {*old, *new} - {"jobs", "env", "on"}:
        if old.get(key) != new.get(key):
            yield f"{key} of the workflow has changed"
    if _without_secrets(old.get("on")) != _without_secrets(new.get("on")):
        yield "the triggers have changed"
    if list(old["jobs"]) != list(new["jobs"]):
        yield "jobs came or went"
        return
    gone = yield from _env("the workflow", old, new, secrets)
    for name, job in old["jobs"].items():
        yield from (f"job {name}: {said}" for said in _job(job, new["jobs"][name], old, new, secrets, gone))


def _without_secrets(on: Any) -> Any:
    call = on.get("workflow_call") if isinstance(on, dict) else None
    if not isinstance(call, dict):
        return on
    rest = {key: value for key, value in call.items() if key != "secrets"}
    return {**on, "workflow_call": rest or ""}


def _env(where: str, old: Tree, new: Tree, secrets: set[str]) -> Iterator[str]:
    """Variables of one level. Returns the names that went."""
    before, after = old.get("env") or {}, new.get("env") or {}
    if isinstance(before, str) or isinstance(after, str):
        return set()
    gone = set(before) - set(after)
    for name in gone:
        if not _reads(before[name], secrets) and not COMPANIONS.search(name):
            yield f"{where}: variable {name} went and was no secret"
    for name in set(after) - set(before):
        if name == "AWS_SESSION_TOKEN" and not after[name] and "AWS_SECRET_ACCESS_KEY" in after:
            continue  # it keeps a session's out
        if not re.search(r"steps\.[\w-]+\.outputs|^true$", after[name]) and name not in {
            "ARM_USE_OIDC", "DOCKERHUB_OIDC_CONNECTIONID", "LOGIN_SERVER",
        }:  # fmt: skip
            yield f"{where}: variable {name} came"
    for name in set(before) & set(after):
        if before[name] != after[name] and not _reads(before[name], secrets) and before[name].strip("${} ") not in (
            after[name]
        ):  # fmt: skip
            yield f"{where}: variable {name} has another value"
        asked = "vars." in after[name] and _only_asked(name, str(old.get("run") or old.get("steps") or ""))
        if before[name] != after[name] and _reads(before[name], secrets) and not (
            asked or _stands_for(before[name], after[name])
        ):  # fmt: skip
            yield f"{where}: variable {name} held the secret and is {after[name]!r}"
    return gone


def _only_asked(name: str, text: str) -> bool:
    """Whether a script reads a variable only to see that it is not empty."""
    value = rf"[\"']?\$\{{?{name}\}}?[\"']?"
    asks = rf"-[nz] {value}|{value} *(?:==?|!=) *(?:\"\"|'')|env\.{name} *[!=]= *''"
    return bool(re.search(asks, text)) and name not in re.sub(asks, "", text)


def _stands_for(old: str, new: str) -> bool:
    """Whether a value may take the place of one that read a secret: a short-lived token, or the same question."""
    if re.search(r"steps\.[\w-]+\.outputs\.|github\.token|secrets\.GITHUB_TOKEN", new):
        return True
    asked = re.compile(r"[!=]=\s*''|!!|&&")
    return bool(asked.search(old) and asked.search(new) and "vars." in new)


def _reads(text: Any, secrets: set[str]) -> bool:
    if re.search(r"secrets\s*\[\s*matrix\.", str(text)):
        return bool(secrets)  # what the matrix names, `_named_by_matrix` asks
    return any(name.upper() in secrets for name in re.findall(r"secrets\s*(?:\.\s*|\[\s*['\"])([\w-]+)", str(text)))


def _job(old: Tree, new: Tree, was: Tree, now: Tree, secrets: set[str], wide: set[str]) -> Iterator[str]:
    for key in {*old, *new} - {"steps", "env", "permissions", "if", "secrets", "environment"}:
        if old.get(key) != new.get(key):
            yield f"{key} has changed"
    if old.get("environment") and old["environment"] != new.get("environment"):
        yield "its environment has changed"
    yield from _narrower("the job", old, new)
    gone = yield from _env("the job", old, new, secrets)
    if old.get("steps") is not None:
        yield from _steps(old["steps"], new.get("steps") or [], secrets)
        yield from _folders(old, new, was)
    yield from _scopes(old, new, was, now)
    yield from _named_by_matrix(new, secrets)
    yield from _logged_in(old, new, secrets)
    yield from _dangling(old, new, gone | wide)
    if old != new:
        yield from _order(new, now, {_title(step).split("@")[0] for step in old.get("steps") or []})


def _named_by_matrix(job: Tree, secrets: set[str]) -> Iterator[str]:
    """A secret that was migrated and that the job still reads by a name which its matrix writes out."""
    strategy = job.get("strategy")
    matrix = strategy.get("matrix") if isinstance(strategy, dict) else None
    for key in re.findall(r"secrets\s*\[\s*matrix\.([\w-]+)", str(job)) if isinstance(matrix, dict) else ():
        rows = matrix.get("include") if isinstance(matrix.get("include"), list) else []
        listed = matrix.get(key) if isinstance(matrix.get(key), list) else []
        named = {str(value).upper() for value in [*listed, *(row.get(key) for row in rows if isinstance(row, dict))]}
        yield from (f"{name} is still read, by its matrix" for name in sorted(named & secrets))


def _narrower(where: str, old: Tree, new: Tree) -> Iterator[str]:
    before, after = (" ".join(str(each.get("if") or "").split()) for each in (old, new))
    bare = re.sub(r"^\$\{\{\s*|\s*\}\}$", "", before)
    if before != after and bare not in after:
        yield f"{where}: the condition {before!r} became {after!r}"
    if before != after and "github.event_name" not in after and "pull_request" not in after:
        yield f"{where}: a condition came that is no guard: {after!r}"


def _steps(old: list[Tree], new: list[Tree], secrets: set[str]) -> Iterator[str]:
    """Match the steps in order."""
    at = 0
    for number, step in enumerate(old, 1):
        match = next((n for n in range(at, len(new)) if _same(step, new[n])), None)
        if match is None:
            if not _only_stored(step, secrets):
                yield f"step {number} ({_title(step)}) went"
            continue
        for came in new[at:match]:
            yield from _came(came)
        yield from (f"step {number} ({_title(step)}): {said}" for said in _step(step, new[match], secrets))
        at = match + 1
    for came in new[at:]:
        yield from _came(came)


def _title(step: Tree) -> str:
    return str(step.get("name") or step.get("uses") or step.get("run") or "")[:40].splitlines()[0]


def _action(step: Tree) -> str:
    return str(step.get("uses") or "").split("@")[0].lower()


def _same(old: Tree, new: Tree) -> bool:
    if old.get("name") != new.get("name") or old.get("id") != new.get("id"):
        return False
    if old.get("uses"):
        replaced = not new.get("uses") and re.search("s3 sync|acr login", str(new.get("run")))
        replaced = replaced or (not new.get("uses") and WRAPPED.get(_action(old)) == new.get("run"))
        gcloud = "setup-gcloud" in _action(old) and "setup-gcloud" in _action(new)
        same = _action(old) == _action(new) and _inputs(old).get("command") == _inputs(new).get("command")
        return same or bool(replaced) or gcloud
    if new.get("uses") or not new.get("run"):
        return False
    before, after = (set(map(str.strip, str(each.get("run")).splitlines())) for each in (old, new))
    built = any(re.fullmatch(r"(poetry|hatch|flit) build", line) for line in after)
    shorter = any(_shorter(line, each, set()) or _newer(line, each) for each in before for line in after)
    again = {_logs_in_as(line) for line in before if "_json_key" in line} & set(map(_logs_in_as, after))
    return bool(before & after) or bool(again) or shorter or (built and "publish" in str(old.get("run")))


def _only_stored(step: Tree, secrets: set[str]) -> bool:
    if step.get("uses"):  # one that only logs in
        return _action(step) == "actions-rs/cargo" and _inputs(step).get("command") == "login"
    lines = [line for line in str(step.get("run")).splitlines() if line.strip() and not line.strip().startswith("#")]
    builders = re.compile(r"(poetry|hatch|flit)\s+.*publish")
    return all(STORES.search(line) or _reads(line, secrets) or builders.search(line) for line in lines)


def _came(step: Tree) -> Iterator[str]:
    if _action(step) not in LOGINS:
        yield f"a step came that is no login: {_title(step)}"
    elif not re.search(r"@[0-9a-f]{40}$", step["uses"]):
        yield f"a step came that is not pinned: {step['uses']}"


def _step(old: Tree, new: Tree, secrets: set[str]) -> Iterator[str]:
    wrapped = (old.get("with") or {}) if _action(old) in WRAPPED else {}
    for key in {*old, *new} - {"env", "with", "run", "uses", "if"}:
        top = key == "working-directory" and old.get("uses") and not new.get("uses") and new.get(key) == "."
        if old.get(key) != new.get(key) and wrapped.get(key) != new.get(key) and not top:
            yield f"{key} has changed"
    yield from _narrower("its condition", old, new)
    gone = yield from _env("it", old, new, secrets)
    if "AWS_SECRET_ACCESS_KEY" in gone and "AWS_ACCESS_KEY_ID" in (new.get("env") or {}):
        yield "the id of a key stays and its secret went"
    if not (old.get("uses") and not new.get("uses")):
        yield from _with(old.get("with") or {}, new.get("with") or {}, secrets, _action(old))
        yield from _run(str(old.get("run") or ""), str(new.get("run") or ""), secrets)
    read = "\n".join(str(new.get(key) or "") for key in ("run", "with", "if"))
    for name in gone - EXPORTED:
        if re.search(rf"\$(env:)?\{{?{name}\b|%{name}%|\benv\.{name}\b", read):
            yield f"{name} went, and the step still reads it"


def _with(old: Any, new: Any, secrets: set[str], action: str) -> Iterator[str]:
    if isinstance(old, str) or isinstance(new, str):
        return
    free = action in MINTS
    for name in set(old) - set(new):
        if (
            not free
            and not _reads(old[name], secrets)
            and "user" not in name
            and not re.search("cache|always-auth", name)
        ):
            yield f"input {name} went"
    for name in set(new) - set(old):
        if not free and "session" not in name:
            yield f"input {name} came"
    for name in set(old) & set(new):
        same = old[name] == new[name] or old[name].strip("${} ") in new[name] or _reads(old[name], secrets)
        same = same or "_PULL_REQUEST_" in new[name]
        same = same or (name == "version" and "setup-gcloud" in action and new[name] == ">= 390.0.0")
        same = same or (name == "semantic_version" and new[name] == str(LEAST["semantic-release"]))
        if not same and name not in {"node-version", "username", "package-manager-cache", "method", "enable-cache"}:
            yield f"input {name} was {old[name]!r} and is {new[name]!r}"


def _run(old: str, new: str, secrets: set[str]) -> Iterator[str]:
    empty = r"(?m)\b(then|do|else)[ \t]*\n(\s*(#.*)?\n)*\s*(fi|done|else|elif)\b"
    if re.search(empty, new) and not re.search(empty, old):
        yield "a block of the script is empty"
    before = [line.strip() for line in old.splitlines() if line.strip()]
    after = [line.strip() for line in new.splitlines() if line.strip()]
    for line in after:
        if (
            line in before
            or any(_shorter(line, each, secrets) or _newer(line, each) for each in before)
            or re.search("s3 sync|acr login", line)
            or any(_logs_in_as(each) == _logs_in_as(line) for each in before if "_json_key" in each)
        ):
            continue
        if not re.fullmatch(r"(poetry|hatch|flit) build", line):
            yield f"a line came: {line[:60]}"
    for line in before:
        known = STORES.search(line) or _reads(line, secrets) or re.search(r"(poetry|hatch|flit)\s+.*publish", line)
        kept = any(_shorter(each, line, secrets) or _newer(each, line) for each in after)
        kept = kept or ("_json_key" in line and _logs_in_as(line) in map(_logs_in_as, after))
        if line not in after and not known and not kept:
            yield f"a line went: {line[:60]}"


def _newer(line: str, was: str) -> bool:
    """Whether a line is one that was, but for a tool that it names in a newer release, which needs no token."""
    if line == was or RAISED.sub(r"\1@", line) != RAISED.sub(r"\1@", was):
        return False
    pairs = zip(RAISED.findall(line), RAISED.findall(was), strict=True)
    return all(new == old or int(old[1]) < LEAST[new[0]] == int(new[1]) for new, old in pairs)


def _logs_in_as(line: str) -> str:
    """A login to a registry without who logs in: the key's user and a token's user are two names for it."""
    return re.sub(r"\$\{\{.*?\}\}", "X", line).replace("_json_key", "U").replace("oauth2accesstoken", "U")


def _shorter(line: str, was: str, secrets: set[str]) -> bool:
    """Whether a line is one that was, without (or with other) words for the credential."""
    if not _reads(was, secrets) and not re.search(
        r"AWS_|_authToken|--token|-p |--password|-u |--username|_KEY|(TWINE|UV_PUBLISH|PDM_PUBLISH|MATURIN)_", was
    ):
        return False
    words = [
        word for word in re.split(r"\s+", line) if word and not re.search(r"AWS_|NUGET_API_KEY|^-e$|^--env$", word)
    ]
    at = 0
    for word in words:
        found = was.find(word, at)
        if found < 0:
            return False
        at = found + len(word)
    return True


def _folder(step: Tree, job: Tree, tree: Tree) -> str:
    """Where a script runs."""
    for each in (step, ((job.get("defaults") or {}).get("run") or {}), ((tree.get("defaults") or {}).get("run") or {})):
        if each.get("working-directory"):
            return str(each["working-directory"]).removeprefix("./").rstrip("/")
    return ""


def _folders(old: Tree, new: Tree, tree: Tree) -> Iterator[str]:
    """An upload that came takes the files from where they were built; a script in an action's place runs at the top."""
    before = {_action(step) for step in old["steps"]}
    built = [_folder(step, old, tree) for step in old["steps"] if re.search(r"\bpublish\b", str(step.get("run")))]
    for step in new.get("steps") or []:
        if _action(step) == "pypa/gh-action-pypi-publish" and _action(step) not in before:
            taken = str(_inputs(step).get("packages-dir") or "dist").rstrip("/")
            if taken not in {f"{each}/dist".lstrip("/") for each in built}:
                yield f"an upload takes {taken}, and the packages were built in {built}"
    for step, came in ((s, c) for s in old["steps"] if s.get("uses") for c in new.get("steps") or [] if c.get("run")):
        if _same(step, came) and _folder(came, new, tree) not in {"", ".", _inputs(step).get("working-directory")}:
            yield f"{_title(came)} runs in {_folder(came, new, tree)}, and the action did not"


def _logged_in(old: Tree, new: Tree, secrets: set[str]) -> Iterator[str]:
    """What took a credential away has to give another one, before the step that used it."""
    steps = new.get("steps") or []
    roles = [n for n, step in enumerate(steps) if _inputs(step).get("role-to-assume")]
    google = [n for n, step in enumerate(steps) if _inputs(step).get("workload_identity_provider")]
    titles = [_title(step) for step in steps]
    if _lost_key(old, new, secrets) and not roles:
        yield "its AWS key went and no role came"
    for step in old.get("steps") or []:
        at = titles.index(_title(step)) if titles.count(_title(step)) == 1 else len(steps)
        here = next((each for each in steps if _title(each) == _title(step)), {})
        if here and _lost_key(step, here, secrets) and not any(n < at for n in roles):
            yield f"{_title(step)} lost its AWS key and no role came before it"
        taken = {name for name in set(_inputs(step)) - set(_inputs(here)) if _reads(_inputs(step)[name], secrets)}
        if here and taken & {"service_account_key", "credentials_json"} and not any(n <= at for n in google):
            yield f"{_title(step)} lost its key and no login of Google came before it"
    for step in (each for each in steps if google and "GOOGLE_APPLICATION_CREDENTIALS" not in str(each.get("env"))):
        lines = str(step.get("run") or "").splitlines()
        if any(KEY_READ.search(line) and LOGIN_FILE.search(line) for line in lines):
            yield f"{_title(step)} reads the file of Google's login as a key"
    first = min((n for n in roles if steps[n] not in (old.get("steps") or [])), default=len(steps))
    for step in steps[first:]:
        env = step.get("env") if isinstance(step.get("env"), dict) else {}
        if {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"} & set(env) and "AWS_SESSION_TOKEN" not in env:
            yield f"{_title(step)} gets a session's token beside a key of its own"
    yield from _npm(old, steps)


def _inputs(step: Tree) -> Tree:
    found = step.get("with")
    return found if isinstance(found, dict) else {}


def _lost_key(old: Tree, new: Tree, secrets: set[str]) -> bool:
    before, after = (each.get("env") if isinstance(each.get("env"), dict) else {} for each in (old, new))
    return "AWS_ACCESS_KEY_ID" in set(before) - set(after) and _reads(before["AWS_ACCESS_KEY_ID"], secrets)


def _lost_token(step: Tree, steps: list[Tree]) -> bool:
    """Whether a step had a token of npm that it has no more."""
    here = next((each for each in steps if _title(each) == _title(step)), None)
    env = step.get("env") if isinstance(step.get("env"), dict) else {}
    return here is not None and bool({"NODE_AUTH_TOKEN", "NPM_TOKEN"} & (set(env) - set(here.get("env") or {})))


def _npm(old: Tree, steps: list[Tree]) -> Iterator[str]:
    """A publishing step that lost its token has a Node whose npm can do without."""
    before = {_title(step): step for step in old.get("steps") or []}
    node = ""
    old_tool = re.search(r"\b(semantic-release@(1\d|2[0-4])|lerna@[1-8])\b", " ".join(str(s.get("run")) for s in steps))
    if old_tool and any(_lost_token(step, steps) for step in old.get("steps") or []):
        yield f"{old_tool[0]} publishes, and knows no trusted publishing"
    for step in steps:
        if _action(step) == "actions/setup-node":
            node = str(_inputs(step).get("node-version", ""))
        was = before.get(_title(step), {})
        lost = set(was.get("env") or {}) - set(step.get("env") or {}) if was else set()
        if lost & {"NODE_AUTH_TOKEN", "NPM_TOKEN"} and "npm publish" in str(step.get("run")) and not NODE.fullmatch(
            node
        ):  # fmt: skip
            yield f"{_title(step)} publishes with the npm of Node {node or 'nobody knows'}"


def _scopes(old: Tree, new: Tree, was: Tree, now: Tree) -> Iterator[str]:
    before, after = (_stated(job, tree) for job, tree in ((old, was), (new, now)))
    if after is not None and before is not None:
        for scope, level in before.items():
            if scope != "*" and RANK[after.get(scope, after.get("*", "none"))] < RANK[level]:
                yield f"{scope}: {level} was lost"
        if "*" in before and before != after and len(after) < 8 and "*" not in after:
            yield f"all scopes for {before['*']} were lost"
    minted = after is not None and "write" in {after.get("id-token"), after.get("*")}
    could = before is not None and "write" in {before.get("id-token"), before.get("*")}
    rest = {key: value for key, value in new.items() if key not in {"permissions", "if", "environment"}}
    if minted and not could and rest == {k: v for k, v in old.items() if k not in {"permissions", "if", "environment"}}:
        wide = was.get("env") != now.get("env")
        if not new.get("uses") and not wide:
            yield "it may mint an id-token, and nothing of it has changed"
    if before is None and after is not None and not new.get("uses"):
        for step in new.get("steps") or []:
            for pattern, scope, level in NEEDS:
                if (
                    pattern.search(str(step.get("uses") or step.get("run") or ""))
                    and RANK[after.get(scope, "none")] < RANK[level]
                ):
                    yield f"{scope}: {level} is needed by {_title(step)} and not granted"
    on = now.get("on")
    target = "pull_request_target" in ([on] if isinstance(on, str) else list(on or ()))
    if minted and not could and target and "event_name" not in str(new.get("if")):
        yield "pull_request_target starts it, and it may mint an id-token"
    logs_in = any(_action(step) in LOGINS - {"actions/setup-node"} for step in new.get("steps") or [])
    if logs_in and old != new and not minted and (after or {}).get("packages") != "write":
        yield "a login has no id-token"


def _stated(job: Tree, tree: Tree) -> dict[str, str] | None:
    found = job.get("permissions", tree.get("permissions"))
    if isinstance(found, str):
        return {"*": found.removesuffix("-all")} if found.endswith("-all") else {}
    return None if found is None else dict(found)


def _dangling(old: Tree, new: Tree, gone: set[str]) -> Iterator[str]:
    named = [str(step["id"]) for step in new.get("steps") or [] if step.get("id")]
    yield from (f"the id {name} is there twice" for name in sorted({n for n in named if named.count(n) > 1}))
    ids = {str(step.get("id")) for step in new.get("steps") or []}
    lost = {str(step.get("id")) for step in old.get("steps") or []} - ids - {"None"}
    text = str(new)
    for name in lost:
        if re.search(rf"steps\.{re.escape(name)}\b", text):
            yield f"steps.{name} is read, and the step went"
    for name in re.findall(r"steps\.([\w-]+)\.outputs\.(?:token|NUGET_API_KEY|access_token)\b", text):
        if name not in ids:
            yield f"steps.{name} is read, and there is no such step"
    for name in gone - EXPORTED:
        left = str([step for step in new.get("steps") or [] if name not in str(step.get("env"))])
        if re.search(rf"\$(env:)?\{{?{name}\b|\benv\.{name}\b", left):
            yield f"{name} went, and something still reads it"


def _order(job: Tree, tree: Tree, was: set[str]) -> Iterator[str]:
    steps = job.get("steps") or []
    checkouts = [n for n, step in enumerate(steps) if _action(step) == "actions/checkout"]
    on = tree.get("on")
    pulls = "pull_request" in ([on] if isinstance(on, str) else list(on or ()))
    for number, step in enumerate(steps):
        inputs = step.get("with") if isinstance(step.get("with"), dict) else {}
        action, title = _action(step), _title(step).split("@")[0]
        late = checkouts and number < checkouts[-1] and title not in was
        if action == "google-github-actions/auth" and "workload_identity_provider" in inputs and late:
            yield "the checkout comes behind Google's login"
        if action == "aws-actions/configure-aws-credentials" and {"role-to-assume", "aws-access-key-id"} <= set(inputs):
            yield "a key stands beside the role"
        role = next((inputs[k] for k in ("role-to-assume", "service_account", "client-id") if k in inputs), "")
        kept_out = re.search(r"event_name|github\.(event\.)?ref|github\.event\.", f"{step.get('if')} {job.get('if')}")
        ours = re.search(r"vars\.(AWS|GCP|AZURE)", role) and "pull_request" not in role.lower()
        if pulls and ours and not kept_out:
            yield f"pull requests may get the role of {_title(step)}: {role}"
