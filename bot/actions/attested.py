"""What GitHub attests of an image: asked by its digest, whichever registry the image is in, and in words for people.

docs.github.com/rest/repos/attestations, "List attestations": a fine-grained token needs ``attestations:read``. A digest
of which there is none is an empty list, 404 or 422, and from the API's version 2026-03-10 on the list has addresses in
place of bundles (github.com/spencerbeggs/effected, packages/github, Attestation.ts).
"""

from __future__ import annotations

from typing import Any

from bot.actions.github import repository_path
from bot.errors import NotFound, Rejected
from bot.signals import slsa
from bot.signals.collect import images
from bot.signals.facts import Attestations, Signed, Version, of_kind
from bot.signals.provenance import verified
from bot.world import World

MOST = 10  # images that are asked for beside those that are in question


def attested(world: World, repository: str, digest: str) -> Attestations:
    """The provenance that a repository has of a digest. Raises Rejected for a list that does not hold what it lists."""
    path = f"{repository_path(repository)}/attestations/{digest}"
    try:
        rows = list(world.github.get(path, per_page=100)["attestations"])
    except NotFound:
        rows = []
    except Rejected as exc:
        if exc.code != "422":
            raise
        rows = []
    try:
        bundles = [images.bundle_in(row) for row in rows]
    except ValueError as exc:
        raise Rejected(str(exc), provider="github") from None
    return images.attestations(path, repository, digest, [bundle for bundle in bundles if _of_a_build(bundle)])


def _of_a_build(bundle: dict[str, Any]) -> bool:
    """Whether it is provenance, or cannot be read; an SBOM says nothing of the build."""
    try:
        return bool(slsa.statement_of(bundle)["predicateType"] == slsa.PROVENANCE)
    except slsa.MALFORMED:
        return True


def told(world: World, repository: str, doubted: list[Version], others: list[Version]) -> dict[str, str]:
    """What is to be said of the provenance of doubted images beside others of the same name, by digest.

    Nothing is said of one without provenance where the others have none. Raises ProviderError, and InputError for the
    trust root.
    """
    newest = sorted(others, key=lambda one: one.at, reverse=True)[:MOST]
    asked = [*doubted, *newest]
    facts = verified([*asked, *(attested(world, repository, one.digests[0]) for one in asked)], world.trust_root)
    found = {one.digests[0]: one for one in of_kind(facts, Version)}
    good = [one for one in newest if found[one.digests[0]].signed == Signed.VERIFIED]
    return {one.digests[0]: _words(found[one.digests[0]], len(good)) for one in doubted}


def _words(version: Version, good: int) -> str:
    others = f"{good} other{'s have' if good != 1 else ' has'}"
    if version.signed == Signed.VERIFIED:
        return f"with provenance of {version.built_by} {version.workflow}".strip()
    if version.signed:
        return f"with provenance that is {version.signed}"
    return f"without the provenance that {others}" if good else ""
