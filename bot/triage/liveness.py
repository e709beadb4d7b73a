"""Does a credential still work? Asked in ways that change nothing at the provider but its own log.

AWS: ``sts:GetCallerIdentity`` with the value, which no policy can deny to a live key; with an id alone, what IAM says
of it. GitHub: ``GET /rate_limit``, which counts against no limit. Registries: what each says to a question that changes
nothing there. Google Cloud: whether IAM takes what the key signs, which buys nothing. Kinds without such a look are
unknown, and say so.
"""

from __future__ import annotations

from bot.accounts import VARIABLE
from bot.clients import aws_errors
from bot.errors import Forbidden, NotFound, ProviderError, Refused
from bot.gcp import KIND as GCP_KEY
from bot.model import OTHER, Credential, Liveness, Secret
from bot.registries import REGISTRY_OF
from bot.triage.gcp import gcp_liveness
from bot.triage.npm import NPM_TOKEN, npm_liveness
from bot.triage.registries import registry_liveness
from bot.world import World

GITHUB_KINDS = {"github-pat-classic", "github-pat-fine-grained", "github-oauth", "github-installation"}
NOT_ITS_OWN = "the secret that was found with it is not its own"
Verdict = tuple[Liveness, str]


def session_token_label(credential: Credential) -> str:
    """The label under which the token of an AWS session is sealed, beside its secret."""
    return f"session-token:{credential.key}"


def liveness(world: World, credential: Credential) -> Verdict:
    """Whether it works, and how that is known. A provider that does not answer makes it unknown, never an error."""
    try:
        if credential.kind in ("aws-access-key", "aws-session"):
            return _aws(world, credential)
        if credential.kind in GITHUB_KINDS:
            return _github(world, credential)
        if credential.kind == NPM_TOKEN:
            return npm_liveness(world, credential)
        if credential.kind in REGISTRY_OF:
            return registry_liveness(world, credential)
        if credential.kind == GCP_KEY:
            return gcp_liveness(world, credential)
    except ProviderError as exc:
        return Liveness.UNKNOWN, str(exc)
    if credential.kind.startswith(OTHER):
        return Liveness.UNKNOWN, "its value is shown to nobody before a person has agreed"
    return Liveness.UNKNOWN, f"there is no look without side effects for a {credential.kind}; a person has to say"


def iam_user(world: World, key_id: str) -> str:
    """The IAM user of an access key, as our account knows it; '' when it knows none. Raises bot.errors."""
    with aws_errors(f"ask who owns {key_id}"):
        return str(world.aws.client("iam").get_access_key_last_used(AccessKeyId=key_id).get("UserName", ""))


def _aws(world: World, credential: Credential) -> Verdict:
    secret = world.secrets.of(credential.key)
    if not credential.id:
        return Liveness.UNKNOWN, "only the secret half was found; without its access key id nothing can be asked"
    if secret is not None:
        said = _aws_tried(world, credential, secret)
        if said is not None:
            return said
    if credential.kind == "aws-session":
        return Liveness.UNKNOWN, f"AWS tells nothing about session {credential.id} without its secret and token"
    by_state, why = _aws_state(world, credential)
    if secret is not None:
        why += f"; {NOT_ITS_OWN}"
    return by_state, why


def _aws_tried(world: World, credential: Credential, secret: Secret) -> Verdict | None:
    """What STS says to the value itself; None when the halves are not of one key, which says nothing of the key."""
    token = world.secrets.open(world.secrets.ref(session_token_label(credential)))
    if credential.kind == "aws-session" and token is None:
        return None
    try:
        with aws_errors(f"try {credential.id}"):
            answer = world.aws.client_as("sts", credential.id, secret, token).get_caller_identity()
    except Refused as exc:
        if exc.code == "SignatureDoesNotMatch":
            return None
        return Liveness.DEAD, f"AWS refuses it: {exc.code}"
    except Forbidden as exc:
        return Liveness.LIVE, f"AWS knows it and denies it {exc.permission}: {exc.code}"
    return Liveness.LIVE, f"AWS answers it as {answer['Arn']}"


def _aws_state(world: World, credential: Credential) -> Verdict:
    key_id = credential.id
    try:
        user = iam_user(world, key_id)
    except (NotFound, Forbidden) as exc:
        return _not_ours(world, credential, str(exc))
    if not user:
        return _not_ours(world, credential, f"IAM names no user of {key_id}")
    with aws_errors(f"list the access keys of {user}"):
        pages = list(world.aws.client("iam").get_paginator("list_access_keys").paginate(UserName=user))
    for key in (each for page in pages for each in page["AccessKeyMetadata"]):
        if key["AccessKeyId"] == key_id:
            state = Liveness.LIVE if key["Status"] == "Active" else Liveness.DEAD
            return state, f"IAM says {key['Status']}: a key of user {user}"
    return Liveness.DEAD, f"user {user} has no key {key_id} any more"


def _not_ours(world: World, credential: Credential, why: str) -> Verdict:
    """A key that IAM does not know is gone if it was of our account, else it says nothing."""
    with aws_errors("ask for our own account"):
        ours = str(world.aws.client("sts").get_caller_identity()["Account"])
    if credential.account and credential.account != ours:
        return Liveness.UNKNOWN, (
            f"{credential.id} belongs to account {credential.account}, and we are in {ours}; {VARIABLE} names others"
        )
    if credential.account == ours and "AccessDenied" not in why:
        return Liveness.DEAD, f"account {ours} has no key {credential.id} any more"
    return Liveness.UNKNOWN, why


def _github(world: World, credential: Credential) -> Verdict:
    secret = world.secrets.of(credential.key)
    if secret is None:
        return Liveness.UNKNOWN, "GitHub can only be asked with the token itself, and it is not held"
    status = world.github.status_as(secret)  # /user would refuse a live ghs_ token with 403
    if status == 200:
        return Liveness.LIVE, "GitHub accepts it: 200 to /rate_limit"
    if status == 401:
        return Liveness.DEAD, "GitHub refuses it: 401 to /rate_limit"
    return Liveness.UNKNOWN, f"GitHub answered {status} to /rate_limit"
