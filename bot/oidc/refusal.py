"""Why a credential is not migrated: a closed list of codes, each with what it means."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CODES: Mapping[str, str] = MappingProxyType({
    "anchor": "The part to edit is a YAML anchor or alias, so one edit would change several places.",
    "both-ways": "The job already uses OIDC for this provider beside the secret; what the secret is for is not plain.",
    "called-elsewhere": "The secret is handed to a workflow of another repository, which has to change first.",
    "callee-missing": "The secret is handed to a workflow or action of this repository whose file was not given.",
    "callers-unknown": "The workflow is called by others whose files were not given; each has to grant id-token.",
    "computed": "The secret is chosen by an expression (toJSON, a computed name), so its uses cannot be listed.",
    "consumers-unknown": "The secret stands in the env of a whole workflow and it is not plain which jobs use it.",
    "flow-style": "The part to edit is written in braces or brackets over several lines.",
    "forwarded": "The value is handed on to a file, a container or a variable, where a session token is missing.",
    "half": "Another carrier of the secret cannot be migrated, so none is: a half-migration helps nobody.",
    "no-federation": "The provider has no federation with GitHub that replaces this kind of secret.",
    "not-needed": "The value comes from GITHUB_TOKEN or another short-lived source; there is nothing to migrate.",
    "not-only-publish": "The token also does what trusted publishing cannot (owners, dist-tags, private installs).",
    "other": "None of the codes fits; the reason stands beside it.",
    "other-service": "The variable is one of this provider, but the address it is used at belongs to another service.",
    "permissions-unknown": "The job states no permissions and uses GITHUB_TOKEN in a way whose scopes cannot be told.",
    "plan-needed": "The provider's federation needs a paid plan or an organisation account, which a file cannot tell.",
    "publish-in-script": "The upload stands within a longer script or condition and cannot be moved out of it safely.",
    "reached-by-forks": "Pull requests alone start the job, or they run code that must not get the identity.",
    "renamed": "The key goes under another name to a script that reads it by that name; no SDK would look there.",
    "self-hosted": "The registry takes identities of GitHub-hosted runners only, and this job runs on others.",
    "tool-cannot": "The tool or action that uses the secret cannot work with federation.",
    "unreadable": "The file cannot be read as one YAML document whose edits can be checked.",
    "untrusted-trigger": "The job is started by pull_request_target or workflow_run, which no trust should name.",
    "write-in-place": "The value stands within a quoted or folded text where an exact edit cannot be made.",
})  # fmt: skip


class Refusal(Exception):
    """A credential that is left as it is.

    ``hand``: what a person can do instead. ``lacks``: the file or the setting that was not given and would decide it.
    """

    def __init__(self, code: str, why: str, hand: str = "", *, lacks: str = "") -> None:
        if code not in CODES:
            raise ValueError(f"{code} is not in the list of refusals")
        self.code, self.why, self.hand, self.lacks = code, why, hand, lacks
        super().__init__(f"{code}: {why}")
