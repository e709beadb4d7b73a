"""Composite actions of the repository that take a key by an input: with all their callers, or not at all."""

from __future__ import annotations

import pytest

from bot.oidc.draft import Draft
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.source import Source
from bot.oidc.splice import restored

ACTION = ".github/actions/ship/action.yml"
PINNED = "aws-actions/configure-aws-credentials@e6de054238d6b7531b4efff3b6587d9aade6a06c # v6.2.3"


def action(steps: str, *inputs: str) -> str:
    declared = "".join(f"  {name}:\n    description: What {name} is\n    required: true\n" for name in inputs)
    return f"name: Ship\ndescription: Ships\ninputs:\n{declared}runs:\n  using: composite\n  steps:\n{steps}"


def workflow(given: str, on: str = "{push: {branches: [main]}}", uses: str = "./.github/actions/ship") -> str:
    return (
        f"on: {on}\njobs:\n  ship:\n    runs-on: ubuntu-latest\n    steps:\n      - uses: actions/checkout@v4\n"
        f"      - uses: {uses}\n        with:\n{given}"
    )


KEYS = """\
          key-id: ${{ secrets.AWS_ACCESS_KEY_ID }}
          key: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
"""
LOGIN = """\
    - uses: aws-actions/configure-aws-credentials@v4
      with:
        aws-access-key-id: ${{ inputs.key-id }}
        aws-secret-access-key: ${{ inputs['key'] }}
        aws-region: eu-west-1
    - run: aws s3 ls
      shell: bash
"""
BY_ENV = """\
    - run: aws s3 ls
      shell: bash
      env:
        AWS_ACCESS_KEY_ID: ${{ inputs.key-id }}
        AWS_SECRET_ACCESS_KEY: ${{ inputs.key }}
"""


def planned(act: str, *callers: str, **more: str) -> Plan:
    files = {f"{FOLDER}ship-{n}.yml": text.encode() for n, text in enumerate(callers)}
    files |= {ACTION: act.encode()} if act else {}
    return plan(Repository.of(files | {path.replace("__", "/"): text.encode() for path, text in more.items()}))


def moved(made: Plan) -> tuple[str, str]:
    """The action and the first caller afterwards, when all is migrated and can be taken back byte for byte."""
    assert [str(outcome.refusal) for outcome in made.refused] == []
    assert plan(made.after).changed == {}
    for path, data in made.changed.items():
        back = data.decode()
        for outcome in reversed(made.outcomes):
            back = restored(back, outcome.splices.get(path, ()))
        assert back.encode() == made.before.files[path]
    return made.after.files[ACTION].decode(), made.after.files[f"{FOLDER}ship-0.yml"].decode()


def refused(made: Plan) -> str:
    [outcome] = made.outcomes
    assert outcome.refusal is not None
    assert made.changed == {}
    return outcome.refusal.code


def test_an_action_that_logs_in_takes_a_role_and_every_caller_gives_it() -> None:
    act, caller = moved(made := planned(action(LOGIN, "key-id", "key"), workflow(KEYS), workflow(KEYS)))
    assert act == action(
        f"    - uses: {PINNED}\n      with:\n        role-to-assume: ${{{{ inputs.role-to-assume }}}}\n"
        "        role-session-name: gha-${{ github.run_id }}\n        role-duration-seconds: 900\n"
        "        aws-region: eu-west-1\n    - run: aws s3 ls\n      shell: bash\n",
        "role-to-assume",
    ).replace("What role-to-assume is", "ARN of the role to get into by OIDC")
    assert "        with:\n          role-to-assume: ${{ vars.AWS_ROLE_ARN }}\n" in caller
    assert "id-token: write" in caller
    assert made.changed[f"{FOLDER}ship-1.yml"].decode() == caller
    [outcome] = made.outcomes
    assert any("no other repository uses this action" in each for each in outcome.assumed)


