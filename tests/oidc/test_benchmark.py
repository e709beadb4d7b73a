"""The figures of benchmarks/oidc.py: each count can be other than zero, and the checks find what is wrong."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import oidc as bench
from benchmarks import oidc_peers
from benchmarks.oidc_judge import judge
from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from tests.oidc.test_cases import BEFORE, CASES, REFUSED

ACTION = CASES / "aws" / "action.before.yml"
FILE = f"{FOLDER}action.yml"


def made() -> Plan:
    return plan(Repository.of({FILE: ACTION.read_bytes()}))


def spoiled(old: bytes, new: bytes) -> Plan:
    """A migration whose result somebody changed afterwards."""
    done = made()
    data = done.after.files[FILE]
    assert old in data
    return replace(done, after=done.after.after({FILE: data.replace(old, new)}))


def test_the_cases_are_counted_and_nothing_is_wrong(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for path in (*BEFORE, *REFUSED):
        shutil.copy(path, corpus / f"{path.parent.name}-{path.name}")
    figures = bench.measure(corpus, out=tmp_path / "out")
    assert figures["wrong"] == figures["outside_bytes"] == 0
    assert figures["files"] == len(BEFORE) + len(REFUSED)
    assert figures["migrated"] + sum(figures["refused"].values()) == figures["found"]
    assert figures["refused"]["reached-by-forks"] >= 3
    assert len(list((tmp_path / "out").iterdir())) == figures["files_changed"] == len(BEFORE) - 2  # two need answers
    assert "new errors" in bench.told(figures)


def test_a_list_beside_the_corpus_brings_callers_and_callees_together(tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    for name in ("one", "two"):
        shutil.copy(ACTION, tmp_path / "c" / f"{name}.yml")
    rows = [f"acme/shop\t{FOLDER}{name}.yml\tabc\tc/{name}.yml" for name in ("one", "two")]
    (tmp_path / "c.tsv").write_text("\n".join(["repo\tpath\tcommit\tfile", *rows]) + "\n")
    found = list(bench.repositories(tmp_path / "c"))
    assert [(name, sorted(repository.workflows)) for name, repository, _ in found] == [
        ("acme/shop@abc", [f"{FOLDER}one.yml", f"{FOLDER}two.yml"])
    ]


def test_a_good_migration_has_no_fault() -> None:
    assert bench.wrong(made()) == []
    assert bench.outside(made()) == 0


def test_each_fault_is_found() -> None:
    for old, new, said in [
        (b"id-token: write", b"id-token: none", "no identity was granted"),
        (b"aws-region: eu-west-1", b"aws-region: ${{ secrets.AWS_ACCESS_KEY_ID }}", "is still read"),
        (b"role-to-assume:", b"aws-access-key-id: x\n          role-to-assume:", "a key stands beside the role"),
        (b" # v6.2.3", b"", "is not pinned"),
    ]:
        assert any(said in fault for fault in bench.wrong(spoiled(old, new))), said


def test_bytes_that_moved_beside_the_edits_are_counted() -> None:
    assert bench.outside(spoiled(b"# Ireland", b"# Eire")) > 0


BEFORE_JOB = """\
on: [push, pull_request]
permissions: {contents: read, issues: write}
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: make
  release:
    needs: build
    runs-on: ubuntu-latest
    env:
      STAGE: live
      AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ID }}
      AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_KEY }}
    steps:
      - uses: actions/checkout@v4
      - id: tag
        run: echo "tag=1" >> "$GITHUB_OUTPUT"
      - name: Copy
        if: github.ref == 'refs/heads/main'
        run: |
          aws s3 sync . s3://acme
          echo "${{ steps.tag.outputs.tag }}"
"""
AFTER_JOB = """\
on: [push, pull_request]
permissions: {contents: read, issues: write}
jobs:
  build:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: make
  release:
    needs: build
    runs-on: ubuntu-latest
    permissions: {contents: read, issues: write, id-token: write}
    env:
      STAGE: live
    steps:
      - uses: actions/checkout@v4
      - id: tag
        run: echo "tag=1" >> "$GITHUB_OUTPUT"
      - uses: aws-actions/configure-aws-credentials@0123456789abcdef0123456789abcdef01234567 # v6.0.0
        if: github.ref == 'refs/heads/main'
        with: {role-to-assume: '${{ vars.AWS_ROLE_ARN }}'}
      - name: Copy
        if: github.ref == 'refs/heads/main'
        run: |
          aws s3 sync . s3://acme
          echo "${{ steps.tag.outputs.tag }}"
