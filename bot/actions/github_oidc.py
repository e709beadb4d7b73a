"""GitHub: the pull request that moves a repository's workflows from static secrets to OIDC.

One branch, one commit, one pull request, found again by its branch instead of opened twice: the branch is named after
what it changes. One of ours that is open and moves the same credential with other answers (another role) stands for
this one too. Merging is a person's. Paths: docs.github.com/rest/git/trees, /git/commits, /git/refs, /pulls/pulls.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from bot.action import Action
from bot.actions.github import differs, repository_path
from bot.errors import Conflict, EngineError, Forbidden, InputError, NotFound, ProviderError
from bot.model import Before, Breaks, Credential, Effect, Grade, Outcome, Proof, SecretStore, material
from bot.oidc import recipes, request, trust, verify
from bot.oidc.find import carriers
from bot.oidc.hosted import Reader, Snapshot
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.work import SESSION_S, Answers
from bot.world import World

GONE = ""
BRANCHES = "bulkhead/oidc-"  # what the names of our branches begin with
OTHERWISE = "is open already and moves the same with other answers: merge it or close it, then order again"


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationIn:
    """Which repository to move, and what its files cannot tell: '' leaves a repository variable to be set.

    ``secret``: only the credential that this secret belongs to; '' moves all. ``stores``: where the credential of an
    incident stands; where that is not known, () moves nothing. ``ordered``: the order, when it is one by itself.
    """

    repository: str
    secret: str = ""
    stores: tuple[SecretStore, ...] | None = None
    role: str = ""
    region: str = ""
    environment: str = ""
    session: str = ""  # seconds that a session of AWS lives
    ordered: Credential | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """A credential that the pull request takes out: its provider, as ``bot/oidc`` calls it, and its secrets' names."""

    provider: str
    title: str
    secrets: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """A file that changes: the blobs before and after, as git names them."""

    path: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationBefore(Before):
    """What the pull request would change. ``jobs`` are those that get an identity, ``kept`` what stays and why.

    ``asks``: repository variables that somebody has to set, and to what; nobody has said it and no file tells.
    """

    branch: str = material(default="")
    files: tuple[FileChange, ...] = material(default=())
    jobs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    moves: tuple[Moved, ...] = ()
    asks: tuple[str, ...] = ()
    rival: str = ""  # an open pull request of ours that moves the same with other answers


@dataclass(frozen=True, slots=True, kw_only=True)
class MigrationOutcome(Outcome):
    """The pull request that a person has to merge; 0 when there was nothing to open."""

    pull: int = 0
    url: str = ""


def refuse_other_issuer(world: World) -> None:
    """Raises InputError where the jobs' identity tokens are none of github.com's: no trust is written for others yet.

    docs.github.com/enterprise-server: an Enterprise Server issues them itself; GHE.com has an issuer a subdomain.
    """
    host = urlsplit(world.github.web).hostname or ""
    if host in ("github.com", "127.0.0.1"):
        return
    issuer = f"token.actions.{host}" if host.endswith(".ghe.com") else f"{host}/_services/token"
    raise InputError(
        f"identity tokens of jobs at {host} come from https://{issuer}, for which Bulkhead writes no trust yet: a "
        "person sets it up, and moves the workflows"
    )


def whose(world: World, repository: str, environment: str, branch: str) -> trust.Job | None:
    """Whose token the trust is for; None where the repository's tokens have a subject of its own making."""
    base = repository_path(repository)
    try:
        if world.github.get(f"{base}/actions/oidc/customization/sub").get("use_default") is False:
            return None
    except (NotFound, Forbidden):
        pass  # nobody has customised it, or we may not ask: the default is what the policy is written for
    found = world.github.get(base)
    return trust.Job(
        repository=str(found["full_name"]), repository_id=str(found["id"]), owner_id=str(found["owner"]["id"]),
        ref=f"refs/heads/{branch}", environment=environment,
    )  # fmt: skip


def branch_of(world: World, repository: str) -> str:
    """The default branch."""
    return str(world.github.get(repository_path(repository))["default_branch"])


def workflows(world: World, repository: str) -> tuple[str, Repository]:
    """The default branch and its files."""
    branch, _, found = read(world, repository)
    return branch, found.repository


