"""What the page teaches beside the replay: the signals of a stolen CI token, and what OIDC alone does not stop.

The cases are of 2018 to 2026; each row names its own, with the report that was read.
"""

from __future__ import annotations

from dataclasses import dataclass

SIGNALS = (
    ("Where a deploy comes from", "A deploy or a publish by a workflow or from a branch that never does it."),
    ("The release path", "A version of a package for which there is no tag, no release and no run."),
    ("What the cloud is asked", "Calls of the CI's identity to services that it never touches: users, keys, roles."),
    ("Build logs", "A secret in the output, also encoded: masking finds the plain value only."),
    ("The time", "A token that is used after its job has ended."),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One way in, and what it takes to close it."""

    way: str
    stored: str
    verdict: str
    oidc: str
    more: str
    seen: str
    source: str = ""


LIMITS = (
    Limit(
        way="Printed in a log", stored="Works until somebody rotates it.", verdict="Stopped, in minutes.",
        oidc="What was printed is dead by then.", more="The same.",
        seen="tj-actions, March 2025; where only temporary tokens were printed, nothing came of it",
        source="https://github.com/netlify/build/issues/6127",
    ),
    Limit(
        way="A poisoned action or dependency in a build job", stored="Stolen, with all else that the job can read.",
        verdict="Depends.", oidc="Nothing to steal, unless that job has id-token: write.",
        more="Only the publishing job may mint; the build job has no permission to.",
        seen="Trivy to LiteLLM, March 2026", source="https://github.com/aquasecurity/trivy-action/issues/541",
    ),
    Limit(
        way="A poisoned cache in the release job", stored="Stolen.", verdict="Not stopped.",
        oidc="A token is minted and used at once, with valid provenance.",
        more="A reviewer before the environment, and a release job that restores no cache.",
        seen="TanStack, May 2026", source="https://www.cve.org/CVERecord?id=CVE-2026-45321",
    ),
    Limit(
        way="A workflow pushed with a stolen account", stored="Every secret that it names is sent away.",
        verdict="Not stopped", oidc="where the trust does not name branch and environment: any branch can mint.",
        more="Bind workflow, environment and protected branch; leave no field of a trusted publisher blank.",
        seen="GhostAction, September 2025", source="https://blog.pypi.org/posts/2025-09-16-github-actions-token-exfiltration/",
    ),
    Limit(
        way="The laptop of a maintainer", stored="Stolen, and it publishes from anywhere.", verdict="Stopped,",
        oidc="if the registry takes no tokens any more: there is nothing on the laptop to publish with.",
        more="Disallow tokens at the registry; a second factor that cannot be relayed.",
        seen="axios, March 2026", source="https://github.com/axios/axios/issues/10636",
    ),
    Limit(
        way="The old token that nobody deleted", stored="Stolen.", verdict="Not stopped.",
        oidc="It works as it always did; provenance beside it changes nothing.",
        more="Delete it, and disallow tokens: a migration ends there, not before.",
        seen="Ultralytics, December 2024", source="https://blog.pypi.org/posts/2024-12-11-ultralytics-attack-analysis/",
    ),
)  # fmt: skip
