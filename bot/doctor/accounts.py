"""The accounts of the map: whether each role lets us in, and whether the one that reads can do no more than that."""

from __future__ import annotations

from bot.accounts import Account, Accounts
from bot.clients import only_reads
from bot.doctor.aws import AWS_ACTS, allowed, fails, lacks, matches, power
from bot.doctor.found import BROKEN, OK, WARNING, Finding, Power, needs
from bot.errors import Forbidden, NotFound, ProviderError
from bot.sites import Site


def look(site: Site) -> tuple[list[Finding], list[Power]]:
    """Findings of each account that has roles, and what a thief of the role that acts could do there."""
    findings: list[Finding] = []
    powers: list[Power] = []
    for account in site.accounts.map.accounts.values() if site.accounts else ():
        if account.read and site.accounts:
            found, power_ = _one(site.accounts, account)
            findings += found
            powers += [power_] if power_ else []
    return findings, powers


def _one(accounts: Accounts, account: Account) -> tuple[list[Finding], Power | None]:
    name = f"AWS account {account}"
    shut = {arn: why for arn, why in accounts.check(account.number).items() if why}
    disables = {
        account.read: "No key of this account can be looked at.",
        account.act: "What is found in this account cannot be cut.",
    }
    if shut:
        return [Finding(name=name, state=BROKEN, detail=why, disables=disables[arn]) for arn, why in shut.items()], None
    findings = [Finding(name=name, state=OK, detail=f"read by {account.read}, changed by {account.act}")]
    iam = accounts.of(account.number).client("iam")
    try:
        reads, acts = (allowed(iam, _session(arn)) for arn in (account.read, account.act))
    except (Forbidden, NotFound):
        hint = "Let the role that reads read both roles' policies: iam:GetRolePolicy and iam:ListRolePolicies on them"
        said = Finding(name=name, state=WARNING, detail="what its roles may do cannot be read", suggestion=hint)
        return [*findings, said], None
    except ProviderError as exc:
        return [Finding(name=name, state=BROKEN, detail=str(exc), disables=disables[account.read])], None
    return [*findings, *_judged(name, reads, acts)], power(account.act, acts, _rights(reading=False))


def _rights(*, reading: bool) -> set[str]:
    """The least permissions of all actions, for the role that reads or for the one that acts."""
    return {right for right in needs("aws") if only_reads(right) == reading}


def _judged(name: str, reads: set[str], acts: set[str]) -> list[Finding]:
    """What each role lacks, and what makes the one that reads too strong."""
    found = []
    for who, patterns in (("reads", reads), ("acts", acts)):
        if lacking := lacks(_rights(reading=who == "reads"), patterns):
            detail = f"the role that {who} lacks {', '.join(lacking)}"
            found.append(Finding(name=name, state=WARNING, detail=detail, disables=fails(lacking)))
    changes = {right for right in {*needs("aws"), *AWS_ACTS} if not only_reads(right)}
    strong = sorted(p for p in reads if any(matches(right, {p}) for right in changes))
    if strong:
        hint = f"Take {', '.join(strong)} away from it: docs/permissions.md has a policy that only reads."
        detail = f"the role that reads is too strong: {', '.join(strong)}"
        text = "Whoever takes the reading identity could change things with it."
        found.append(Finding(name=name, state=WARNING, detail=detail, disables=text, suggestion=hint))
    return found


def _session(arn: str) -> str:
    """A role's ARN as STS names its sessions, which is what policies are looked up by."""
    number, _, path = arn.removeprefix("arn:").partition(":role/")
    return f"arn:aws:sts::{number.rpartition(':')[2]}:assumed-role/{path.rpartition('/')[2]}/doctor"