def test_in_pull_requests_of_forks_the_role_is_empty_and_the_login_is_skipped() -> None:
    act, caller = moved(planned(action(LOGIN, "key-id", "key"), workflow(KEYS, "[push, pull_request]")))
    assert "      if: inputs.role-to-assume != ''\n" in act
    assert "head.repo.full_name == github.repository" in caller
    assert "vars.AWS_PULL_REQUEST_ROLE_ARN" in caller


def test_an_action_that_only_uses_the_key_gets_the_login_before_it() -> None:
    act, caller = moved(planned(action(BY_ENV, "key-id", "key", "stage"), workflow(KEYS + "          stage: test\n")))
    assert act == action("    - run: aws s3 ls\n      shell: bash\n", "stage")
    assert caller.index(PINNED) < caller.index("./.github/actions/ship")
    assert "        with:\n          stage: test\n" in caller


def test_googles_key_becomes_provider_and_account() -> None:
    login = (
        "    - uses: google-github-actions/auth@v2\n      with:\n        credentials_json: ${{ inputs.google-key }}\n"
    )
    given = "          google-key: ${{ secrets.GCP_SA_KEY }}\n"
    act, caller = moved(planned(action(login, "google-key"), workflow(given)))
    assert "service_account: ${{ inputs.service_account }}" in act
    assert "credentials_json" not in act
    assert "          workload_identity_provider: ${{ vars.GCP_WORKLOAD_IDENTITY_PROVIDER }}\n" in caller
    assert "          service_account: ${{ vars.GCP_SERVICE_ACCOUNT }}\n" in caller


NPM = "          token: ${{ secrets.NPM_TOKEN }}\n"


def test_an_action_that_publishes_to_npm_has_no_token_and_a_node_that_can_do_without() -> None:
    publish = "    - run: npm publish\n      shell: bash\n      env:\n        NODE_AUTH_TOKEN: ${{ inputs.token }}\n"
    act, caller = moved(planned(action(publish, "token"), workflow(NPM), workflow(NPM)))
    assert act.count("node-version: 24") == 1
    assert "TOKEN" not in act
    assert "id-token: write # npm trusted publishing" in caller
    assert "with:" not in caller


def test_an_action_that_only_stores_the_token_for_a_later_step_stores_none() -> None:
    store = '    - run: echo "//registry.npmjs.org/:_authToken=${{ inputs.token }}" >> ~/.npmrc\n      shell: bash\n'
    act, caller = moved(
        planned(action(store + "    - run: npm ci\n      shell: bash\n", "token"),
                workflow(NPM) + "      - run: npm publish\n")
    )  # fmt: skip
    assert act.endswith("Ships\nruns:\n  using: composite\n  steps:\n    - run: npm ci\n      shell: bash\n")
    assert caller.index("node-version: 24") < caller.index("npm publish")


def test_a_token_that_lives_half_an_hour_goes_the_same_way() -> None:
    publish = "    - run: cargo publish\n      shell: bash\n      env: {CARGO_REGISTRY_TOKEN: '${{ inputs.token }}'}\n"
    made = planned(action(publish, "token"), workflow("          token: ${{ secrets.CRATES_TOKEN }}\n"))
    assert list(made.changed) == [f"{FOLDER}ship-0.yml"]
    assert "token: ${{ steps.crates-io-auth.outputs.token }}" in made.changed[f"{FOLDER}ship-0.yml"].decode()


GEM = "          key: ${{ secrets.RUBYGEMS_API_KEY }}\n"
PUSH = "    - run: gem push *.gem\n      shell: bash\n      env: {GEM_HOST_API_KEY: '${{ inputs.key }}'}\n"


