"""Arrangements for what contains a stolen GitHub token: tokens, installations, grants, deploy keys, planted files."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from bot.actions import github_issues, github_oidc, github_planted, github_secrets, github_tokens
from bot.clients import GitHubClient
from bot.model import Credential, Planted, SecretStore
from bot.range.company import DEPLOY, FERRY, LEDGER, ORG
from tests.actions.arrangements import Arrangement
from tests.actions.conftest import Drill

PLANTED, OLD = ".github/workflows/security-scan.yml", "release-1.3"
SCAN = """\
on: {schedule: [{cron: "17 3 * * *"}], workflow_dispatch: }
jobs:
  scan:
    runs-on: ubuntu-latest
    steps: [{run: 'echo "${{ secrets.STATUS_PAGE_TOKEN }}"'}]
"""
SHARED = SecretStore(repository=FERRY, name="SHARED", scope="organization")


def leaked_token(drill: Drill, kind: str = "github-pat-classic") -> Credential:
    """A token of mara's, held as after intake."""
    scopes = ("repo", "workflow") if kind == "github-pat-classic" else None
    token = drill.range.github.state.add_token("mara", scopes=scopes, expires_in_s=90 * 86400)
    seen = drill.world.secrets.open(drill.world.secrets.seal(f"seen {token[-6:]}", token))
    assert seen is not None
    found = Credential(provider="github", kind=kind, fingerprint=seen.fingerprint)
    drill.world.secrets.seal(f"leaked:{found.key}", token, found.key)
    drill.facts["token"] = token
    return found


def _revivable(drill: Drill) -> Any:
    return github_tokens.RevokeIn(credential=leaked_token(drill))


def _two(drill: Drill) -> Any:
    return github_tokens.RevokeIn(
        credential=leaked_token(drill), also=(leaked_token(drill, "github-pat-fine-grained"),)
    )  # fmt: skip


def _revive(drill: Drill, _inputs: Any, _out: Any) -> None:
    """GitHub brings no token back, so the range is made to: the proof must not believe the run."""
    drill.range.github.state.tokens[drill.facts["token"]].revoked = False


def _installed(drill: Drill) -> Any:
    return github_tokens.InstallationIn(installation=drill.range.company.cast["app"]["installation_id"])


def _unsuspend(drill: Drill, inputs: Any, _out: Any) -> None:
    assert drill.world.github_app is not None
    drill.world.github_app.send("DELETE", f"/app/installations/{inputs.installation}/suspended")


def as_app(drill: Drill, **permissions: str) -> GitHubClient:
    """The bot as an App's installation with these permissions."""
    state, cast = drill.range.github.state, drill.range.company.cast["app"]
    held = state.installations[cast["installation_id"]]
    given = {"metadata": "read", **permissions}
    token = state.mint_server_token(held.app.id, held.app.bot, given, None, kind="installation", installation=held)
    return GitHubClient(token=token.value, base_url=drill.range.github_url)


def _granted(drill: Drill) -> Any:
    state = drill.range.github.state
    token = state.add_token("mara", permissions={"contents": "read"}, repositories=(FERRY,))
    drill.facts["token"] = token
    drill.world = replace(drill.world, github=as_app(drill, organization_personal_access_tokens="write"))
    return github_tokens.GrantIn(organization=ORG, grant=state.tokens[token].grant)


def _let_in_again(drill: Drill, _inputs: Any, _out: Any) -> None:
    drill.range.github.state.tokens[drill.facts["token"]].repositories = frozenset({FERRY})


def public_key() -> str:
    """An SSH key of nobody, made now."""
    form = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    return ed25519.Ed25519PrivateKey.generate().public_key().public_bytes(*form).decode()


def as_mara(drill: Drill) -> GitHubClient:
    return GitHubClient(token=drill.range.company.cast["github"]["mara"], base_url=drill.range.github_url)


def planted_key(drill: Drill) -> Planted:
    """A deploy key that may push, added with mara's account."""
    key = public_key()
    body = {"title": "cache-sync", "key": key, "read_only": False}
    made = as_mara(drill).send("POST", f"/repos/{FERRY}/keys", body).data
    drill.facts["key"] = body
    return Planted(kind="github-deploy-key", name=FERRY, id=str(made["id"]), at=made["created_at"])


def _key_again(drill: Drill, _inputs: Any, _out: Any) -> None:
    drill.world.github.send("POST", f"/repos/{FERRY}/keys", drill.facts["key"])


def _other_key(drill: Drill, _inputs: Any, _out: Any) -> None:
    drill.world.github.send("POST", f"/repos/{FERRY}/keys", {**drill.facts["key"], "read_only": True})


def push(drill: Drill, text: str | None, *branches: str) -> str:
    """A push of the planted file with mara's account; returns its blob."""
    state = drill.range.github.state
    for branch in branches:
        state.commit_files(FERRY, {PLANTED: text}, "Add security scan", "mara", branch=branch, runs=False)
    return str(state.repos[FERRY].git.put_blob((text or "").encode()))