def read(world: World, repository: str) -> tuple[str, str, Snapshot]:
    """The default branch, its commit, and its files as ``bulkhead oidc plan`` reads them in a clone."""
    base, branch = repository_path(repository), branch_of(world, repository)
    tip = str(world.github.get(f"{base}/git/ref/heads/{quote(branch)}")["object"]["sha"])
    return branch, tip, Reader(world.github, base).at(tip, branch)


def _planned(world: World, given: MigrationIn) -> tuple[str, str, Plan, tuple[FileChange, ...]]:
    branch, tip, found = read(world, given.repository)
    roles = {"": given.role} if given.role else {}
    answers = Answers(
        roles=roles, region=given.region, environment=given.environment, session_s=int(given.session or SESSION_S),
        default_permissions=_default_permissions(world, given.repository),
    )  # fmt: skip
    secret = given.secret or next((store.name for store in given.stores or ()), "")
    made, old = plan(found.repository, answers, secret=secret), found.blobs
    files = tuple(FileChange(path=p, old=old[p], new=git_blob(data)) for p, data in sorted(made.changed.items()))
    return branch, tip, made, files


def _default_permissions(world: World, repository: str) -> str:
    """What a job that states no permissions has, read or write; '' where we may not ask (it takes administration:read).

    Source: docs.github.com/rest/actions/permissions, "Get default workflow permissions for a repository".
    """
    try:
        found = world.github.get(f"{repository_path(repository)}/actions/permissions/workflow")
    except (NotFound, Forbidden):
        return ""
    return str(found["default_workflow_permissions"])