@pytest.mark.parametrize("name", ["GEM_HOST_API_KEY", "BUNDLE_GEM__PUSH_KEY"])
def test_a_key_of_rubygems_that_lives_a_quarter_of_an_hour_goes_the_same_way(name: str) -> None:
    made = planned(action(PUSH.replace("GEM_HOST_API_KEY", name), "key"), workflow(GEM), workflow(GEM))
    assert [outcome.refusal for outcome in made.outcomes] == [None]
    assert sorted(made.changed) == [f"{FOLDER}ship-0.yml", f"{FOLDER}ship-1.yml"]
    for caller in (data.decode() for data in made.changed.values()):
        assert caller.index("rubygems/configure-rubygems-credentials@") < caller.index("./.github/actions/ship")
        assert "key: ${{ env.GEM_HOST_API_KEY }}\n" in caller
        assert "id-token: write # RubyGems trusted publishing" in caller


def test_pull_requests_skip_an_action_that_pushes_a_gem() -> None:
    made = planned(action(PUSH, "key"), workflow(GEM, "[push, pull_request]"))
    caller = made.changed[f"{FOLDER}ship-0.yml"].decode()
    kept_out = "if: github.event_name != 'pull_request'\n"
    assert caller.count(kept_out) == 2
    assert f"- uses: ./.github/actions/ship\n        {kept_out}" in caller


USED = action(LOGIN, "key-id", "key")


@pytest.mark.parametrize(
    ("code", "made"),
    [
        pytest.param("callee-missing", planned("", workflow(KEYS)), id="its-file-is-not-there"),
        pytest.param(
            "callers-unknown", planned("", workflow(KEYS, uses="./"), **{"action.yml": USED}), id="for-others-to-use"
        ),
        pytest.param(
            "half", planned(USED, workflow(KEYS), workflow(KEYS.replace("secrets.AWS", "env.AWS"))), id="another-key"
        ),
        pytest.param(
            "forwarded",
            planned(
                USED, workflow(KEYS),
                **{"tools__action.yml": action("    - uses: ./.github/actions/ship\n", "key")}
            ),
            id="called-by-an-action",
        ),
        pytest.param(
            "forwarded", planned(USED.replace("composite", "node20").replace("steps:", "main:"), workflow(KEYS)),
            id="a-program",
        ),
        pytest.param(
            "forwarded", planned(action(BY_ENV.replace("AWS_A", "MY_A"), "key-id", "key"), workflow(KEYS)), id="renamed"
        ),
        pytest.param(
            "forwarded", planned(USED + "    - run: ./x ${{ inputs.key }}\n      shell: bash\n", workflow(KEYS)),
            id="into-a-script",
        ),
        pytest.param(
            "forwarded", planned(USED.replace("runs:", "outputs:\n  k: {value: '${{ inputs.key }}'}\nruns:"),
                                 workflow(KEYS)), id="as-an-output",
        ),
        pytest.param(
            "not-only-publish",
            planned(action("    - run: npm ci\n      env: {NODE_AUTH_TOKEN: '${{ inputs.token }}'}\n",
                           "token"), workflow(NPM)), id="installs",
        ),
        pytest.param(
            "forwarded", planned(action(PUSH.replace("GEM_HOST", "MY_HOST"), "key"), workflow(GEM)), id="gem-renamed"
        ),
        pytest.param(
            "forwarded", planned(action("    - run: |\n        echo ':rubygems_api_key: ${{ inputs.key }}' > x\n"
                                        "      shell: bash\n", "key"), workflow(GEM)), id="gem-into-a-file",
        ),
        pytest.param(
            "both-ways", planned(USED.replace("        aws-region: eu-west-1\n", ""), workflow(KEYS)), id="no-region"
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_followed_is_left_whole(code: str, made: Plan) -> None:
    assert refused(made) == code


def test_a_step_of_an_action_is_edited_as_one_of_a_job() -> None:
    draft = Draft(Source(USED.encode()))
    draft.insert_step(("runs", "steps", 1), {"run": "true", "shell": "bash"})
    assert "    - run: true\n      shell: bash\n    - run: aws s3 ls\n" in draft.finish().text