"""


def said(after: str) -> list[str]:
    return judge({"w": BEFORE_JOB}, {"w": after}, {"AWS_ID", "AWS_KEY"})


def test_the_judge_says_nothing_of_a_migration_made_by_hand() -> None:
    assert said(AFTER_JOB) == []


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("      STAGE: live\n    steps", "      STAGE: test\n    steps", "STAGE has another value"),
        ("    env:\n      STAGE: live\n", "", "STAGE went and was no secret"),
        ("STAGE: live", "STAGE: '${{ secrets.AWS_KEY }}'", "AWS_KEY is still read"),
        ("STAGE: live", "STAGE: live\n      AWS_ACCESS_KEY_ID: '${{ vars.AWS_ROLE_ARN }}'", "held the secret and is"),
        ("on: [push, pull_request]", "on: [push]", "the triggers have changed"),
        ("{contents: read, issues: write, id", "{contents: read, id", "issues: write was lost"),
        (", id-token: write", "", "a login has no id-token"),
        ("    needs: build\n", "", "needs has changed"),
        ("      - run: make\n", "", "step 2 (make) went"),
        ("      - run: make\n", "      - run: make\n      - run: curl x\n", "a step came that is no login"),
        ("aws s3 sync . s3://acme", "aws s3 sync . s3://other", "a line went"),
        ("      - id: tag\n        run", "      - id: other\n        run", "steps.tag is read"),
        ("0123456789abcdef0123456789abcdef01234567", "v6", "not pinned"),
        ("        if: github.ref == 'refs/heads/main'\n        with", "        with", "pull requests may get the role"),
        ("        if: github.ref == 'refs/heads/main'\n        run", "        run", "the condition"),
        (("      - uses: aws-actions/configure-aws-credentials@0123456789abcdef0123456789abcdef01234567 # v6.0.0\n"
         "        if: github.ref == 'refs/heads/main'\n        with: {role-to-assume: '${{ vars.AWS_ROLE_ARN }}'}\n"),
         "",
         "its AWS key went and no role came"),
        ("  build:\n    runs-on: ubuntu-latest\n", "  build:\n    runs-on: ubuntu-latest\n    permissions: write-all\n",
         "nothing of it has changed"),
    ],
)  # fmt: skip
def test_the_judge_finds_each_fault(old: str, new: str, fault: str) -> None:
    assert old in AFTER_JOB
    assert any(fault in each for each in said(AFTER_JOB.replace(old, new, 1))), said(AFTER_JOB.replace(old, new, 1))


STEPS = """\
on: push
jobs:
  a:
    runs-on: ubuntu-latest
    permissions: {contents: read, id-token: write}
    steps:
      - uses: actions/checkout@v4
