"""A repository read through GitHub's API and its clone on disk give the same edit, file by file and byte by byte."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.cli.checkout import load
from bot.clients import GitHubClient
from bot.oidc.hosted import Reader
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Unread
from bot.range.company import FERRY
from bot.range.server import Range

KEYS = "AWS_ACCESS_KEY_ID=${{ secrets.AWS_ID }} AWS_SECRET_ACCESS_KEY=${{ secrets.AWS_KEY }}"
BESIDE = {"docs/data.json": '{"NPM_TOKEN": 1}', "node_modules/x/action.yml": "NPM_TOKEN", "README.md": "NPM_TOKEN"}


def job(*steps: str) -> str:
    inside = "".join(f"      - {step}\n" for step in ("uses: actions/checkout@v4", *steps))
    return f"on: {{push: {{branches: [main]}}}}\njobs:\n  one:\n    runs-on: ubuntu-latest\n    steps:\n{inside}"


def compose(service: str) -> str:
    return f"services:\n  app:\n    image: acme/app\n    environment:\n{service}"


WORKFLOWS = {
    f"{FOLDER}containers.yml": job(f"run: {KEYS} docker compose up -d"),
    f"{FOLDER}release.yml": job(
        "run: npm run release\n        env: {NPM_TOKEN: '${{ secrets.NPM_TOKEN }}'}",
    ),
    f"{FOLDER}setup.yml": job(
        "uses: ./.github/actions/setup\n        env: {NODE_AUTH_TOKEN: '${{ secrets.OTHER_NPM_TOKEN }}'}",
        "run: npm publish\n        env: {NODE_AUTH_TOKEN: '${{ secrets.OTHER_NPM_TOKEN }}'}",
    ),
    f"{FOLDER}upload.yml": job(
        "run: ops/upload.sh\n        env:\n          GITHUB_TOKEN: ${{ github.token }}\n"
        "          CARGO_REGISTRY_TOKEN: ${{ secrets.CRATES_TOKEN }}",
        "run: cargo publish\n        env: {CARGO_REGISTRY_TOKEN: '${{ secrets.CRATES_TOKEN }}'}",
    ),
    f"{FOLDER}caller.yml": "on: push\njobs:\n  call:\n    uses: ./.github/workflows/called.yml\n    secrets: inherit\n",
}
FILES = {
    "compose.yaml": [
        compose("      - AWS_SECRET_ACCESS_KEY\n      - AWS_ACCESS_KEY_ID\n"),
        compose("      AWS_SECRET_ACCESS_KEY: ${AWS_SECRET_ACCESS_KEY}\n      AWS_ACCESS_KEY_ID: $AWS_ACCESS_KEY_ID\n"),
        "services: {app: {image: a, environment: [AWS_SECRET_ACCESS_KEY]}}\n",
    ],
    "package.json": [
        json.dumps({"scripts": {"release": script}}) for script in ("npm publish", "yarn publish", "release-it")
    ],
    ".release-it.json": ['{"npm": {"skipChecks": true}}', "{}"],
    ".github/actions/setup/action.yml": [
        "runs:\n  using: composite\n  steps:\n    - run: true\n      shell: bash\n",
        "runs:\n  using: composite\n  steps:\n    - run: echo $NODE_AUTH_TOKEN\n      shell: bash\n",
    ],
    "ops/upload.sh": ["gh release upload v1 x\n", "./more\n", "cargo publish\ngh api /user\n"],
    f"{FOLDER}called.yml": [
        job("run: gem push x.gem\n        env: {GEM_HOST_API_KEY: '${{ secrets.GEM_KEY }}'}").replace(
            "{push: {branches: [main]}}", "workflow_call"
        )
    ],
}


@st.composite
def repositories(draw: st.DrawFn) -> dict[str, str]:
    """Workflows, and those files beside them that decide what becomes of their secrets, or not all of these."""
    files = {path: text for path, text in WORKFLOWS.items() if draw(st.booleans())} or dict(WORKFLOWS)
    for path, texts in FILES.items():
        text = draw(st.sampled_from(["", *texts]))
        files |= {path: text} if text else {}
    return files


def said(made: Plan) -> list[object]:
    return [
        (o.credential.key, str(o.refusal), o.granted, o.assumed, sorted(o.asks.items()), o.changed)
        for o in made.outcomes
    ]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
@given(files=repositories())
def test_the_api_and_a_clone_give_the_same_edit(
    company: Range, tmp_path_factory: pytest.TempPathFactory, files: dict[str, str]
) -> None:
    top = tmp_path_factory.mktemp("clone")
    for path, text in {**files, **BESIDE}.items():
        (top / path).parent.mkdir(parents=True, exist_ok=True)
        (top / path).write_text(text)
    state = company.github.state
    git = state.repos[FERRY].git
    gone = dict.fromkeys(git.files(git.resolve("refs/heads/drawn") or git.resolve("refs/heads/main")))
    done = state.commit_files(FERRY, {**gone, **files, **BESIDE}, "drawn", "mara", branch="drawn", runs=False)
    github = GitHubClient(token=company.company.cast["github"]["bulkhead-bot"], base_url=company.github_url)
    found = Reader(github, f"/repos/{FERRY}").at(done.sha, "drawn").repository
    here, there = plan(load(Path(top))), plan(found)
    assert said(there) == said(here)
    assert there.changed == here.changed
    assert isinstance(found.files, Unread)
    assert not found.files.known("docs/data.json")  # nothing is fetched that decides nothing


def test_a_workflow_that_is_too_large_to_be_read_stops_what_it_may_use(company: Range, tmp_path: Path) -> None:
    large = job("run: npm publish\n        env: {NPM_TOKEN: '${{ secrets.NPM_TOKEN }}'}") + "# long\n" * 150_000
    files: dict[str, str | bytes | None] = {f"{FOLDER}release.yml": WORKFLOWS[f"{FOLDER}release.yml"]}
    files |= {f"{FOLDER}large.yml": large, "package.json": FILES["package.json"][0]}
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(str(text))
    done = company.github.state.commit_files(FERRY, files, "large", "mara", branch="large", runs=False)
    github = GitHubClient(token=company.company.cast["github"]["bulkhead-bot"], base_url=company.github_url)
    for repository in (load(tmp_path), Reader(github, f"/repos/{FERRY}").at(done.sha, "large").repository):
        [outcome] = plan(repository, secret="NPM_TOKEN").outcomes
        assert outcome.refusal is not None
        assert outcome.refusal.code == "half"
