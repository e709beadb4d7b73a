"""The clients and the clock of a World, by where it is: the providers themselves, or the range and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import github

from bot.accounts import Accounts, load_map, read_map
from bot.clients import AwsClients, GitHubClient, RangeClock, RealClock
from bot.errors import SettingsError
from bot.external import SignIn, Stores, clients_at, clients_of, load_stores, read_stores
from bot.gcp import KIND as GCP_KEY
from bot.gcp import GcpClient, own_name
from bot.images import ImageClient
from bot.installations import Installations
from bot.npm import NpmClient
from bot.registries import CratesClient, DockerHubClient, GhcrClient, PypiClient, RubyGemsClient
from bot.settings import Settings
from bot.triage.identify import Recognizer
from bot.triage.longtail import Tail
from bot.world import (
    REAL,
    Aws,
    Clock,
    Declared,
    ExternalStore,
    Gcp,
    GitHub,
    Images,
    ImageTags,
    LongTail,
    Npm,
    RangeEndpoints,
    Registry,
)

RANGE_REGIONS = ("eu-north-1",)  # of the drill company, beside us-east-1


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Clients and clock that all incidents of one World share."""

    name: str
    aws: Aws
    github: GitHub
    clock: Clock
    identities: tuple[str, ...]
    github_app: GitHub | None = None
    images: Images | None = None
    npm: Npm | None = None
    registries: Mapping[str, Registry] = field(default_factory=dict)
    long_tail: Callable[[Recognizer], LongTail] | None = None  # made over the rules that the house has loaded
    gcp: Gcp | None = None
    ghcr: ImageTags | None = None
    trail: str = ""
    external: Mapping[str, ExternalStore] = field(default_factory=dict)
    declared: tuple[Declared, ...] = ()
    accounts: Accounts | None = None  # every account of AWS; without it ``aws`` is the only one
    trust_root: str = ""


def range_site(endpoints: RangeEndpoints) -> Site:
    """The range's clients. ``RangeEndpoints`` has refused every address outside loopback."""
    _without_proxy("127.0.0.1")
    clock = RangeClock(endpoints.control)
    aws = AwsClients(
        key_id=endpoints.aws_key_id, secret=endpoints.aws_secret, endpoint=endpoints.aws, others=RANGE_REGIONS
    )
    known = read_map(endpoints.account_map, "the range's account map") if endpoints.account_map else None
    accounts = Accounts(known, aws, clock.now, partial(AwsClients, endpoint=endpoints.aws)) if known else None
    stores = read_stores(endpoints.stores, "the range's stores") if endpoints.stores else Stores()
    return Site(
        name="range",
        aws=aws,
        accounts=accounts,
        external=clients_at(
            stores, lambda number: _in_account(number, accounts, aws),
            vault=SignIn(endpoints.vault, endpoints.vault_token),
            kubernetes=SignIn(endpoints.kubernetes, endpoints.kubernetes_token),
        ),
        declared=stores.declared,
        github=GitHubClient(token=endpoints.github_token, base_url=endpoints.github),
        clock=clock,
        identities=(
            f"aws-access-key:{endpoints.aws_key_id}", "github-token:bulkhead-bot", *own_gcp(endpoints.gcp_key_file)
        ),
        github_app=_as_app(endpoints.github_app_id, endpoints.github_app_key, endpoints.github),
        images=ImageClient(loopback=True) if endpoints.registry else None,
        npm=NpmClient(token=endpoints.npm_token, base_url=endpoints.npm, downloads_url=endpoints.npm)
        if endpoints.npm
        else None,
        registries=range_registries(endpoints.registries, endpoints.registry_tokens),
        gcp=range_gcp(endpoints.gcp, endpoints.gcp_key_file, clock) if endpoints.gcp else None,
        ghcr=GhcrClient(token=endpoints.github_token, base_url=endpoints.registry) if endpoints.registry else None,
        trust_root=endpoints.trust_root,
    )  # fmt: skip


def range_gcp(url: str, key_file: str, clock: Clock) -> GcpClient:
    """The client of the range's Google Cloud, where all of Google's hosts are one server."""
    return GcpClient(key_file=key_file, now=clock.now, iam_url=url, resources_url=url, tokens_url=url)


def own_gcp(key_file: str) -> tuple[str, ...]:
    """The bot's own service-account key, as ``World.identities`` names it. Raises InputError for another file."""
    name = own_name(key_file)
    return (f"{GCP_KEY}:{name}",) if name else ()


