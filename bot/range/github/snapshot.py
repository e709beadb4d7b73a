"""A picture of GitHub's state for comparing the ends of two drills. No secret values, volatile facts apart."""

from __future__ import annotations

from typing import Any

from bot.range.github import shapes
from bot.range.github.nouns import Org, Repo
from bot.range.github.state import State


def snapshot(state: State) -> dict[str, Any]:
    """``volatile`` holds the same tree's ids and times; the rest is equal when the end states are."""
    with state.lock:
        stable: dict[str, Any] = {
            "packages": {
                "/".join(place): {v.name: v.tags for v in package.active}
                for place, package in sorted(state.packages.items())
            },
            "policies": {
                name: _policy(org) for name, org in sorted(state.orgs.items())
            },
            "shut_out": {name: len(org.shut_out) for name, org in sorted(state.orgs.items())},
            "repositories": {}, "secrets": {}, "tokens": _tokens(state), "grants": _grants(state),
            "installations": {
                f"{i.app.slug} on {i.account.login}": bool(i.suspended_at) for i in state.installations.values()
            },
        }  # fmt: skip
        volatile: dict[str, Any] = {"runs": {}, "secrets": {}, "alerts": {}}
        for name, repo in sorted(state.repos.items()):
            runs = [r for r in state.runs.values() if r.repo is repo]
            stable["repositories"][name] = {
                "actions": _policy(repo), "token_default": dict(repo.token_default),
                "subject": dict(repo.subject), "fork_approval": repo.fork_approval,
                "workflows": {path: w.state for path, w in sorted(repo.workflows.items())},
                "keys": sorted([row["title"], row["read_only"]] for row in repo.keys.values()),
                "hooks": sorted(row["url"] for row in repo.hooks.values()),
                "advisories": sorted(  # a closed one stays for ever, and says nothing
                    [row["state"], row["summary"]] for row in repo.advisories.values() if row["state"] != "closed"
                ),
                "rulesets": sorted([row["name"], row["target"], row["enforcement"]] for row in repo.rulesets.values()),
                "caches": sorted([row["key"], row["ref"]] for row in repo.caches.values()),
                "artifacts": sorted(row["name"] for row in repo.artifacts.values()),
                "runners": sorted(row["name"] for row in repo.runners.values()),
                "collaborators": dict(sorted(repo.collaborators.items())),
                "invitations": sorted(row["invitee"].login for row in repo.invitations.values()),
                "alerts": {str(n): [row["state"], row["resolution"]] for n, row in sorted(repo.alerts.items())},
                "refs": sorted(repo.git.refs), "pulls": {str(n): p.state for n, p in sorted(repo.pulls.items())},
                "issues": sorted(row["title"] for row in repo.issues.values() if row["state"] == "open"),
                "runs": [  # those of two workflows may begin in either order
                    {"workflow": r.workflow.path, "number": r.number, "event": r.event, "attempt": r.attempt,
                     "status": r.status, "conclusion": r.conclusion, "logs": any(j.log for j in r.jobs)}
                    for r in sorted(runs, key=lambda r: (r.workflow.path, r.number))
                ],
            }  # fmt: skip
            volatile["runs"][name] = [{"id": r.id, "updated_at": shapes.when(r.updated_at)} for r in runs]
            volatile["alerts"][name] = {
                str(n): shapes.when(row["updated_at"]) for n, row in sorted(repo.alerts.items())
            }
        for place, held in sorted(state.secrets.items()):
            key = " ".join(place)
            stable["secrets"][key] = {n: [s.visibility, sorted(s.selected)] for n, s in sorted(held.items())}
            volatile["secrets"][key] = {n: shapes.when(s.updated_at) for n, s in sorted(held.items())}
        return {**stable, "volatile": volatile}


def _policy(of: Org | Repo) -> dict[str, Any]:
    """What Actions may do; the selection only while there is one, as GitHub shows it."""
    return dict(of.actions) | (dict(of.selected_actions) if of.actions["allowed_actions"] == "selected" else {})


def _tokens(state: State) -> dict[str, list[str]]:
    """For each account the kinds of its long-lived tokens that still work."""
    found: dict[str, list[str]] = {}
    for token in state.tokens.values():
        if token.kind in ("classic", "fine") and not token.revoked:
            found.setdefault(token.account.login, []).append(token.kind)
    return {login: sorted(kinds) for login, kinds in sorted(found.items())}


def _grants(state: State) -> list[list[Any]]:
    """Fine-grained tokens that live: whose, and where they reach."""
    live = [t for t in state.tokens.values() if t.kind == "fine" and not t.revoked]
    return sorted([t.account.login, "all" if t.repositories is None else sorted(t.repositories)] for t in live)
