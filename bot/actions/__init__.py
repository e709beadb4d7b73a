"""The catalogue: every action there is, one line each. A playbook can name no other."""

from __future__ import annotations

from typing import Any

from bot.action import Action
from bot.actions import (
    aws,
    aws_disable,
    aws_planted,
    aws_sessions,
    github,
    github_files,
    github_oidc,
    github_planted,
    github_policy,
    github_runs,
    github_secrets,
    github_tokens,
    npm,
    npm_versions,
    people,
)

_ACTIONS: tuple[Action[Any, Any, Any], ...] = (
    aws.describe_access_key,
    aws.deactivate_access_key,
    aws.rotate_access_key,
    aws.delete_access_key,
    aws_sessions.deny_older_sessions,
    aws_sessions.deny_older_role_sessions,
    aws_planted.find_planted,
    aws_planted.confirm_clean,
    aws_disable.disable_planted,
    github.disable_workflow,
    github.enable_workflow,
    github.resolve_alert,
    github_policy.stop_actions,
    github_policy.set_default_token_permissions,
    github_runs.cancel_runs,
    github_runs.delete_run_logs,
    github_runs.await_green_run,
    github_secrets.put_secret,
    github_secrets.delete_secret,
    github_secrets.narrow_organization_secret,
    github_tokens.revoke_credentials,
    github_tokens.suspend_installation,
    github_tokens.revoke_org_grant,
    github_planted.find_planted_by_token,
    github_planted.delete_deploy_key,
    github_files.remove_planted_workflow,
    github_oidc.open_migration,
    npm.check_token,
    npm.move_dist_tag_back,
    npm.deprecate,
    npm_versions.find_unexplained_versions,
    npm_versions.unpublish,
    people.ask,
    people.do,
    people.rotate_by_hand,
    people.isolate,
)

CATALOGUE: dict[str, Action[Any, Any, Any]] = {action.name: action for action in _ACTIONS}
