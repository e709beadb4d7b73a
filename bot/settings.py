"""Environment -> Settings, once; every problem is reported together.

Variables start with ``BULKHEAD_``. Nothing has to be set to run a drill.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import urlsplit

import platformdirs
from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from bot.errors import SettingsError
from bot.quiet import Quiet

POSTURES = ("one", "two", "person", "lead")  # where people answer; a lead runs an incident
GITHUB_API = re.compile(
    r"https://api\.github\.com/?|https://api\.[a-z0-9-]+\.ghe\.com/?|https://[^/\s]+/api/v3/?|http://127\.0\.0\.1:\d+(/api/v3)?/?"
)
BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[^?#]*)?")  # names of buckets: S3 User Guide


class Settings(BaseSettings):
    """What the environment says. Secrets print as stars."""

    model_config = SettingsConfigDict(env_prefix="BULKHEAD_", extra="ignore", hide_input_in_errors=True)

    home: Path = Field(
        default_factory=lambda: Path(platformdirs.user_data_dir("bulkhead")),
        description="Folder of the database, the evidence and the vault key",
    )
    database_url: str = Field(
        default="",
        description="SQLAlchemy URL; empty = SQLite in the home folder; postgresql+psycopg://… for several processes",
    )
    evidence: str = Field(
        default="",
        description="Folder of the evidence, or s3://BUCKET/PREFIX; empty = in the home folder. On PostgreSQL name one "
        "that all processes share",
    )
    evidence_kms_key: str = Field(
        default="", description="KMS key that encrypts evidence in S3; empty = by a key of S3's own (AES256)"
    )
    vault_key: SecretStr = Field(
        default=SecretStr(""), description="32 bytes as base64; empty = a file in the home folder, made on first use"
    )
    vault_max_age_days: float = Field(
        default=30, gt=0, description="A sealed secret is forgotten after so many days, whatever happens"
    )
    watch: str = Field(
        default="",
        description="Repositories that the clock watches for signs of misuse, separated by commas: OWNER/NAME, or "
        "OWNER/NAME=IAM-USER for the user whose key its jobs use",
    )
    watch_minutes: float = Field(default=10, ge=1, description="So often")
    responders: str = Field(default="", description="Who may decide: names, separated by commas")
    signers: Path | None = Field(
        default=None,
        description="File of the SSH keys that sign decisions (OpenSSH's allowed_signers); "
        "when set, unsigned ones do not count",
    )
    policy: Path | None = Field(
        default=None, description="Your own policy instead of the shipped playbooks/policy.yaml"
    )
    mode: str = Field(
        default="observe",
        pattern="^(observe|ask|act)$",
        description="observe says what it would do; ask asks for every change; act follows policy",
    )
    log: str = Field(
        default="plain",
        pattern="^(plain|json)$",
        description="Form of the log lines on standard error: plain for people; json, one object a line, for programs",
    )
    freeze: str = Field(
        default="",
        description="Kill switch of one process: why its worker changes nothing, whatever was decided; "
        "`bulkhead freeze on` is for all of them",
    )
    playbooks: Path | None = Field(
        default=None,
        description="Folder of your own playbooks, with your drills and questions in its folders drills and quiz; "
        "they replace shipped ones of the same id",
    )
    github_token: SecretStr = Field(default=SecretStr(""), description="Token of the bot's GitHub account")
    github_app_id: str = Field(default="", description="GitHub App instead of a token: its id")
    github_app_installation: int = Field(
        default=0, ge=0, description="GitHub App: the id of its only installation; 0 = wherever it is installed"
    )
    github_app_key: SecretStr = Field(default=SecretStr(""), description="GitHub App: its private key, PEM")
    github_api: str = Field(
        default="https://api.github.com",
        description="GitHub Enterprise Server: https://HOST/api/v3; GHE.com: https://api.SUBDOMAIN.ghe.com",
    )
    npm_token: SecretStr = Field(
        default=SecretStr(""), description="npm granular token that may write to your packages"
    )
    crates_token: SecretStr = Field(
        default=SecretStr(""), description="crates.io token with the scope yank, of an owner of your crates"
    )
    rubygems_key: SecretStr = Field(
        default=SecretStr(""), description="RubyGems.org API key with the scope yank_rubygem, of an owner of your gems"
    )
    dockerhub_user: str = Field(
        default="", pattern="^([a-z0-9]{4,30})?$", description="Docker Hub: the organization whose token it is"
    )
    dockerhub_token: SecretStr = Field(
        default=SecretStr(""),
        description="Docker Hub: access token of that organization, which may push, delete tags and read its log",
    )
    gcp_key_file: Path | None = Field(
        default=None, description="Google Cloud: key file of the bot's own service account, which may disable keys"
    )
    aws_region: str = Field(default="us-east-1", description="Region of IAM's trail")
    aws_accounts: Path | None = Field(
        default=None,
        description="File of your AWS accounts: the roles that read and act in each, by its number (YAML); without it "
        "there is one account, that of boto3's identity",
    )
    aws_regions: str = Field(
        default="",
        pattern=r"^([a-z]{2}(-[a-z]+)+-\d(,[a-z]{2}(-[a-z]+)+-\d)*)?$",
        description="Regions beside that one, with commas, whose ECR and CodeArtifact are read and pulled from",
    )
    trust_root: Path | None = Field(
        default=None,
        description="Sigstore's trust root (trusted_root.json) by which provenance is verified, where the one that is "
        "shipped is too old or your Sigstore is another one",
    )
    trail: str = Field(
        default="",
        pattern="^(s3://[a-z0-9.-]{3,63}/(.+/)?CloudTrail/?)?$",
        description="CloudTrail's log files, read for signs of misuse: s3://BUCKET/AWSLogs/ACCOUNT/CloudTrail; without "
        "it the event history of BULKHEAD_AWS_REGION is asked",
    )
    stores: Path | None = Field(
        default=None,
        description="File of the stores outside GitHub that hold copies of credentials, and which of which (YAML): AWS "
        "Secrets Manager and Parameter Store, HashiCorp Vault, Kubernetes",
    )
    web_host: str = Field(default="127.0.0.1", description="Address that the pages listen on")
    web_port: int = Field(default=8642, ge=0, le=65535, description="Port of the pages; 0 = any free one")
    web_url: str = Field(
        default="",
        pattern="^(https?://[^/]+)?$",
        description="Where people reach the pages, when not at that address: https://HOST",
    )
    metrics_token: SecretStr = Field(
        default=SecretStr(""), description="Bearer token that /metrics asks for; empty = no metrics"
    )
    traces: str = Field(
        default="",
        pattern=r"^(https?://[^/\s@?]+(/[^\s?]*)?)?$",
        description="OpenTelemetry: address of a collector that takes traces by OTLP over HTTP (http://HOST:4318); "
        "needs bulkhead[traces]; empty = no traces",
    )
    traces_headers: SecretStr = Field(
        default=SecretStr(""),
        description="OpenTelemetry: headers for the collector, NAME=VALUE with commas, such as its token",
    )

    slack_bot_token: SecretStr = Field(
        default=SecretStr(""), description="Slack: the app's bot token (xoxb-…); without it there is no Slack"
    )
    slack_signing_secret: SecretStr = Field(
        default=SecretStr(""), description="Slack over HTTP: the app's signing secret, which every request must prove"
    )
    slack_app_token: SecretStr = Field(
        default=SecretStr(""),
        description="Slack by Socket Mode: the app-level token (xapp-…), for those without a public address",
    )
    slack_groups: str = Field(
        default="",
        description="Slack: user groups that may decide, one for all (S0123) or by posture (one=S01,two=S02,"
        "person=S01,lead=S01)",
    )
    slack_people: str = Field(
        default="",
        description="Slack: people who decide elsewhere too, so that nobody is two people (alice=U0123,bob=U0456)",
    )
    slack_team: str = Field(
        default="", description="Slack: ids of workspaces or enterprises that are let in; empty = the bot's own only"
    )
    slack_app_id: str = Field(
        default="", description="Slack: the app's id (A…); when set, requests of another are refused"
    )
    slack_command: str = Field(
        default="/bulkhead",
        pattern=r"^/[a-z0-9_-]{1,31}$",
        description="Slack: the slash command; of two apps with one name the later one gets it, so keep it unique",
    )
    slack_api: str = Field(
        default="https://slack.com/api/",
        pattern=r"^https?://[^/\s]+/(.*/)?$",
        description="Slack: address of its Web API, ending in a slash",
    )

    slack_client_id: str = Field(
        default="", description="Slack: the app's client id, for signing in to the pages with Slack"
    )
    slack_client_secret: SecretStr = Field(
        default=SecretStr(""), description="Slack: the app's client secret, for the same"
    )
    web_group: str = Field(
        default="",
        pattern=r"^(S[A-Z0-9]{1,20})?$",
        description="Slack user group (S0123) whose members may sign in to the pages; empty = nobody",
    )
    syslog: str = Field(
        default="",
        description="Syslog server that every decision goes to: udp://HOST, tcp://HOST or tls://HOST; :PORT may follow",
    )

    slack_channel: str = Field(
        default="",
        pattern="^([CG][A-Z0-9]{1,20})?$",
        description="Slack: id of the channel that incidents are told in (C…); invite the bot into it",
    )
    slack_drill_channel: str = Field(
        default="",
        pattern="^([CG][A-Z0-9]{1,20})?$",
        description="Slack: id of the channel that drills are told in; empty = the same",
    )
    slack_private: str = Field(
        default="critical,high",
        pattern="^(critical|high|medium|low|,| )*$",
        description="Slack: severities whose incidents get a private channel of their own; empty = none",
    )
    slack_oncall: str = Field(
        default="",
        pattern="^(S[A-Z0-9]{1,20})?$",
        description="Slack: user group of those on call, who are called when others do not answer",
    )
    pagerduty_key: SecretStr = Field(
        default=SecretStr(""), description="PagerDuty: the integration key of a service (Events API v2); wakes people"
    )
    pagerduty_secret: SecretStr = Field(
        default=SecretStr(""),
        description="PagerDuty: secret of the webhook (v3) to /pages/pagerduty, which says who has taken a page",
    )
    pagerduty_url: str = Field(
        default="https://events.pagerduty.com",
        pattern=r"^(https://[^/\s]+|http://127\.0\.0\.1:\d+)$",
        description="PagerDuty: address of its Events API; https://events.eu.pagerduty.com in Europe",
    )
    page_url: str = Field(
        default="",
        pattern=r"^(https?://[^\s]+)?$",
        description="Any other pager: address that pages are posted to, signed",
    )
    page_secret: SecretStr = Field(
        default=SecretStr(""),
        description="Any other pager: what pages, and acknowledgements to /pages/webhook, are signed with",
    )
    page_from: str = Field(
        default="high",
        pattern="^(critical|high|medium|low)$",
        description="The least severity that wakes somebody; what nobody has answered in time always does",
    )
    quiet_hours: str = Field(
        default="",
        description="Hours in which nobody is called for what can wait: 22:00-07:00 Europe/Berlin",
    )

    holidays: str = Field(
        default="",
        description="Days on which no scheduled drill runs: 2026-12-24,2026-12-25",
    )

    team_names: str = Field(
        default="",
        description="Teams by their repositories, for the measures: acme/pay-*=payments,acme/web=shop; "
        "a repository without one stands for itself",
    )

    people_teams: str = Field(
        default="",
        description="Teams by their people, for training over time: ann=payments,slack:U0123=shop, with * for any; "
        "whoever has none counts for everybody together",
    )

    @field_validator("holidays")
    @classmethod
    def _holidays(cls, value: str) -> str:
        for day in listed(value):
            try:
                date.fromisoformat(day)
            except ValueError:
                raise ValueError("must be days like 2026-12-24,2026-12-25") from None
        return value

    @field_validator("team_names")
    @classmethod
    def _team_names(cls, value: str) -> str:
        if any(not re.fullmatch(r"[^=\s]+=[^=]+", part) for part in listed(value)):
            raise ValueError("must be pairs of a repository, with * for any, and a team: acme/pay-*=payments")
        return value

    @field_validator("people_teams")
    @classmethod
    def _people_teams(cls, value: str) -> str:
        if any(not re.fullmatch(r"[^=\s]+=(?!\s*all\s*$)[^=]+", part) for part in listed(value)):
            raise ValueError("must be pairs of a person, with * for any, and a team (not all): ann=payments")
        return value

    @field_validator("quiet_hours")
    @classmethod
    def _quiet(cls, value: str) -> str:
        if value:
            Quiet.read(value)
        return value

    @field_validator("slack_groups")
    @classmethod
    def _groups(cls, value: str) -> str:
        for name, _, group in (part.rpartition("=") for part in listed(value)):
            if name not in ("", *POSTURES) or not re.fullmatch(r"S[A-Z0-9]{1,20}", group):
                raise ValueError(f"must be ids of user groups, each for all or for one of {', '.join(POSTURES)}")
        return value

    @field_validator("slack_people")
    @classmethod
    def _people(cls, value: str) -> str:
        for part in listed(value):
            if not re.fullmatch(r"[^=]+=[UW][A-Z0-9]{1,20}", part):
                raise ValueError("must be pairs of a name and the id of a Slack user: alice=U0123")
        return value

    hooks: SecretStr = Field(
        default=SecretStr(""),
        description="Webhooks that are open, each with the secret or token that its sender was given, as JSON: "
        '{"github": "…", "gitguardian": ["new", "old"]}',
    )
    secret_rules: Path | None = Field(
        default=None,
        description="Rules of your own in Kingfisher's format (a file or a folder), beside those it has; "
        "a credential that they find is shown to the addresses in them once a person has agreed",
    )
    sources: Path | None = Field(
        default=None, description="File of your own webhook sources: where the fields stand and how they sign (YAML)"
    )
    sns_topics: str = Field(
        default="", description="ARNs of the SNS topics that may deliver AWS Health and GuardDuty, with commas"
    )
    sqs_queue: str = Field(
        default="",
        pattern=r"^(https?://[^/\s]+/\S+)?$",
        description="URL of an SQS queue with the same events, which is asked instead; needs no public address",
    )
    github_partner: bool = Field(
        default=False, description="Take GitHub's secret scanning partner deliveries: only if you issue tokens"
    )
    fetch_values: bool = Field(
        default=True, description="Fetch the value of a GitHub alert into the vault at triage; GitHub does not send it"
    )
    catch_up: str = Field(
        default="",
        description="Whose GitHub alerts and failed webhook deliveries the clock asks for, with commas: OWNER, or "
        "OWNER/REPOSITORY; empty = nobody's, and what a webhook missed stays missed",
    )
    catch_up_aws: bool = Field(
        default=False, description="Ask CloudTrail for users that AWS has put under quarantine (a key seen in public)"
    )
    gitguardian_token: SecretStr = Field(
        default=SecretStr(""), description="GitGuardian: token with incidents:read, to ask for what its webhook missed"
    )
    gitguardian_api: str = Field(
        default="https://api.gitguardian.com",
        pattern=r"^(https://[^/\s]+|http://127\.0\.0\.1:\d+)$",
        description="GitGuardian: address of its API; https://api.eu1.gitguardian.com in Europe",
    )
    upload_audience: str = Field(
        default="", description="Audience of the OIDC token by which workflow runs upload reports; empty = no uploads"
    )
    upload_repositories: str = Field(
        default="", description="Repositories whose runs may upload, with commas; OWNER/* is all of an owner"
    )
    upload_issuer: str = Field(
        default="https://token.actions.githubusercontent.com", description="Issuer of the OIDC tokens of workflow runs"
    )
    upload_keys: str = Field(default="", description="Where the issuer's keys are, when not at ISSUER/.well-known/jwks")

    @field_validator("hooks")
    @classmethod
    def _hooks(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and _secrets_of(text) is None:
            raise ValueError('must be JSON: {"github": "…"}, each secret or list of secrets 16 characters at least')
        return value

    @field_validator("traces_headers")
    @classmethod
    def _headers(cls, value: SecretStr) -> SecretStr:
        if any(not re.fullmatch(r"[A-Za-z0-9-]+=.+", part) for part in listed(value.get_secret_value())):
            raise ValueError("must be pairs of a header's name and its value: NAME=VALUE,NAME=VALUE")
        return value

    @field_validator("github_api")
    @classmethod
    def _github(cls, value: str) -> str:
        if not GITHUB_API.fullmatch(value):
            raise ValueError(
                "must be https://api.github.com, https://api.SUBDOMAIN.ghe.com, or https://HOST/api/v3 of an "
                "Enterprise Server"
            )
        return value.rstrip("/")

    @field_validator("catch_up")
    @classmethod
    def _owners(cls, value: str) -> str:
        for part in listed(value):
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9-]*(/[\w.-]+)?", part):
                raise ValueError(f"{part[:60]} is neither OWNER nor OWNER/REPOSITORY")
        return value

    @field_validator("vault_key")
    @classmethod
    def _key_length(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text:
            try:
                good = len(base64.b64decode(text, validate=True)) == 32
            except ValueError:
                good = False
            if not good:
                raise ValueError("must be 32 bytes as base64: make one with `openssl rand -base64 32`")
        return value

    @field_validator("syslog")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("udp", "tcp", "tls") or not parts.hostname or parts.path.strip("/")):
            raise ValueError("must be udp://HOST, tcp://HOST or tls://HOST, with :PORT when it differs")
        return value

    @field_validator("evidence")
    @classmethod
    def _place(cls, value: str) -> str:
        if "://" in value and not BUCKET.fullmatch(value):
            raise ValueError(f"{value} is no place for evidence; name a folder, or s3://BUCKET/PREFIX")
        return value

    @field_validator("secret_rules")
    @classmethod
    def _there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.exists():
            raise ValueError(f"{value} is not there; name a file or a folder of rules")
        return value

    @field_validator("signers", "policy", "sources", "gcp_key_file", "aws_accounts", "stores", "trust_root")
    @classmethod
    def _file(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"{value} is not a file")
        return value

    @property
    def url(self) -> str:
        """The database."""
        return self.database_url or f"sqlite:///{self.home / 'bulkhead.db'}"

    @property
    def one_process(self) -> bool:
        """Whether the database is SQLite, on which everything runs in one process."""
        return self.url.startswith("sqlite")

    @property
    def evidence_folder(self) -> Path:
        """Where the evidence lies, unless it lies in S3."""
        return Path(self.evidence) if self.evidence and not self.evidence_bucket else self.home / "evidence"

    @property
    def evidence_bucket(self) -> tuple[str, str] | None:
        """The bucket of S3 and the prefix where the evidence lies; None when it lies in a folder."""
        if not self.evidence.startswith("s3://"):
            return None
        bucket, _, prefix = self.evidence.removeprefix("s3://").partition("/")
        return bucket, prefix.strip("/")

    def split(self) -> None:
        """Raises SettingsError unless several processes, on several machines, can work with these settings."""
        wrong = []
        if not self.vault_key.get_secret_value():
            wrong.append("BULKHEAD_VAULT_KEY: the same for every process; make it with `openssl rand -base64 32`")
        if not self.evidence:
            wrong.append(
                "BULKHEAD_EVIDENCE: s3://BUCKET/PREFIX, or a folder that all processes share; a local one holds only "
                "half of the evidence"
            )
        if wrong:
            raise SettingsError("on PostgreSQL these must be set:\n  " + "\n  ".join(wrong))

    @property
    def traces_sent_with(self) -> dict[str, str]:
        """The headers of the collector of traces."""
        pairs = (part.partition("=") for part in listed(self.traces_headers.get_secret_value()))
        return {name.strip(): value.strip() for name, _, value in pairs}

    @property
    def hook_secrets(self) -> dict[str, tuple[str, ...]]:
        """Name of a webhook source -> its secrets, the newest first."""
        return _secrets_of(self.hooks.get_secret_value()) or {}

    @property
    def max_age(self) -> timedelta:
        """Maximum age of a sealed secret."""
        return timedelta(days=self.vault_max_age_days)

    @property
    def groups(self) -> dict[str, frozenset[str]]:
        """The Slack user groups that may answer, by posture."""
        found: dict[str, set[str]] = {posture: set() for posture in POSTURES}
        for name, _, group in (part.rpartition("=") for part in listed(self.slack_groups)):
            for posture in [name] if name else POSTURES:
                found[posture].add(group)
        return {posture: frozenset(groups) for posture, groups in found.items() if groups}

    @property
    def aliases(self) -> dict[str, str]:
        """Who is known in Slack and elsewhere: slack:U… -> the other name."""
        pairs = (part.rpartition("=") for part in listed(self.slack_people))
        return {f"slack:{user}": name.strip() for name, _, user in pairs}

    @property
    def teams(self) -> frozenset[str]:
        """The Slack workspaces and enterprises that are let in; empty = the bot's own only."""
        return frozenset(listed(self.slack_team))

    def team_of(self, repository: str) -> str:
        """The team of a repository: the first of BULKHEAD_TEAM_NAMES that fits, otherwise the repository itself."""
        pairs = (part.partition("=") for part in listed(self.team_names))
        return next((team.strip() for pattern, _, team in pairs if fnmatchcase(repository, pattern)), repository)

    def team_of_person(self, person: str) -> str:
        """The team of a person: the first of BULKHEAD_PEOPLE_TEAMS that fits their name, or ""."""
        pairs = (part.partition("=") for part in listed(self.people_teams))
        return next((team.strip() for pattern, _, team in pairs if fnmatchcase(person, pattern)), "")

    def team_of_people(self, people: Iterable[str]) -> str:
        """The one team of these people; "several teams" where they are of more, "" where they are of none."""
        teams = {team for team in map(self.team_of_person, people) if team}
        return teams.pop() if len(teams) == 1 else "several teams" if teams else ""

    @property
    def people(self) -> frozenset[str]:
        """Who may decide."""
        return frozenset(listed(self.responders))


def listed(text: str) -> list[str]:
    """What stands between commas."""
    return [part.strip() for part in text.split(",") if part.strip()]


def _secrets_of(text: str) -> dict[str, tuple[str, ...]] | None:
    """Secrets by source; None when it is written wrongly. A short one could be guessed."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    secrets = {name: tuple(one if isinstance(one, list) else [one]) for name, one in found.items()}
    good = all(isinstance(one, str) and len(one) >= 16 for some in secrets.values() for one in some)
    return secrets if good and all(secrets.values()) else None


def read() -> Settings:
    """The settings of this process. Raises SettingsError with every problem."""
    try:
        return Settings()
    except ValidationError as exc:
        lines = [
            f"BULKHEAD_{str(e['loc'][0]).upper()}: {e['msg'].removeprefix('Value error, ')}"
            for e in exc.errors(include_input=False)
        ]
        raise SettingsError("the environment is not right:\n  " + "\n  ".join(lines)) from None
