"""The machine checks of follow-ups: what each one reads at a provider. Nothing here changes anything.

Where an action of the catalogue looks at the same thing, its look is asked: what counts as gone is said in one place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bot.actions import CATALOGUE, aws, github_policy
from bot.actions.github import repository_path
from bot.actions.github_oidc import read
from bot.errors import NotFound
from bot.learn.follow_up import CHECKS, Check
from bot.model import SecretStore, WorkflowRef
from bot.oidc import find
from bot.world import World

BRANCH = "bulkhead/oidc-"  # where github.open_migration puts its change


@dataclass(frozen=True, slots=True)
class Looked:
    """What a check has found, in a sentence."""

    holds: bool
    detail: str


def look(world: World, check: Check) -> Looked:
    """Run one check. Raises bot.errors when the provider does not say: then nothing is known."""
    return _LOOKS[check.kind](world, check.target.split(" "))


def _secret_gone(world: World, target: list[str]) -> Looked:
    repository, name, where = target[0], target[1], target[2] if len(target) > 2 else ""
    scope, _, environment = where.partition(":")
    store = SecretStore(
        repository=repository, name=name, environment=environment,
        scope=scope if scope in ("environment", "organization") else "repository",
        store=where if where in ("dependabot", "codespaces") else "actions",
    )  # fmt: skip
    found = CATALOGUE["github.delete_secret"].look(world, store)
    said = "is gone" if not found.needed else "old secret still exists"
    return Looked(not found.needed, f"{name} of {repository}: {said}")


def _key_dead(world: World, target: list[str]) -> Looked:
    try:
        found = CATALOGUE["aws.deactivate_access_key"].look(world, aws.Key(key=target[0]))
    except NotFound:
        return Looked(True, f"AWS knows no key {target[0]}")
    return Looked(not found.needed, f"{target[0]} is {found.status or 'gone'}")


def _no_static_secret(world: World, target: list[str]) -> Looked:
    repository = read(world, target[0])[2].repository
    static = find.credentials(repository.workflows.values())
    names = ", ".join(sorted({name for one in static for name in one.secrets}))
    if repository.unreadable:
        bad = ", ".join(sorted(repository.unreadable))
        return Looked(False, f"{target[0]}: {bad} cannot be read" + (f"; static still: {names}" if names else ""))
    return Looked(not static, f"{target[0]}: {f'static still: {names}' if names else 'no workflow uses one'}")


def _migration_merged(world: World, target: list[str]) -> Looked:
    listed = world.github.pages(f"{repository_path(target[0])}/pulls", state="all")
    mine = [pull for pull in listed if str(pull["head"]["ref"]).startswith(BRANCH)]
    merged = [pull for pull in mine if pull.get("merged_at")]
    if merged:
        return Looked(True, f"{merged[0]['html_url']} is merged")
    said = f"{mine[0]['html_url']} is {mine[0]['state']}, not merged" if mine else "there is no such pull request"
    return Looked(False, said)


def _token_reads_only(world: World, target: list[str]) -> Looked:
    given = github_policy.TokenPermissionsIn(repository=target[0])
    found = CATALOGUE["github.set_default_token_permissions"].look(world, given)
    return Looked(not found.needed, f"{target[0]}: {found.summary}")


def _workflow_disabled(world: World, target: list[str]) -> Looked:
    given = WorkflowRef(repository=target[0], workflow=target[1])
    try:
        found = CATALOGUE["github.disable_workflow"].look(world, given)
    except NotFound:
        return Looked(True, f"{target[1]} of {target[0]} is gone")
    return Looked(not found.needed, f"{target[1]} of {target[0]}: {found.summary}")


_LOOKS: dict[str, Callable[[World, list[str]], Looked]] = {
    "secret-gone": _secret_gone, "key-dead": _key_dead, "no-static-secret": _no_static_secret,
    "migration-merged": _migration_merged, "token-reads-only": _token_reads_only,
    "workflow-disabled": _workflow_disabled,
}  # fmt: skip
assert set(_LOOKS) == set(CHECKS), "every check that can be written can be run"
