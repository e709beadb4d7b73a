"""GitHub: as whom, and what a thief of that token or App could do.

GitHub tells a classic token's scopes in the header x-oauth-scopes (docs.github.com: scopes for OAuth apps) and an
App's rights at /app/installations/ID.
"""

from __future__ import annotations

from bot.actions import CATALOGUE
from bot.doctor.found import BROKEN, MISSING, OK, WARNING, Finding, Power, needs
from bot.errors import Forbidden, NotFound, ProviderError
from bot.installations import Installation, Installations
from bot.settings import Settings
from bot.sites import Site

LEVELS = {"read": 0, "write": 1, "admin": 2}

# What a stolen classic token could do (docs.github.com/apps/oauth-apps, scopes).
SCOPES = {
    "repo": "read every private repository that its account sees, change code, workflows, secrets and runs there",
    "public_repo": "change the code of every public repository that its account may write to",
    "workflow": "change workflow files, and so run anything with the secrets of a repository",
    "delete_repo": "delete repositories",
    "admin:org": "change members, teams and the secrets of its organizations",
    "admin:repo_hook": "send every event of a repository elsewhere",
    "admin:org_hook": "send every event of an organization elsewhere",
    "write:packages": "publish packages",
    "delete:packages": "delete packages",
    "admin:enterprise": "change the whole enterprise",
    "admin:public_key": "put an SSH key on its account",
}
# The same for an App's rights at the level write (docs.github.com: permissions required for GitHub Apps).
RIGHTS = {
    "administration": "change settings of repositories, delete them, let people in",
    "contents": "change code and delete branches and releases",
    "workflows": "change workflow files, and so run anything with the secrets of a repository",
    "secrets": "replace or delete secrets of repositories",
    "organization_secrets": "replace or delete secrets of the organization",
    "actions": "stop workflows, cancel runs and delete their logs",
    "members": "change who belongs to the organization",
    "packages": "publish and delete packages",
}


def look(settings: Settings, site: Site) -> tuple[list[Finding], Power | None]:
    disables = "Reports of runs cannot be read, and no workflow, run, log, secret or alert can be changed."
    try:
        if settings.github_app_id:
            return _github_app(settings, site)
        if settings.github_token.get_secret_value():
            return _github_token(settings, site)
    except ProviderError as exc:
        hint = "Make a new one." if exc.reason == "refused" else "Check BULKHEAD_GITHUB_API and the network."
        return [Finding(name="GitHub", state=BROKEN, detail=str(exc), disables=disables, suggestion=hint)], None
    hint = "Set BULKHEAD_GITHUB_APP_ID and _APP_KEY of an App that is installed, or BULKHEAD_GITHUB_TOKEN."
    return [Finding(name="GitHub", state=MISSING, detail="no identity", disables=disables, suggestion=hint)], None


def _github_token(settings: Settings, site: Site) -> tuple[list[Finding], Power]:
    headers = {name.lower(): value for name, value in site.github.send("GET", "/rate_limit").headers.items()}
    scopes = [scope.strip() for scope in headers.get("x-oauth-scopes", "").split(",") if scope.strip()]
    try:
        who = str(site.github.get("/user")["login"])
    except (Forbidden, NotFound):
        who = "an installation"
    found = Finding(name="GitHub", state=OK, detail=f"{settings.github_api} as {who}")
    if "x-oauth-scopes" not in headers:
        asks = ", ".join(sorted(needs("github")))
        power = Power(
            identity=f"GitHub token of {who}", summary="GitHub does not tell what a fine-grained token may do",
            could=(f"At least what our actions need, if it was made for them: {asks}",),
            suggestions=("Look at its page on GitHub; it should name single repositories and no more than that list",),
        )  # fmt: skip
        return [found], power
    could = tuple(SCOPES[scope] for scope in scopes if scope in SCOPES)
    power = Power(
        identity=f"GitHub token of {who}", summary=f"a classic token with the scopes {', '.join(scopes) or 'none'}",
        could=could or ("read what is public",),
        suggestions=(
            "A GitHub App instead: its tokens die within the hour, and it reaches only the repositories chosen for it",
        ) if could else (),
    )  # fmt: skip
    return [found], power


def _github_app(settings: Settings, site: Site) -> tuple[list[Finding], Power | None]:
    if "PRIVATE KEY-----" not in settings.github_app_key.get_secret_value():
        hint = "BULKHEAD_GITHUB_APP_KEY takes the whole PEM file, its first and last line too."
        return [Finding(name="GitHub", state=BROKEN, detail="the App's private key is not PEM", suggestion=hint)], None
    assert isinstance(site.github, Installations), "an App is installed somewhere, and that says where"
    installed = site.github.everywhere()
    if not installed:
        hint = f"Install it on each organization: {site.github.web}/settings/apps, Install App."
        return [Finding(name="GitHub", state=BROKEN, detail="the App is installed nowhere", suggestion=hint)], None
    findings = [finding for one in installed for finding in _installed(settings, one)]
    granted = {name: level for one in installed for name, level in one.permissions.items()}
    over = sorted(f"{name}:{level}" for name, level in granted.items() if beyond(name, level, needs("github")))
    could = tuple(RIGHTS[name] for name, level in granted.items() if LEVELS.get(level, 0) and name in RIGHTS)
    every = [one.owner for one in installed if one.every]
    hints = [f"Take away what no action needs: {', '.join(over)}"] if over else []
    if every:
        hints.append(f"Choose the repositories of {', '.join(every)} instead of all, those that come later too")
    where = ", ".join(f"{'all' if one.every else 'chosen'} repositories of {one.owner}" for one in installed)
    power = Power(
        identity=f"GitHub App {settings.github_app_id}", could=could, suggestions=tuple(hints), summary=f"in {where}",
    )  # fmt: skip
    return findings, power


def _installed(settings: Settings, one: Installation) -> list[Finding]:
    """One organization or account that the App is installed on."""
    who = f"{settings.github_api} as App {settings.github_app_id} on {one.owner}"
    if one.suspended:
        text = f"What changes something in {one.owner} is a person's step."
        return [Finding(name="GitHub", state=BROKEN, detail=f"{who} is suspended", disables=text)]
    findings = [Finding(name="GitHub", state=OK, detail=who)]
    lacking = sorted(right for right in needs("github") if not grants(one.permissions, right))
    if lacking:
        titles = [a.title for a in CATALOGUE.values() if a.provider == "github" and set(a.permissions) & set(lacking)]
        text = f"It cannot: {'; '.join(titles)}."
        detail = f"on {one.owner} it lacks {', '.join(lacking)}"
        findings.append(Finding(name="GitHub App", state=WARNING, detail=detail, disables=text))
    return findings


def grants(granted: dict[str, str], right: str) -> bool:
    name, _, level = right.partition(":")
    return LEVELS.get(granted.get(name, ""), -1) >= LEVELS.get(level, 0)


def beyond(name: str, level: str, wanted: set[str]) -> bool:
    """Whether an App's right is more than any action needs; metadata:read comes with every App."""
    most = max((LEVELS.get(right.partition(":")[2], 0) for right in wanted if right.startswith(f"{name}:")), default=-1)
    return name != "metadata" and LEVELS.get(level, 0) > most