def planted_file(drill: Drill) -> Planted:
    """The planted workflow on the default branch and on an old one that was there before."""
    state = drill.range.github.state
    state.commit_files(FERRY, {"app/old.txt": "1.3\n"}, "Old", "jonas", branch=OLD, runs=False)
    drill.range.clock.advance(60)
    at = f"{state.now():%Y-%m-%dT%H:%M:%SZ}"
    blob = push(drill, SCAN, "main", OLD)
    return Planted(kind="github-workflow-file", name=FERRY, id=PLANTED, at=at, event=blob)


def window(drill: Drill) -> github_planted.SearchIn:
    """Since a moment after which mara's account has planted a key and a file."""
    drill.range.clock.advance(60)
    since = drill.world.now().isoformat()
    planted_key(drill)
    push(drill, SCAN, "main")
    return github_planted.SearchIn(owner="mara", repository=FERRY, since=since)


def _pushed(text: str, branch: str) -> Any:
    def push_again(drill: Drill, _inputs: Any, _out: Any) -> None:
        push(drill, text, branch)

    return push_again


def _another_key(drill: Drill, _inputs: Any, _out: Any) -> None:
    planted_key(drill)


def _shared(drill: Drill) -> Any:
    drill.range.github.state.set_secret(ORG, "SHARED", "made-up", visibility="selected", selected=(FERRY, LEDGER))
    return github_secrets.NarrowIn(store=SHARED, keep=(FERRY,))


def _readers(*names: str) -> Any:
    def select(drill: Drill, _inputs: Any, _out: Any) -> None:
        ids = [drill.range.github.state.repos[name].id for name in names]
        path = f"/orgs/{ORG}/actions/secrets/SHARED/repositories"
        drill.world.github.send("PUT", path, {"selected_repository_ids": ids})

    return select


def migration(_drill: Drill) -> github_oidc.MigrationIn:
    """The company's deployment uses a deploy key."""
    return github_oidc.MigrationIn(repository=FERRY)


def _decline(drill: Drill, _inputs: Any, out: Any) -> None:
    drill.world.github.send("PATCH", f"/repos/{FERRY}/pulls/{out.pull}", {"state": "closed"})


_ISSUE = github_issues.IssueIn(
    repository=FERRY, title="Take the deploy key out", body="By mara.", mark="inc-1/follow-up:ab12"
)


def _seeded_issue(drill: Drill) -> Any:
    """One of another follow-up is there, which is not taken for ours."""
    drill.do("github.open_issue", replace(_ISSUE, title="Another", mark="inc-1/follow-up:cd34"))
    return _ISSUE


def _change_issue(body: dict[str, str]) -> Any:
    def change(drill: Drill, _inputs: Any, out: Any) -> None:
        drill.world.github.send("PATCH", f"/repos/{FERRY}/issues/{out.number}", body)

    return change


def _push_to_it(drill: Drill, _inputs: Any, out: Any) -> None:
    head = drill.world.github.get(f"/repos/{FERRY}/pulls/{out.pull}")["head"]["ref"]
    state = drill.range.github.state
    state.commit_files(FERRY, {DEPLOY: "on: push\njobs: {}\n"}, "Mine", "mara", branch=head, runs=False)


TOKENS: tuple[Arrangement, ...] = (
    Arrangement(action="github.revoke_credentials", seed=_revivable, take_away=_revive),
    Arrangement(action="github.revoke_credentials", variant="two-at-once", seed=_two, take_away=_revive),
    Arrangement(action="github.suspend_installation", seed=_installed, take_away=_unsuspend),
    Arrangement(action="github.revoke_org_grant", seed=_granted, take_away=_let_in_again),
    Arrangement(
        action="github.find_planted_by_token", seed=window, take_away=_another_key
    ),
    Arrangement(
        action="github.delete_deploy_key", seed=planted_key, take_away=_key_again, meddle=_other_key
    ),
    Arrangement(
        action="github.remove_planted_workflow", seed=planted_file,
        take_away=_pushed(SCAN, OLD),
        meddle=_pushed(SCAN + "# mine\n", "main"),
        lost=("pulls", "runs"),  # a pull request that was opened stays, closed, and so does what it ran
    ),
    Arrangement(
        action="github.open_migration", seed=migration, take_away=_decline, meddle=_push_to_it,
        lost=("pulls", "runs"),  # a pull request that was opened stays, closed
    ),
    Arrangement(
        action="github.open_issue", seed=_seeded_issue,
        take_away=_change_issue({"body": "something else"}), meddle=_change_issue({"title": "Theirs now"}),
    ),
    Arrangement(
        action="github.narrow_organization_secret", seed=_shared, take_away=_readers(FERRY, LEDGER),
        meddle=_readers(LEDGER),
    ),
)  # fmt: skip
