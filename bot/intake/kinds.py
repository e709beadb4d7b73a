"""What senders call the kinds of credentials that we know. Data: one line a kind, the words lower-case.

A value that comes along counts more than any of these words: the recogniser reads it. The words matter where no value
is sent (GitHub, GitGuardian, AWS). Sources: docs.github.com "Supported secret scanning patterns",
docs.gitguardian.com "Detectors", the rules of gitleaks, TruffleHog, detect-secrets and Kingfisher.
"""

from __future__ import annotations

from bot.model import OTHER
from bot.triage.rules import RULES

_WORDS = {
    "aws-access-key": (
        "aws_access_key_id", "aws_secret_access_key", "aws_iam", "aws", "aws access key", "aws-access-token",
        "aws_keys", "aws keys", "aws-access-key", "awsaccesskey",
    ),
    "aws-session": ("aws_temporary_access_key_id", "aws_session_token", "awssessionkey", "aws-session"),
    "github-pat-classic": (
        "github_personal_access_token", "github_access_token", "github-pat", "github", "github token", "github_token",
        "github-pat-classic",
    ),
    "github-pat-fine-grained": (
        "github_fine_grained_personal_access_token", "github-fine-grained-pat", "github_fine_grained_pat",
        "github-pat-fine-grained",
    ),
    "github-oauth": (
        "github_oauth_access_token", "github-oauth", "github_user_to_server_access_token",
        "github_app_user_access_token", "github_refresh_token", "github_app_refresh_token",
    ),
    "github-installation": (
        "github_app_installation_access_token", "github-app-token", "github_app_token", "github-installation",
    ),
    "ssh-private-key": (
        "github_ssh_private_key", "private-key", "private key", "privatekey", "ssh-private-key", "openssh_private_key",
        "generic_private_key",
    ),
    "npm-token": (
        "npm_access_token", "npm-access-token", "npm token", "npmtoken", "npm_token", "npm tokens", "npmtokenv2",
        "npm-token", "secrets/npmjsaccesstoken",
    ),
    "pypi-token": (
        "pypi_api_token", "pypi-upload-token", "pypi token", "pypi_token", "pypi_upload_token", "pypi-token",
    ),
    "rubygems-key": ("rubygems_api_key", "rubygems-api-token", "rubygems", "rubygems-key"),
    "crates-token": ("crates_io_api_token", "cratesio", "crates-token", "crates_io_token"),
    "dockerhub-pat": (
        "docker_personal_access_token", "dockerhub", "docker_hub", "docker_access_token", "dockerhub-pat",
        "dockerhub_token", "docker-personal-access-token", "dockerhub-personal-access-token",
    ),
    "dockerhub-oat": ("docker_organization_access_token", "dockerhub-oat", "docker-organization-access-token"),
    "gcp-service-account-key": (
        "google_cloud_service_account_credentials", "gcp", "google_service_account", "gcp-service-account",
        "gcp-service-account-key",
    ),
    "azure-client-secret": ("azure_active_directory_application_secret", "azure-ad-client-secret",
                            "azure-client-secret"),
    "slack-token": ("slack_api_token", "slack-bot-token", "slack-user-token", "slack token", "slack", "slack-token"),
}  # fmt: skip
KINDS = {word: kind for kind, words in _WORDS.items() for word in words}


def kind_of(*called: str) -> str:
    """Our kind for what a sender calls it, its words most telling first; '' when none is known."""
    for word in called:
        plain = word.strip().lower()
        for one in (plain, plain.rpartition(".")[2], plain.replace("-", "_")):
            if one in KINDS:
                return KINDS[one]
    return ""


def provider_of(kind: str) -> str:
    """Who issues this kind of credential; 'unknown'."""
    if kind.startswith("aws-"):
        return "aws"
    if kind.startswith(OTHER):
        return kind.removeprefix(OTHER).split("-")[0]
    return RULES[kind].provider if kind in RULES else "unknown"