def range_registries(urls: Mapping[str, str], tokens: Mapping[str, str]) -> dict[str, Registry]:
    """The clients of the registries that the range has; there each is one server, files and index included."""
    made: dict[str, Registry] = {}
    if url := urls.get("pypi"):
        made["pypi"] = PypiClient(base_url=url, upload_url=url, files_url=url)
    if url := urls.get("crates"):
        token = tokens.get("crates", "")
        made["crates"] = CratesClient(token=token, base_url=url, index_url=f"{url}/index", files_url=url)
    if url := urls.get("rubygems"):
        made["rubygems"] = RubyGemsClient(token=tokens.get("rubygems", ""), base_url=url)
    if url := urls.get("dockerhub"):
        user, _, token = tokens.get("dockerhub", "").partition(":")
        made["dockerhub"] = DockerHubClient(
            user=user, token=token, base_url=f"{url}/hub", registry_url=url, auth_url=url
        )  # fmt: skip
    return made


def _without_proxy(host: str) -> None:
    """PyGithub takes the machine's proxy from the environment, and no proxy leads to loopback."""
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        if host not in known.split(","):
            os.environ[name] = f"{known},{host}" if known else host


def real_site(settings: Settings) -> Site:
    """The providers themselves, as the environment's identities (boto3 finds AWS's in its usual places)."""
    others = tuple(filter(None, settings.aws_regions.split(",")))
    aws, clock = AwsClients(region=settings.aws_region, others=others), RealClock()
    accounts = Accounts(load_map(settings.aws_accounts), aws, clock.now) if settings.aws_accounts else None
    stores = load_stores(settings.stores) if settings.stores else Stores()
    gcp_key = settings.gcp_key_file.read_text() if settings.gcp_key_file else ""
    return Site(
        name=REAL,
        aws=accounts.for_credential("") if accounts else aws,
        accounts=accounts,
        external=clients_of(stores, lambda number: _in_account(number, accounts, aws)),
        declared=stores.declared,
        github=_github(settings),
        clock=clock,
        identities=(
            *(f"aws-access-key:{key}" for key in aws.own_key_ids()),
            *((f"github-app:{settings.github_app_id}",) if settings.github_app_id else ()),
            *own_gcp(gcp_key),
        ),
        github_app=app_of(settings) if settings.github_app_id else None,
        images=ImageClient(),
        npm=NpmClient(token=settings.npm_token.get_secret_value()),
        registries={
            "pypi": PypiClient(), "crates": CratesClient(token=settings.crates_token.get_secret_value()),
            "rubygems": RubyGemsClient(token=settings.rubygems_key.get_secret_value()),
            "dockerhub": DockerHubClient(
                user=settings.dockerhub_user, token=settings.dockerhub_token.get_secret_value()
            ),
        },
        long_tail=Tail,
        gcp=GcpClient(key_file=gcp_key, now=clock.now),
        trail=settings.trail,
        ghcr=GhcrClient(token=settings.github_token.get_secret_value()),
        trust_root=settings.trust_root.read_text() if settings.trust_root else "",
    )  # fmt: skip


def _in_account(number: str, accounts: Accounts | None, own: Aws) -> Aws:
    """AWS as an account's, or our own for ''. Raises SettingsError for one that is not in the map."""
    if accounts is None and number:
        raise SettingsError(f"a store is in AWS account {number}: BULKHEAD_AWS_ACCOUNTS must name how it is let in")
    return accounts.in_account(number) if accounts else own


def _github(settings: Settings) -> GitHub:
    """As the App where there is one, else by a token."""
    if settings.github_app_id:
        return installations(settings)
    return GitHubClient(token=settings.github_token.get_secret_value() or "none", base_url=settings.github_api)


def installations(settings: Settings) -> Installations:
    """GitHub as the App of the settings, wherever it is installed."""
    return installations_of(
        settings.github_app_id, settings.github_app_key.get_secret_value(), settings.github_api,
        settings.github_app_installation,
    )  # fmt: skip


def installations_of(app_id: int | str, key: str, base_url: str, only: int = 0) -> Installations:
    """The same of an App by its id and its private key."""
    auth = github.Auth.AppAuth(app_id, key)

    def mint(installation: int, permissions: dict[str, str] | None) -> GitHubClient:
        return GitHubClient(auth=auth.get_installation_auth(installation, permissions), base_url=base_url)

    return Installations(GitHubClient(auth=auth, base_url=base_url), mint, only)


def app_of(settings: Settings) -> GitHub:
    """GitHub as the App itself, which may only ask about its installations."""
    found = _as_app(settings.github_app_id, settings.github_app_key.get_secret_value(), settings.github_api)
    assert found is not None, "only asked where an App is set"
    return found


def _as_app(app_id: int | str, key: str, base_url: str) -> GitHub | None:
    return GitHubClient(auth=github.Auth.AppAuth(app_id, key), base_url=base_url) if app_id else None
