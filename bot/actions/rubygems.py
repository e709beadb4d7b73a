"""RubyGems.org: check a key, find versions that nobody released, yank one.

A yank takes the file away for good; nobody but RubyGems.org's administrators brings one back, and its number is gone.
What was published more than thirty days ago, or downloaded more than 100,000 times, only they delete
(rubygems/rubygems.org, ``Deletion``).
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from bot.action import Action
from bot.actions import packages
from bot.actions.packages import FindBefore, FindIn, FindOutcome, TokenBefore, TokenIn, TokenOutcome, YankBefore
from bot.errors import Rejected
from bot.model import Breaks, Effect, EvidenceRef, Outcome, PackageVersion, Proof
from bot.registries.rubygems import platform_of
from bot.world import World

NAME = "rubygems"
YOUNG, WIDESPREAD = timedelta(days=30), 100_000
HELP = "support@rubygems.org"

check_key = Action(
    name="rubygems.check_key", title="Check a RubyGems.org key", inputs=TokenIn, before=TokenBefore,
    outcome=TokenOutcome, effect=Effect.READ, look=packages.look_token,
    run=packages.check_token, prove=packages.prove_token,
)  # fmt: skip

find_unexplained_versions = Action(
    name="rubygems.find_unexplained_versions", title="Find versions on RubyGems.org that no tag or run explains",
    inputs=FindIn, before=FindBefore, outcome=FindOutcome, effect=Effect.READ, look=packages.look_packages,
    run=packages.find, prove=packages.prove_find, permissions=packages.FIND_PERMISSIONS,
)  # fmt: skip


def _look_yank(world: World, given: PackageVersion) -> YankBefore:
    found, row = packages.look_yank(world, NAME, given.package, given.version)
    if row is None:
        return found
    rule = ""
    if world.now() - datetime.fromisoformat(row.at) > YOUNG:
        rule = f"it was published {row.at[:10]}, more than 30 days ago"
    elif (row.downloads or 0) > WIDESPREAD:
        rule = f"it was downloaded {row.downloads:,} times, more than {WIDESPREAD:,}"
    if not rule:
        return found
    said = f"RubyGems.org's rules forbid to yank {given}: {rule}; ask {HELP}"
    return replace(found, needed=False, forbidden=rule, summary=said)


def _save(world: World, given: PackageVersion, _before: YankBefore) -> tuple[EvidenceRef, ...]:
    return packages.save_version(world, NAME, given.package, given.version)


def _yank(world: World, given: PackageVersion, before: YankBefore) -> Outcome:
    """One request a platform. Raises Rejected with the rule against it."""
    if before.forbidden:
        said = f"RubyGems.org's rules forbid to yank {given}: {before.forbidden}; ask {HELP}"
        raise Rejected(said, provider="rubygems", code="403")
    row = packages.release(world, NAME, given.package, given.version) if before.needed else None
    if row is None:
        return Outcome(changed=False, summary=f"{given} is gone")
    for file in row.files:
        form = {"gem_name": given.package, "version": given.version, "platform": platform_of(row, file)}
        packages.registry(world, NAME).send("DELETE", "/api/v1/gems/yank", form=form)
    return Outcome(changed=True, summary=f"Yanked {given}")


def _prove_yank(world: World, given: PackageVersion, _before: YankBefore, _outcome: Outcome) -> Proof:
    return packages.prove_yank(world, NAME, given.package, given.version)


def _breaks_yank(before: YankBefore) -> Breaks:
    return packages.breaks_yank(before, "installs whose lock file names it fail: the file is gone")


yank = Action(
    name="rubygems.yank", title="Yank a version on RubyGems.org", inputs=PackageVersion, before=YankBefore,
    outcome=Outcome, effect=Effect.DESTROY, look=_look_yank, run=_yank, prove=_prove_yank, breaks=_breaks_yank,
    evidence=_save, permissions=("yank_rubygem",), proof_deadline=900.0,
    undo_none="RubyGems.org gives no version back to its owner, and never takes its number again",
)  # fmt: skip
