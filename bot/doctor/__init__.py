"""What is configured, what each missing thing disables, and what the bot's own identities could destroy if stolen.

Everything here only reads. What a provider does not let us read is said, not guessed.
"""

from __future__ import annotations

from dataclasses import asdict

from bot.doctor import accounts, aws, clocks, gcp, github, npm, own, registries, stores
from bot.doctor.found import OK, Examination, Finding, needs
from bot.doctor.own import drilled
from bot.settings import Settings
from bot.sites import real_site

__all__ = ["Examination", "Finding", "drilled", "examine", "needs"]


def examine(settings: Settings) -> Examination:
    """Look at the installation. Raises nothing for what is missing or does not answer: that is what it reports."""
    from bot.slack.checks import checks  # nobody else here pays for importing Slack's libraries

    site, found = real_site(settings), Examination()
    token = bool(settings.npm_token.get_secret_value())
    for findings, power in (github.look(settings, site), aws.look(site), npm.look(site, token=token)):
        found.findings.extend(findings)
        found.powers.extend([power] if power else [])
    for findings, powers in (accounts.look(site), stores.look(site), registries.look(settings, site)):
        found.findings.extend(findings)
        found.powers.extend(powers)
    finding, power = gcp.look(site, settings.gcp_key_file.read_text() if settings.gcp_key_file else "")
    found.findings.append(finding)
    found.powers.extend([power] if power else [])
    answered = {one.name: one.state == OK for one in found.findings if one.name in ("AWS", "GitHub")}
    found.findings.extend(clocks.look(site, aws=answered.get("AWS", False), github=answered.get("GitHub", False)))
    slack = [Finding(**asdict(one)) for one in checks(settings)]
    found.findings.extend([*own.people(settings), *slack, *own.state(settings), *own.books(settings)])
    return found