%s"""


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (("      - {run: aws s3 ls, env: {AWS_ACCESS_KEY_ID: '${{ secrets.K }}'}}\n"
         "      - uses: aws-actions/configure-aws-credentials@v4\n        with: {role-to-assume: r, aws-region: x}\n"),
         ("      - {run: aws s3 ls}\n"
         "      - uses: aws-actions/configure-aws-credentials@v4\n        with: {role-to-assume: r, aws-region: x}\n"),
         "no role came before it"),
        (("      - uses: google-github-actions/setup-gcloud@v2\n"
         "        with: {service_account_key: '${{ secrets.K }}'}\n"),
         "      - uses: google-github-actions/setup-gcloud@v2\n", "no login of Google came before it"),
        (("      - {uses: actions/setup-node@v4, with: {node-version: '20'}}\n"
         "      - {run: npm publish, env: {NODE_AUTH_TOKEN: '${{ secrets.K }}'}}\n"),
         "      - {uses: actions/setup-node@v4, with: {node-version: '20'}}\n      - {run: npm publish}\n",
         "publishes with the npm of Node 20"),
        (("      - uses: cucumber/action-publish-npm@v1\n        with: {npm-token: '${{ secrets.K }}', "
         "working-directory: js}\n"), "      - run: npm publish\n        working-directory: ts\n", "working-directory"),
        ("      - {run: npx semantic-release@17, env: {NPM_TOKEN: '${{ secrets.K }}'}}\n",
         "      - {run: npx semantic-release@17}\n", "knows no trusted publishing"),
        ("      - {run: npx semantic-release@17, env: {NPM_TOKEN: '${{ secrets.K }}'}}\n",
         "      - {run: npx semantic-release@24}\n", "went"),
        ("      - {name: x, run: npx semantic-release@26, env: {NPM_TOKEN: '${{ secrets.K }}'}}\n",
         "      - {name: x, run: npx semantic-release@25}\n", "went"),
        (("      - uses: google-github-actions/auth@v2\n        with: {credentials_json: '${{ secrets.K }}'}\n"
         "      - {run: gcloud auth activate-service-account --key-file=$GOOGLE_APPLICATION_CREDENTIALS}\n"),
         ("      - uses: google-github-actions/auth@v3\n        with: {workload_identity_provider: p}\n"
         "      - {run: gcloud auth activate-service-account --key-file=$GOOGLE_APPLICATION_CREDENTIALS}\n"),
         "reads the file of Google's login as a key"),
        ("      - {run: poetry publish --build, working-directory: lib, env: {POETRY_PASS: '${{ secrets.K }}'}}\n",
         "      - {run: poetry build, working-directory: lib}\n      - uses: pypa/gh-action-pypi-publish@v1\n",
         "an upload takes dist, and the packages were built in ['lib']"),
        ("      - uses: cucumber/action-publish-npm@v1\n        with: {npm-token: '${{ secrets.K }}'}\n",
         "      - run: npm run deploy\n", "went"),
        ("      - {name: x, run: x, env: {A: '${{ secrets.K }}'}}\n",
         "      - {name: x, run: x}\n      - {id: a, run: y}\n      - {id: a, run: y}\n", "the id a is there twice"),
        (("      - {run: aws s3 ls, env: {AWS_ACCESS_KEY_ID: '${{ secrets.K }}'}}\n"
          "      - {name: x, run: x, env: {AWS_ACCESS_KEY_ID: a}}\n"),
         ("      - uses: aws-actions/configure-aws-credentials@v4\n        with: {role-to-assume: r, aws-region: x}\n"
          "      - {run: aws s3 ls}\n      - {name: x, run: x, env: {AWS_ACCESS_KEY_ID: a}}\n"),
         "gets a session's token beside a key of its own"),
        ("      - {name: x, run: x, if: env.A != '', env: {A: '${{ secrets.K }}'}}\n",
         "      - {name: x, run: x, if: env.A != ''}\n", "A went, and the step still reads it"),
        ("      - name: x\n        run: |\n          if a; then\n            b=${{ secrets.K }}\n          fi\n",
         "      - name: x\n        run: |\n          if a; then\n          fi\n", "a block of the script is empty"),
        ("      - {name: x, run: aws, env: {AWS_ACCESS_KEY_ID: A, AWS_SECRET_ACCESS_KEY: '${{ secrets.K }}'}}\n",
         ("      - uses: aws-actions/configure-aws-credentials@v4\n        with: {role-to-assume: r, aws-region: x}\n"
         "      - {name: x, run: aws, env: {AWS_ACCESS_KEY_ID: A}}\n"), "the id of a key stays"),
        ("      - {name: x, run: x, env: {A: '${{ env.B }}', B: '${{ secrets.K }}'}}\n", "      - {name: x, run: x}\n",
         "variable A went and was no secret"),
    ],
)  # fmt: skip
def test_the_judge_asks_what_takes_the_place_of_what_went(old: str, new: str, fault: str) -> None:
    found = judge({"w": STEPS % old}, {"w": STEPS % new}, {"K"})
    assert any(fault in each for each in found), found


def test_what_the_corpus_does_not_decide_is_counted_by_itself(tmp_path: Path) -> None:
    for name in ("token-to-strangers.refuse.permissions-unknown", "renamed.refuse.renamed", "action.before"):
        shutil.copy(CASES / "aws" / f"{name}.yml", tmp_path / f"{name.split('.')[0]}.yml")
    figures = bench.measure(tmp_path)
    assert (figures["main_found"], figures["main_migrated"], figures["main_undecided"]) == (3, 1, 1)
    said = bench.told(figures)
    assert "1 of all 3 jobs (33.3%), and of the 2 that are decided 50.0%" in said
    assert f"decided is {figures['decided_means']}" in said
    assert "left, renamed: aws, 1 job of" in said
    assert "[undecided, lacks the repository's setting" in said


def test_habits_of_people_and_a_round_trip_are_counted(tmp_path: Path) -> None:
    folder = tmp_path / "pairs"
    folder.mkdir()
    (folder / "a.before.yml").write_text(BEFORE_JOB)
    (folder / "a.after.yml").write_text(AFTER_JOB)
    (tmp_path / "pairs.tsv").write_text("provider\tbefore\tafter\naws\tpairs/a.before.yml\tpairs/a.after.yml\n")
    figures = bench.measure(folder)
    assert figures["files"] == 1
    assert figures["people"]["id-token on jobs alone"] == figures["people"]["AWS logins"] == 1
    assert figures["people"]["AWS logins with an end of their own"] == 0
    assert figures["ours"]["AWS logins with an end of their own"] == 1
    assert figures["round_trip"] == {"files": 1, "identical": 1}
    assert not oidc_peers.round_trip(b"on:   push\njobs: { a: { runs-on: x } }\n")


def test_a_secret_that_a_matrix_names_is_read_as_long_as_something_reads_it() -> None:
    job = "on: push\njobs: {a: {runs-on: x, strategy: {matrix: {t: [ONE, TWO]}}, steps: [{run: x%s}]}}\n"
    before = {"w": job % ", env: {T: '${{ secrets[matrix.t] }}'}"}
    assert judge(before, {"w": job % ""}, {"ONE", "TWO"}) == []
    kept = {"w": job % ", env: {T: '${{ secrets[matrix.t] }}', U: x}"}
    assert any("ONE is still read, by its matrix" in said for said in judge(before, kept, {"ONE"}))


def test_a_called_job_that_asks_for_more_than_its_caller_has_is_found() -> None:
    main, called = ".github/workflows/main.yml", ".github/workflows/called.yml"
    caller = "on: push\npermissions: {}\njobs: {a: {uses: ./.github/workflows/called.yml}}\n"
    callee = "on: workflow_call\njobs: {b: {runs-on: x, steps: [{run: 'true'}]%s}}\n"
    before = {main: caller, called: callee % ""}
    after = {main: caller, called: callee % ", permissions: {contents: read}"}
    assert any("whose job b asks for contents: read" in said for said in judge(before, after, set()))
    assert not any("asks for" in said for said in judge(after, after, set()))
