"""Arrangements for who gets in at GitHub, what may run there, and what runs leave behind for later ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from bot.actions.github_access import COLLABORATOR, RUNNER, PersonIn
from bot.actions.github_allowed import AllowedIn
from bot.actions.github_leavings import CachesIn
from bot.actions.github_policy import RepositoryIn
from bot.clients import GitHubClient
from bot.model import Planted, RunRef, WorkflowRef
from bot.range.company import FERRY, ORG, TEST, TEST_YAML
from bot.range.github import members
from bot.range.npm_theft import dispatch
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill
from tests.actions.token_arrangements import as_app, as_mara

FROZEN = RepositoryIn(repository=FERRY)
OUTSIDER = Planted(kind=COLLABORATOR, name=FERRY, id="quiet-otter")
MARA = PersonIn(login="mara", repository=FERRY)


def _frozen(drill: Drill) -> RepositoryIn:
    drill.do("github.freeze_refs", FROZEN)
    return FROZEN


def _rulesets(drill: Drill) -> list[dict[str, Any]]:
    return list(drill.range.github.state.repos[FERRY].rulesets.values())


def _switched_off(drill: Drill, *_: Any) -> None:
    """Somebody with the rights of an administrator sets one of them to disabled."""
    number = _rulesets(drill)[0]["id"]
    as_mara(drill).send("PUT", f"/repos/{FERRY}/rulesets/{number}", {"enforcement": "disabled"})


def _freeze_otherwise(drill: Drill, *_: Any) -> None:
    _frozen(drill)
    _switched_off(drill)


def _invited(drill: Drill, *_: Any) -> Planted:
    as_mara(drill).send("PUT", f"/repos/{FERRY}/collaborators/quiet-otter", {"permission": "push"})
    return OUTSIDER


def _let_in(drill: Drill, *_: Any) -> Planted:
    drill.range.github.state.add_collaborator(FERRY, "quiet-otter", "write")
    return OUTSIDER


def _as_administrator(drill: Drill, *_: Any) -> None:
    drill.range.github.state.add_collaborator(FERRY, "quiet-otter", "admin")


def add_runner(drill: Drill, name: str = "SHA1HULUD") -> int:
    """A machine of somebody else's, registered as mara."""
    token = as_mara(drill).send("POST", f"/repos/{FERRY}/actions/runners/registration-token").data["token"]
    state = drill.range.github.state
    return members.register(state, state.repos[FERRY], token, name)


def _runner(drill: Drill) -> Planted:
    return Planted(kind=RUNNER, name=FERRY, id=str(add_runner(drill)))


def _runner_again(drill: Drill, inputs: Any, _out: Any) -> None:
    number = int(inputs.id)
    row = {"id": number, "name": "SHA1HULUD", "labels": ["self-hosted"], "busy": False}
    drill.range.github.state.repos[FERRY].runners[number] = row


def _granted(drill: Drill) -> PersonIn:
    """A fine-grained token of mara's, and one of jonas's that is none of the person's."""
    state = drill.range.github.state
    drill.facts["token"] = state.add_token("mara", permissions={"contents": "read"}, repositories=(FERRY,))
    state.add_token("jonas", permissions={"contents": "read"}, repositories=(FERRY,))
    drill.world = replace(drill.world, github=as_app(drill, organization_personal_access_tokens="write"))
    return MARA


def _granted_again(drill: Drill, *_: Any) -> None:
    drill.range.github.state.tokens[drill.facts["token"]].repositories = frozenset({FERRY})


def _authorized(drill: Drill) -> PersonIn:
    drill.range.github.state.orgs[ORG].saml = True
    return MARA


def _authorized_again(drill: Drill, *_: Any) -> None:
    drill.range.github.state.orgs[ORG].shut_out.clear()


# What may run

LIMITED = AllowedIn(where=FERRY, patterns=("aws-actions/*",))
ORG_LIMITED = AllowedIn(where=ORG, patterns=("aws-actions/*",))


def _select(where: str, *patterns: str) -> Callable[..., None]:
    """Somebody else's selection."""

    def select(drill: Drill, *_: Any) -> None:
        path, on = f"/{where}/actions/permissions", "enabled_repositories" if where.startswith("orgs") else "enabled"
        policy = {on: "all" if where.startswith("orgs") else True, "allowed_actions": "selected"}
        drill.world.github.send("PUT", path, policy)
        chosen = {"github_owned_allowed": True, "verified_allowed": True, "patterns_allowed": list(patterns)}
        drill.world.github.send("PUT", f"{path}/selected-actions", chosen)

    return select


def _selected(drill: Drill) -> AllowedIn:
    _select(f"repos/{FERRY}", "docker/*")(drill)
    return LIMITED


def _approval(policy: str) -> Callable[..., None]:
    def put(drill: Drill, *_: Any) -> None:
        path = f"/repos/{FERRY}/actions/permissions/fork-pr-contributor-approval"
        drill.world.github.send("PUT", path, {"approval_policy": policy})

    return put


# What runs leave behind

LABELS, TOOLS = ".github/workflows/labels.yml", ".tool-cache"
LABELS_YAML = """\
name: Labels
on: {pull_request_target: }
permissions: {contents: read}
jobs:
  label:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v5
        with: {ref: "${{ github.event.pull_request.head.sha }}"}
      - uses: actions/cache@v4
        with: {path: .tool-cache, key: tools-1}
      - run: cat .tool-cache/build.sh
"""