def git_blob(data: bytes) -> str:
    """The name that git gives to a file's content (git-scm.com/book, "Git Objects")."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _head(given: MigrationIn, files: tuple[FileChange, ...]) -> str:
    """The same name whenever the same change is made, so that a repeat finds what it made."""
    said = given.repository + "".join(f" {each.path} {each.new}" for each in files)
    return f"{BRANCHES}{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _pull(world: World, given: MigrationIn, head: str) -> dict[str, Any] | None:
    """The newest pull request for this very change, open, merged or declined: it is never opened twice."""
    owner = given.repository.partition("/")[0]
    found = world.github.get(f"{repository_path(given.repository)}/pulls", head=f"{owner}:{head}", state="all")
    return found[0] if found else None


def _rival(world: World, given: MigrationIn, made: Plan, head: str) -> str:
    """An open pull request of ours that moves one of the same credentials with other answers; '' for none."""
    base = repository_path(given.repository)
    wanted = [set(outcome.credential.secrets) for outcome in made.migrated]
    for pull in world.github.pages(f"{base}/pulls", state="open") if wanted else ():
        ref = str(pull["head"]["ref"])
        if not ref.startswith(BRANCHES) or ref == head:
            continue
        held = Reader(world.github, base).at(str(pull["head"]["sha"]), ref).repository.workflows.values()
        left = {name for workflow in held for carrier in carriers(workflow) for name in carrier.secrets}
        if any(not secrets & left for secrets in wanted):
            return str(pull["html_url"])
    return ""


def counted(number: int) -> str:
    """So many static credentials, in words."""
    return f"{number} static credential{'s' * (number != 1)}"


def _look(world: World, given: MigrationIn) -> MigrationBefore:
    if not given.repository or given.stores == ():
        said = "in which workflows the credential stands is not known: nothing is moved"
        return MigrationBefore(needed=False, summary=said)
    refuse_other_issuer(world)
    branch, _, made, files = _planned(world, given)
    head = _head(given, files)
    opened = _pull(world, given, head) if files else None
    rival = _rival(world, given, made, head) if files and opened is None else ""
    jobs = tuple(f"{path}: {job}" for outcome in made.migrated for path, job in outcome.granted)
    kept = tuple(f"{o.credential.title} ({', '.join(o.credential.secrets)}): {o.refusal}" for o in made.refused)
    said = f"{counted(len(made.migrated))} of {given.repository} can move to OIDC, {len(kept)} cannot"
    if kept and not files:
        said += f": {'; '.join(kept)}"
    if opened is not None:
        said += f"; {opened['html_url']} is {opened['state']} already"
    if rival:
        said += f"; {rival} {OTHERWISE}"
    return MigrationBefore(
        needed=bool(files) and opened is None and not rival, rival=rival,
        branch=branch, files=files, jobs=jobs, kept=kept, summary=said,
        moves=tuple(
            Moved(provider=one.credential.provider, title=one.credential.title, secrets=one.credential.secrets)
            for one in made.migrated
        ),
        asks=tuple(dict.fromkeys(f"{name}: {what}" for one in made.migrated for name, what in one.asks.items())),
    )


def _open(world: World, given: MigrationIn, before: MigrationBefore) -> MigrationOutcome:
    """Branch, commit and pull request. Called again, it goes on where it stopped."""
    base, head, changed = repository_path(given.repository), _head(given, before.files), False
    if not before.files:
        return MigrationOutcome(changed=False, summary="No static credential can be moved")
    if before.rival:
        return MigrationOutcome(changed=False, summary=f"{before.rival} {OTHERWISE}")
    branch, tip, made, files = _planned(world, given)
    if files != before.files:
        raise differs(
            f"the workflows of {given.repository}",
            {f.path: f.new for f in before.files},
            {f.path: f.new for f in files},
        )
    pull = _pull(world, given, head)
    if pull is None and (rival := _rival(world, given, made, head)):  # another worker's, since the look
        raise Conflict(f"{rival} {OTHERWISE}", {})
    checked = _verified(made) if pull is None else ""
    title = request.title(made)
    account = given.role.split(":")[4] if given.role.count(":") >= 5 else ""
    job = whose(world, given.repository, given.environment, branch)
    body = request.body(made, job, account, checked, _pinned(world, made))
    if pull is None and _tip(world, base, head) == GONE:  # one that was declined has no branch, and gets none again
        commit = _commit(world, base, tip, made, title)
        world.github.send("POST", f"{base}/git/refs", {"ref": f"refs/heads/{head}", "sha": commit})
        changed = True
    if pull is None:
        asked = {"title": title, "head": head, "base": branch, "body": body}
        pull, changed = world.github.send("POST", f"{base}/pulls", asked).data, True
    said = f"{pull['html_url']} moves {counted(len(made.migrated))} to OIDC; a person merges it, the trust first"
    return MigrationOutcome(changed=changed, pull=int(pull["number"]), url=str(pull["html_url"]), summary=said)


def _verified(made: Plan) -> str:
    """What other tools say of the files, as a sentence. Raises EngineError when one finds what was not there before."""
    pairs = [(made.before.files[path], data) for path, data in made.changed.items() if path.startswith(FOLDER)]
    found, missing = verify.new_errors(pairs)
    if found:
        raise EngineError(f"the migrated workflows are not proposed. {verify.said(found, missing)}")
    return verify.said(found, missing)


def _pinned(world: World, made: Plan) -> str:
    """What GitHub says of the releases that are written: whether their tags are still the commits of the table.

    A tag that leads elsewhere today is no newer release but a moved tag: the commit of the table is kept, and that is
    said.
    """
    texts = [data.decode(errors="replace") for data in made.changed.values()]
    used = [pin for pin in recipes.pins().values() if any(pin.uses in text for text in texts)]
    seen = {pin.name: _tagged(world, pin) for pin in used}
    moved = [f"{pin.name} {pin.version}" for pin in used if seen[pin.name] not in {"", pin.sha}]
    unknown = [pin.name for pin in used if not seen[pin.name]]
    said = [f"Releases of actions are pinned to commits of a table of {recipes.pin_date()}."]
    if len(unknown) < len(used):
        said.append(f"GitHub says today of {len(used) - len(unknown) - len(moved)} tags that they are these commits.")
    if moved:
        said.append(f"**{', '.join(moved)}: the tag leads to another commit today; look at it before you merge.**")
    if unknown:
        said.append(f"GitHub could not be asked of {', '.join(unknown)}.")
    return " ".join(said)


def _tagged(world: World, pin: recipes.Pin) -> str:
    """The commit that a release's tag leads to; '' where this GitHub does not have it, or does not tell us."""
    base = f"/repos/{pin.name}/git"
    try:
        found = world.github.get(f"{base}/ref/tags/{pin.version}")["object"]
        if found["type"] == "tag":
            found = world.github.get(f"{base}/tags/{found['sha']}")["object"]
    except ProviderError:
        return GONE
    return str(found["sha"])


