"""Names and places of what stands on a timeline, for people who see it for the first time. Pure."""

from __future__ import annotations

from collections.abc import Mapping

# kind of a credential or of something planted -> how it is called, and where it is known
KINDS: Mapping[str, tuple[str, str]] = {
    "aws-access-key": ("AWS key {}", "cloud"),
    "aws-session": ("the session {}", "cloud"),
    "aws-user": ("the user {}", "cloud"),
    "aws-role": ("the role {}", "cloud"),
    "aws-login-profile": ("the console password of {}", "cloud"),
    "aws-user-policy": ("the policy {}", "cloud"),
    "aws-role-policy": ("the policy {}", "cloud"),
    "aws-trust": ("the way into the role {}", "cloud"),
    "aws-role-sessions": ("the sessions of the role {}", "cloud"),
    "gcp-service-account-key": ("Google Cloud key", "cloud"),
    "gcp-access-token": ("an access token bought with the {}", "cloud"),
    "sts-session": ("a session of the {}", "cloud"),
    "npm-token": ("npm token", "registry"),
    "version": ("the version {}", "registry"),
    "pypi-token": ("PyPI token", "registry"),
    "crates-token": ("crates.io token", "registry"),
    "rubygems-key": ("RubyGems key", "registry"),
    "dockerhub-pat": ("Docker Hub token", "registry"),
    "dockerhub-oat": ("Docker Hub token of the organization", "registry"),
    "dockerhub-session": ("what was bought with the {}", "registry"),
    "github-pat-classic": ("GitHub token", "pipeline"),
    "github-pat-fine-grained": ("GitHub token", "pipeline"),
    "github-token": ("the job token of {}", "runner"),
    "github-deploy-key": ("the deploy key {}", "pipeline"),
    "github-workflow-file": ("the planted workflow {}", "pipeline"),
    "github-collaborator": ("the account {}", "pipeline"),
    "github-runner": ("the planted runner {}", "runner"),
    "github-stolen-secret": ("the secret {}", "store"),
    "secret": ("the secret {}", "store"),
    "oidc-role": ("the role {}", "cloud"),
}  # fmt: skip
PROVIDERS: Mapping[str, str] = {
    "aws": "cloud", "gcp": "cloud", "github": "pipeline", "people": "people",
    **dict.fromkeys(("npm", "pypi", "crates", "rubygems", "dockerhub"), "registry"),
}  # fmt: skip
SERVICES: Mapping[str, str] = {
    **PROVIDERS, "iam": "cloud", "sts": "cloud", "s3": "cloud", "registry": "open", "oidc": "issuer",
}  # fmt: skip
# what an act of the thief makes: kind of what is found later
MAKES: Mapping[str, str] = {
    "iam:CreateAccessKey": "access-key", "iam:CreateUser": "user", "iam:AttachUserPolicy": "user-policy",
    "iam:PutUserPolicy": "user-policy", "iam:CreateLoginProfile": "login-profile",
    "iam:UpdateAssumeRolePolicy": "trust", "github:AddDeployKey": "github-deploy-key",
    "github:PushWorkflow": "github-workflow-file", "github:AddRunner": "github-runner",
    "github:InviteCollaborator": "github-collaborator", "sts:AssumeRole": "role-sessions",
    "sts:GetSessionToken": "sts-session", "gcp:BuyToken": "gcp-access-token",
    **{f"{registry}:Publish": "version" for registry, place in PROVIDERS.items() if place == "registry"},
}  # fmt: skip


def short(text: str) -> str:
    """An id that people compare by its ends; a path by its last part."""
    if text.startswith(("AKIA", "ASIA")) and len(text) > 12:
        return f"{text[:4]}…{text[-4:]}"
    if text.startswith("arn:") or text.count("/") > 1:
        return text.rsplit("/", 1)[-1]
    return text


def named(key: str) -> str:
    """A key of the ledger as people say it: aws-access-key:AKIA… is "AWS key AKIA…"."""
    kind, _, rest = key.partition(":")
    words = KINDS.get(kind, (kind.replace("-", " ").replace("github", "GitHub") + " {}", ""))[0]
    name = "" if rest.startswith("hmac:") else short(rest)
    if kind == "aws-user-policy":
        user, _, policy = rest.partition("/")
        name = f"{short(policy)} of {user}"
    if kind in ("github-deploy-key", "github-runner"):
        name = f"of {rest.rpartition('/')[0]}"
    return words.format(name).strip()


def place(key: str) -> str:
    """Where something of the ledger is known: the provider that can cut it."""
    kind = key.partition(" of ")[0].partition(":")[0]
    return KINDS.get(kind, ("", ""))[1] or PROVIDERS.get(kind.partition("-")[0], "pipeline")


# how ``story.ACTS`` begin -> the same of what was not let happen
CANNOT = {
    "made": "make", "gave": "give", "let": "let", "looked": "look", "opened": "open", "saved": "save", "asked": "ask",
    "waited": "wait", "got": "get", "added": "add", "pushed": "push", "listed": "list",
}  # fmt: skip


def refused(said: str, code: str) -> str:
    """An act of the thief's script that was refused, as a sentence."""
    verb, _, rest = said.partition(" ")
    why = code if " " in code else f"refused, {code}"
    if verb in CANNOT and " " not in code:
        return f"The thief cannot {CANNOT[verb]} {rest.partition(':')[0]}: {why}"
    return f"The thief {said}: {why}"


def version(made: str) -> str:
    """The version of NAME@VERSION, or of NAME VERSION."""
    return made.replace("@", " ").rpartition(" ")[2]


def worked_at(uses: str) -> str:
    """The place at which an action works."""
    provider, _, verb = uses.partition(".")
    if provider == "github":
        if "secret" in verb:
            return "store"
        if "logs" in verb:
            return "open"
        return "runner" if "runs" in verb or "green" in verb else "pipeline"
    return PROVIDERS.get(provider, "bulkhead")


def plain(text: str) -> str:
    """A sentence for a caption: a capital in front, one full stop behind."""
    text = text.strip().rstrip(":").strip()
    if not text:
        return ""
    if not text.startswith(("npm", "http", ".")) and not {"/", ":"} & set(text.split()[0]):
        text = text[0].upper() + text[1:]
    return text if text.endswith((".", "?", "!", "…")) else f"{text}."


def secret_free(answer: str) -> str:
    """An answer that is a reference into the vault says where the value is, not what it is."""
    return "a new value, sealed in the vault" if answer.startswith("vault:") else answer
