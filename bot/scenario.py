"""Drill text -> Drill, or every mistake in it with its line. Data only: the acts of the range, and who answers what.

A drill names no address, no command and no credential, so the worst file can only be refused. Everybody in it is
simulated and is named so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bot.choices import Choice, Inject, read_choices, read_injects, read_order
from bot.errors import InputError, PlaybookError
from bot.model import Machine
from bot.playbook import Playbook, content
from bot.steps import choice, identifier
from bot.strictyaml import Node, Problems, hint, items, kind_of, read, table, text

SIMULATED = " (simulated)"
PERSON_ACTS = (  # what somebody does in the range
    "reject-staged-versions", "revoke-npm-token", "mint-npm-token", "run-registry-access", "revoke-pypi-token",
    "yank-on-pypi",
    "revoke-crates-token", "revoke-rubygems-key", "revoke-every-pypi-token", "revoke-dockerhub-token",
    "mint-dockerhub-token", "run-hub-access", "wait-eleven-minutes", "isolate-laptop", "pin-the-action",
    "clean-github-account", "take-down-on-npm", "clean-pypi-account", "end-the-grants", "release-without-cache",
    "sync-the-cluster",
)  # fmt: skip
MIGRATE = "migrate"  # the bot opens the migration's pull request, and the company rolls it out
ACTS = (MIGRATE, "leak", "abuse")  # what the range's company and attacker can be told to do
CONTAINED, NOTHING = "contained", "nothing"
ENDS = (CONTAINED, NOTHING)  # what ends a drill: all is proven dead, or it was seen that there was nothing to cut
_OPTIONAL = ("delay_s", "answers", "people", "scenario", "contrast", "truth", "choices", "injects", "order", "ends",
             "undoes", "beside", "signs", "alerts", "retries")  # fmt: skip
_HOLE = re.compile(r"\{[^{}]*\}")
_KEYS = (
    "id", "title", "briefing", "playbook", "scenario", "acts", "report", "responders", "delay_s", "answers", "people",
    "refused", "contrast", "truth", "choices", "injects", "order", "ends", "undoes", "beside", "signs",
    "alerts", "retries",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What the range plays under one name: what the attacker tries afterwards, and what a report may point at."""

    tries: tuple[str, ...]
    holes: tuple[str, ...] = ("run_url",)
    secret_holes: tuple[str, ...] = ()  # values that lie at the attacker's; filled in for the report, kept nowhere
    moves: bool = False  # nothing leaks in it before the workflows have moved to OIDC
    happens: tuple[str, ...] = ()  # what an answer may bring about, and what puts that right again
    scanners: tuple[str, ...] = ()  # whose alerts the range can send about it