def _tip(world: World, base: str, head: str) -> str:
    try:
        return str(world.github.get(f"{base}/git/ref/heads/{head}")["object"]["sha"])
    except NotFound:
        return GONE


def _commit(world: World, base: str, tip: str, made: Plan, title: str) -> str:
    """One commit on the tip with every changed file. Objects that nothing points at yet are no effect."""
    rows = []
    for path, data in sorted(made.changed.items()):
        content = {"content": base64.b64encode(data).decode(), "encoding": "base64"}
        blob = world.github.send("POST", f"{base}/git/blobs", content).data["sha"]
        rows.append({"path": path, "mode": "100644", "type": "blob", "sha": blob})
    parent = world.github.get(f"{base}/git/commits/{tip}")["tree"]["sha"]
    tree = world.github.send("POST", f"{base}/git/trees", {"base_tree": parent, "tree": rows}).data["sha"]
    body = {"message": title, "tree": tree, "parents": [tip]}
    return str(world.github.send("POST", f"{base}/git/commits", body).data["sha"])


def _prove(world: World, given: MigrationIn, before: MigrationBefore, outcome: MigrationOutcome) -> Proof:
    """The pull request stands as it was planned, or it is merged and the default branch holds its files."""
    base = repository_path(given.repository)
    if before.rival:
        return Proof.refuted(f"{before.rival} {OTHERWISE}")
    if not outcome.pull:
        return Proof.proven(Grade.STATE, "there was nothing to open")
    pull = world.github.get(f"{base}/pulls/{outcome.pull}")
    ref = before.branch if pull.get("merged") else _head(given, before.files)
    if not pull.get("merged") and pull["state"] != "open":
        return Proof.refuted(f"{outcome.url} was closed without being merged")
    wrong = [each.path for each in before.files if _blob(world, base, each.path, ref) != each.new]
    if wrong:
        return Proof.refuted(f"on {ref}, {', '.join(wrong)} is not what was planned")
    said = "is merged, and its files stand" if pull.get("merged") else "is open with the files that were planned"
    return Proof.proven(Grade.STATE, f"{outcome.url} {said} on {ref}")


def _blob(world: World, base: str, path: str, ref: str) -> str:
    try:
        return str(world.github.get(f"{base}/contents/{quote(path)}", ref=ref)["sha"])
    except NotFound:
        return GONE


def _undo(world: World, given: MigrationIn, before: MigrationBefore, outcome: MigrationOutcome) -> Outcome:
    """Close the pull request and delete its branch. Refused when it is merged or somebody has pushed to it."""
    base, head, changed = repository_path(given.repository), _head(given, before.files), False
    pull = world.github.get(f"{base}/pulls/{outcome.pull}") if outcome.pull else None
    if pull is not None and pull.get("merged"):
        raise differs(f"pull request {outcome.pull}", {"merged": False}, {"merged": True})
    if _tip(world, base, head) != GONE:
        now = {each.path: _blob(world, base, each.path, head) for each in before.files}
        wanted = {each.path: each.new for each in before.files}
        if now != wanted:
            raise differs(f"branch {head}", wanted, now)
    if pull is not None and pull["state"] == "open":
        world.github.send("PATCH", f"{base}/pulls/{outcome.pull}", {"state": "closed"})
        changed = True
    if _tip(world, base, head) != GONE:
        world.github.send("DELETE", f"{base}/git/refs/heads/{head}")
        changed = True
    return Outcome(changed=changed, summary="The pull request is closed" if changed else "There was nothing to close")


def _breaks(before: MigrationBefore) -> Breaks:
    return Breaks(stops=tuple(f"Once merged, {job} fails until the trust is set up" for job in before.jobs))


def _fulfils(given: MigrationIn) -> str:
    return given.ordered.key if given.ordered else ""


open_migration = Action(
    name="github.open_migration", title="Open a pull request that moves workflows to OIDC", inputs=MigrationIn,
    before=MigrationBefore, outcome=MigrationOutcome, effect=Effect.CHANGE, look=_look, run=_open, prove=_prove,
    breaks=_breaks, undo=_undo, proof_deadline=600.0, fulfils=_fulfils,
    asks="It proposes a change to what people of theirs maintain.",
    permissions=("actions:read", "contents:write", "workflows:write", "pull_requests:write"),
)  # fmt: skip