def pull_from_fork(drill: Drill, files: dict[str, str | bytes | None]) -> int:
    """A stranger's pull request; returns the number of its run."""
    state = drill.range.github.state
    if LABELS not in state.repos[FERRY].workflows:
        state.commit_files(FERRY, {LABELS: LABELS_YAML}, "Label pull requests", "mara", runs=False)
    fork = f"quiet-otter/{FERRY.partition('/')[2]}"
    if fork not in state.repos:
        state.add_repo(fork, fork_of=FERRY)
    branch = f"fix-{len(state.repos[FERRY].pulls)}"
    state.commit_files(fork, files, "Fix a typo", "quiet-otter", branch=branch, runs=False)
    token = state.add_token("quiet-otter", scopes=("public_repo",))
    stranger = GitHubClient(token=token, base_url=drill.range.github_url)
    body = {"title": "Fix a typo", "head": f"quiet-otter:{branch}", "base": "main"}
    stranger.send("POST", f"/repos/{FERRY}/pulls", body)
    return max(run.id for run in state.runs.values() if run.workflow.path == LABELS)


def poisoned(drill: Drill) -> CachesIn:
    pull_from_fork(drill, {f"{TOOLS}/build.sh": "echo hello\n"})
    return CachesIn(repository=FERRY)


def _cache_again(drill: Drill, *_: Any) -> None:
    """The stranger comes again, with the cache gone."""
    pull_from_fork(drill, {f"{TOOLS}/build.sh": "echo again\n"})


def _with_artifact(drill: Drill) -> RunRef:
    text = TEST_YAML.replace("run: make test", "run: make test\n      - uses: actions/upload-artifact@v4")
    drill.range.github.state.commit_files(FERRY, {TEST: text}, "Keep the report", "mara", runs=False)
    run = dispatch(drill.range, "test.yml")
    drill.facts["artifacts"] = dict(drill.range.github.state.repos[FERRY].artifacts)
    return RunRef(repository=FERRY, run_id=run["id"], workflow=TEST)


def _artifact_again(drill: Drill, *_: Any) -> None:
    drill.range.github.state.repos[FERRY].artifacts.update(drill.facts["artifacts"])


DEPLOYS = WorkflowRef(repository=FERRY, workflow=TEST)


def waiting_deployment(drill: Drill, *_: Any) -> WorkflowRef:
    """A run that waits for the bot or mara to let it into production."""
    state = drill.range.github.state
    if "production" not in state.repos[FERRY].environments:
        state.add_environment(FERRY, "production", reviewers=("mara", "bulkhead-bot"))
        text = TEST_YAML.replace("    runs-on:", "    environment: production\n    runs-on:")
        state.commit_files(FERRY, {TEST: text}, "Test in production", "mara", runs=False)
    assert dispatch(drill.range, "test.yml")["status"] == "waiting"
    return DEPLOYS


ACCESS: tuple[Arrangement, ...] = (
    Arrangement(
        action="github.freeze_refs", seed=lambda d: FROZEN, take_away=_switched_off, meddle=_switched_off,
    ),
    Arrangement(
        action="github.lift_freeze", seed=_frozen, take_away=lambda d, i, o: _frozen(d), meddle=_freeze_otherwise,
    ),
    Arrangement(
        action="github.remove_collaborator", variant="invited", seed=_invited,
        take_away=lambda d, i, o: _invited(d) and None, meddle=_as_administrator,
    ),
    Arrangement(
        action="github.remove_collaborator", variant="accepted", seed=_let_in,
        take_away=lambda d, i, o: _let_in(d) and None, meddle=_as_administrator,
        lost=("collaborators", "invitations"),  # GitHub makes an invitation of it
    ),
    Arrangement(
        action="github.limit_actions", variant="repository", seed=lambda d: LIMITED,
        take_away=_select(f"repos/{FERRY}", "*"), meddle=_select(f"repos/{FERRY}", "evil/*"),
    ),
    Arrangement(
        action="github.limit_actions", variant="selected-already", seed=_selected,
        take_away=_select(f"repos/{FERRY}", "*"), meddle=_select(f"repos/{FERRY}", "evil/*"),
    ),
    Arrangement(
        action="github.limit_actions", variant="organization", seed=lambda d: ORG_LIMITED,
        take_away=_select(f"orgs/{ORG}", "*"), meddle=_select(f"orgs/{ORG}", "evil/*"),
    ),
    Arrangement(
        action="github.require_fork_approval", seed=lambda d: FROZEN, take_away=_approval("first_time_contributors"),
        meddle=_approval("first_time_contributors_new_to_github"),
    ),
    Arrangement(action="github.delete_caches", seed=poisoned, take_away=_cache_again),
    Arrangement(action="github.delete_artifacts", seed=_with_artifact, take_away=_artifact_again),
    Arrangement(action="github.reject_deployments", seed=waiting_deployment, take_away=waiting_deployment),
    Arrangement(action="github.remove_runner", seed=_runner, take_away=_runner_again),
    Arrangement(action="github.cut_tokens_of", variant="grants", seed=_granted, take_away=_granted_again),
    Arrangement(action="github.cut_tokens_of", variant="saml", seed=_authorized, take_away=_authorized_again),
)  # fmt: skip