SCENARIOS: Mapping[str, Scenario] = {
    "aws-key-in-public-log": Scenario(
        tries=("key", "second-key", "planted-user", "saved-session", "role-session"),
        happens=("hide", "show", "leak-again"),
    ),
    "aws-key-of-another-account": Scenario(
        tries=("key", "second-key", "planted-user", "saved-session", "role-session"),
        happens=("come-back", "old-key-again", "restart-pods"), scanners=("stepsecurity",),
    ),
    "aws-key-replaces-image": Scenario(
        tries=(
            "key",
            "second-key",
            "planted-user",
            "saved-session",
            "role-session",
            "default-pull",
            "base-pull",
            "bad-digest",
            "default-install",
            "bad-version",
        ),
        holes=("run_url", "image"),
        happens=("hide", "show", "leak-again"),
    ),
    "github-pat-pushes-image": Scenario(
        tries=("token", "image-push", "default-pull", "bad-digest"), holes=("run_url", "image")
    ),
    "gcp-key-in-public-log": Scenario(tries=("gcp-key", "gcp-token")),
    "npm-token-stolen-by-dependency": Scenario(
        tries=("npm-token", "npm-publish", "default-install", "key", "saved-session"),
        holes=("run_url", "package", "version"),
        secret_holes=("NPM_PUBLISH_TOKEN",),
        happens=("use-the-key", "publish-again"),
    ),
    "oidc-non-event": Scenario(tries=("session", "npm-publish", "id-token", "fork"), moves=True),
    "oidc-non-event-dependency": Scenario(
        tries=("session", "npm-publish", "id-token", "fork"),
        moves=True,
        secret_holes=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    ),
    **dict.fromkeys(
        ("github-pat-in-image", "github-pat-in-image-revoked"),
        Scenario(
            tries=("token", "deploy-key", "workflow-on-main", "workflow-on-release-1.3"),
            holes=("image_ref", "file"),
            happens=("comes-back",),
        ),
    ),
    **dict.fromkeys(
        (
            "pypi-token-in-public-log",
            "crates-token-in-public-log",
            "crates-token-with-scopes",
            "rubygems-key-in-public-log",
        ),
        Scenario(tries=("registry-token", "default-install"), holes=("run_url", "package", "version")),
    ),
    "action-tags-moved": Scenario(
        tries=(
            "key",
            "second-key",
            "planted-user",
            "saved-session",
            "role-session",
            "crates-token",
            "rubygems-token",
            "default-crate",
            "default-gem",
            "logs",
        ),
        holes=("campaign", "action", "run_url"),
        happens=("publish-again",),
    ),
    "scanner-sends-secrets": Scenario(
        tries=("key", "saved-session", "crates-token", "default-crate"),
        holes=("campaign", "action", "run_url"),
        happens=("use-the-key",),
    ),
    **dict.fromkeys(
        ("dockerhub-pat-in-public-log", "dockerhub-oat-in-public-log"),
        Scenario(
            tries=("registry-token", "saved-bearer", "default-pull", "bad-tag"),
            holes=("run_url", "package", "version"),
            happens=("push-again",),
        ),
    ),
    "aws-key-in-every-re-run": Scenario(
        tries=("key", "second-key", "planted-user", "saved-session", "role-session", "logs"), happens=("hide-log",),
        scanners=("stepsecurity",),
    ),
    "documentation-key-in-log": Scenario(
        tries=("documented-key",), happens=("tear-down", "put-back"), scanners=("gitleaks",)
    ),
    "pypi-token-minted-by-thief": Scenario(
        tries=("registry-token", "default-install", "minted-token"),
        holes=("run_url", "package", "version"),
        happens=("known-only",),
    ),
    "provenance-with-a-token": Scenario(
        tries=("npm-token", "npm-publish", "default-install", "key", "saved-session"),
        holes=("run_url", "package", "version"), secret_holes=("NPM_PUBLISH_TOKEN",),
        happens=("use-the-key", "publish-again", "keep-the-token", "drop-the-token"),
    ),
    "owner-phished": Scenario(
        tries=("registry-token", "default-install", "guest"), holes=("package", "version"),
        secret_holes=("PYPI_TOKEN",), happens=("publish-again", "guest-publishes"),
    ),
    "pypi-token-left-after-move": Scenario(
        tries=("registry-token", "default-install"),
        holes=("run_url", "package", "version"),
        happens=("publish-again", "keep-one", "delete-it"),
    ),
    "pull-request-with-secrets": Scenario(
        tries=("token", "deploy-key", "invitation", "workflow-on-main", "fork"), secret_holes=("LABEL_BOT_PAT",),
        happens=("comes-back", "another-pull", "enable-again"),
    ),
    "workflow-that-sends-secrets": Scenario(
        tries=("key", "second-key", "planted-user", "saved-session", "role-session", "pusher-token", "pushed-files"),
        secret_holes=("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
        happens=("push-again", "push-later"),
        scanners=("guardduty",),
    ),
    "publisher-of-any-branch": Scenario(
        tries=("token", "deploy-key", "branch-release", "default-install"), holes=("package", "version"),
        secret_holes=("GH_TOKEN",), happens=("publish-again", "leave-blank", "bind"),
    ),
    "worm-on-a-laptop": Scenario(
        tries=("token", "other-token", "runner", "workflow-on-main"), holes=(), secret_holes=("GH_TOKEN",),
        happens=("comes-back", "revoke-first", "restore", "use-the-other"),
    ),
    "crates-token-rotated-halfway": Scenario(
        tries=("registry-token", "default-install"),
        holes=("run_url", "package", "version"),
        happens=("publish-again",),
    ),
    "cache-poisoned-release": Scenario(
        tries=("registry-token", "default-install", "cache"), holes=("run_url", "package", "version"),
        secret_holes=("CARGO_REGISTRY_TOKEN",),
        happens=("publish-again", "release-again", "cache-again", "clear-again"),
    ),
    "oauth-app-breached": Scenario(
        tries=("token", "deploy-key", "other-grant", "key", "saved-session"), holes=(),
        secret_holes=("GITHUB_OAUTH_TOKEN",), happens=("use-the-other", "use-the-key"), scanners=("github",),
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """Who reports, and in what words; ``{run_url}`` and the scenario's other holes stand for what leaked where."""

    by: str
    text: str
    machine: Machine = Machine.UNKNOWN  # whether malware has run on a machine that is still there
    machine_name: str = ""
    scanner: str = ""  # whose alert it is, in that scanner's own format; "" = somebody's words


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """What is done in the range about a secret that is known by its name only, and what whoever signs says of it."""

    does: str
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """A scenario for the range."""

    id: str
    title: str
    briefing: str
    playbook: str
    scenario: str  # what the range plays; the drill's own id unless the file names another
    acts: tuple[str, ...]  # what happens before the report, in order
    report: DrillReport
    responders: tuple[str, ...]  # simulated people who approve, in order
    delay_s: float  # how long they think
    answers: Mapping[str, str]  # step of a person -> what is answered
    people: Mapping[str, str]  # step of a person -> what they do in the range before they answer
    retries: Mapping[str, str]  # step that fails -> what somebody does in the range before it is tried again
    refused: tuple[str, ...]  # the attacker's tries that must fail before the drill counts as contained
    source: str
    contrast: str = ""  # the drill that plays the same leak under OIDC
    truth: str = ""  # what was really so, told when it is over
    choices: tuple[Choice, ...] = ()
    injects: tuple[Inject, ...] = ()
    order: tuple[tuple[str, str], ...] = ()  # pairs of steps: the first comes before the second
    ends: str = CONTAINED
    undoes: tuple[str, ...] = ()  # steps that are taken back once all is contained
    alerts: tuple[str, ...] = ()  # scanners that have seen something of it as well
    beside: tuple[
        str, ...
    ] = ()  # playbooks of the incidents that open beside it: their people's steps are answered too
    signs: Mapping[str, Signed] = field(default_factory=dict)  # name of a secret -> who rotates it signs for its row


def load_drill(source_text: str, source: str, playbooks: Mapping[str, Playbook] | None = None) -> Drill:
    """One drill. Raises PlaybookError with every mistake; ``playbooks`` are what it may name."""
    problems = Problems(source)
    needed = [key for key in _KEYS if key not in _OPTIONAL]
    top = table(read(source_text, source), "the drill", problems, _KEYS, needed)
    named = identifier(top.get("id"), "id", problems)
    played = _scenario(top, named, problems)
    stage = SCENARIOS.get(played, _ANY)
    steps = _steps(top.get("playbook"), playbooks)
    loaded = Drill(
        id=named,
        scenario=played,
        title=text(top.get("title"), "title", problems, most=200),
        briefing=text(top.get("briefing"), "briefing", problems),
        playbook=identifier(top.get("playbook"), "playbook", problems),
        acts=tuple(choice(node, "an act", ACTS, problems) for node in _list(top.get("acts"), "acts", problems)),
        report=_report(top.get("report"), stage, problems),
        responders=tuple(_person(node, problems) for node in _list(top.get("responders"), "responders", problems)),
        delay_s=_delay(top.get("delay_s"), problems),
        answers=_answers(top.get("answers"), problems),
        people=_acts(top.get("people"), "people", problems),
        retries=_acts(top.get("retries"), "retries", problems),
        refused=tuple(
            choice(node, "a try", stage.tries, problems) for node in _list(top.get("refused"), "refused", problems)
        ),
        source=source,
        contrast=identifier(top["contrast"], "contrast", problems) if "contrast" in top else "",
        truth=text(top.get("truth"), "truth", problems),
        choices=read_choices(top.get("choices"), stage.happens, steps, problems),
        injects=read_injects(top.get("injects"), steps, problems),
        order=read_order(top.get("order"), steps, problems),
        ends=choice(top["ends"], "ends", ENDS, problems) if "ends" in top else CONTAINED,
        undoes=tuple(
            identifier(node, "a step that is undone", problems) for node in _list(top.get("undoes"), "undoes", problems)
        ),
        beside=tuple(identifier(node, "a playbook", problems) for node in _list(top.get("beside"), "beside", problems)),
        signs=_signs(top.get("signs"), problems),
        alerts=tuple(_scanner(node, stage, problems) for node in _list(top.get("alerts"), "alerts", problems)),
    )  # fmt: skip
    if loaded.acts and stage is not _ANY and (MIGRATE in loaded.acts) != stage.moves:
        said = f"must begin with {MIGRATE}" if stage.moves else f"has nothing to {MIGRATE}"
        problems.add(top["acts"].line, f"acts: the scenario {played} {said}")
    if playbooks is not None and loaded.playbook:
        _check_playbook(loaded, top, playbooks, problems)
    problems.refuse()
    return loaded


def load_drills(folders: Iterable[Path], playbooks: Mapping[str, Playbook] | None = None) -> dict[str, Drill]:
    """Every ``*.yaml`` of the folders by its id; a later folder replaces what an earlier one called the same.

    Raises PlaybookError for the first file with mistakes, InputError for a folder that is not there.
    """
    folders, found = list(folders), dict[str, Drill]()
    if missing := [folder for folder in folders if not folder.is_dir()]:
        raise InputError(f"there is no folder {missing[0]}")
    for path in [path for folder in folders for path in sorted(folder.glob("*.yaml"))]:
        loaded = load_drill(content(path), str(path), playbooks)
        if path.stem != loaded.id:
            raise PlaybookError(str(path), [(1, f"the file of the drill {loaded.id} must be {loaded.id}.yaml")])
        found[loaded.id] = loaded
    for drill in found.values():
        if drill.contrast and drill.contrast not in found:
            said = f"contrast: there is no drill {drill.contrast[:60]!r}{hint(drill.contrast, found)}"
            raise PlaybookError(drill.source, [(1, said)])
    return found


def _list(node: Node | None, what: str, problems: Problems) -> Iterator[Node]:
    if node is None:
        return
    if node.value == ():
        problems.add(node.line, f"{what} must not be empty")
    seen: set[object] = set()
    for one in items(node, what, problems):
        if isinstance(one.value, str) and one.value in seen:
            problems.add(one.line, f"{what} has {one.value[:60]!r} twice")
        seen.add(one.value if isinstance(one.value, str) else one)
        yield one


def _person(node: Node | None, problems: Problems) -> str:
    name = text(node, "a name", problems, most=80)
    if node and name and not (name.endswith(SIMULATED) and name.removesuffix(SIMULATED).strip()):
        problems.add(node.line, f"nobody real plays in a drill: write {name[:40]!r} as 'name{SIMULATED}'")
    return name


# what a drill may say that names no scenario: the rest of it is checked all the same
_ANY = Scenario(
    tries=tuple(dict.fromkeys(t for s in SCENARIOS.values() for t in s.tries)),
    holes=tuple(dict.fromkeys(h for s in SCENARIOS.values() for h in (*s.holes, *s.secret_holes))),
    happens=tuple(dict.fromkeys(h for s in SCENARIOS.values() for h in s.happens)),
    scanners=tuple(dict.fromkeys(each for s in SCENARIOS.values() for each in s.scanners)),
)


def _scenario(top: Mapping[str, Node], drill: str, problems: Problems) -> str:
    """The scenario that is played: what the file names, or the one that has the drill's id."""
    if "scenario" in top:
        return choice(top["scenario"], "the scenario", tuple(SCENARIOS), problems)
    if drill and drill not in SCENARIOS and "id" in top:
        problems.add(top["id"].line, f"the range plays nothing called {drill[:60]!r}{hint(drill, SCENARIOS)}")
    return drill


def _report(node: Node | None, stage: Scenario, problems: Problems) -> DrillReport:
    known = ("by", "text", "machine", "machine_name", "scanner")
    keys = table(node, "report", problems, known, ("by", "text")) if node else {}
    said = text(keys.get("text"), "report.text", problems)
    holes = (*stage.holes, *stage.secret_holes)
    for hole in _HOLE.findall(said):
        if hole[1:-1] not in holes:
            may = " or ".join(f"{{{each}}}" for each in holes)
            problems.add(keys["text"].line, f"report.text may hold {may} and nothing else in braces, not {hole[:40]}")
    machine = choice(keys["machine"], "machine", [m.value for m in Machine], problems) if "machine" in keys else ""
    return DrillReport(
        by=_person(keys.get("by"), problems), text=said, machine=Machine(machine or Machine.UNKNOWN.value),
        machine_name=text(keys.get("machine_name"), "machine_name", problems, most=80),
        scanner=_scanner(keys["scanner"], stage, problems) if "scanner" in keys else "",
    )


def _scanner(node: Node, stage: Scenario, problems: Problems) -> str:
    if stage.scanners:
        return choice(node, "a scanner", stage.scanners, problems)
    problems.add(node.line, "no scanner sees anything of this scenario, so somebody says it in words")
    return ""


def _delay(node: Node | None, problems: Problems) -> float:
    if node is None:
        return 0.5
    if type(node.value) not in (int, float) or not 0.01 <= node.value <= 60:
        shown = node.value if type(node.value) in (int, float) else kind_of(node.value)
        problems.add(node.line, f"delay_s must be a number from 0.01 to 60, this is {shown}")
        return 0.5
    return float(node.value)


def _answers(node: Node | None, problems: Problems) -> dict[str, str]:
    rows = table(node, "answers", problems, node.value if isinstance(node.value, dict) else ()) if node else {}
    return {step: text(value, f"the answer to {step}", problems) for step, value in rows.items()}


def _acts(node: Node | None, what: str, problems: Problems) -> dict[str, str]:
    rows = table(node, what, problems, node.value if isinstance(node.value, dict) else ()) if node else {}
    return {step: choice(value, f"what is done for {step}", PERSON_ACTS, problems) for step, value in rows.items()}


def _signs(node: Node | None, problems: Problems) -> dict[str, Signed]:
    rows = table(node, "signs", problems, node.value if isinstance(node.value, dict) else ()) if node else {}
    found = {}
    for name, row in rows.items():
        said = table(row, f"signs.{name}", problems, ("does", "says"), ("does", "says"))
        found[name] = Signed(
            does=choice(said["does"], f"what is done for {name}", PERSON_ACTS, problems) if "does" in said else "",
            says=text(said.get("says"), f"signs.{name}.says", problems),
        )
    return found


def _steps(node: Node | None, playbooks: Mapping[str, Playbook] | None) -> dict[str, bool] | None:
    """Every step of the playbook, and whether a person does it; None where it is not known."""
    found = (playbooks or {}).get(node.value) if node and isinstance(node.value, str) else None
    return {step.id: step.uses.startswith("people.") for step in found.steps} if found else None


def _check_playbook(
    drill: Drill, top: Mapping[str, Node], playbooks: Mapping[str, Playbook], problems: Problems
) -> None:
    found = playbooks.get(drill.playbook)
    if found is None:
        said = f"there is no playbook {drill.playbook!r}{hint(drill.playbook, playbooks)}"
        problems.add(top["playbook"].line, said)
        return
    steps = [step.id for step in found.steps]
    for name in drill.beside:
        if name not in playbooks:
            problems.add(top["beside"].line, f"there is no playbook {name!r}{hint(name, playbooks)}")
    beside = [step.id for name in drill.beside if name in playbooks for step in playbooks[name].steps]
    by_step = ("answers", "people", "retries")
    named = [(top[key].value[step].line, step) for key in by_step for step in getattr(drill, key)]
    for line, step in [*named, *((top["undoes"].line, step) for step in drill.undoes)]:
        if step not in [*steps, *beside]:
            problems.add(line, f"the playbook {found.id} has no step {step[:60]!r}{hint(step, steps)}")
