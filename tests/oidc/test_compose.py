"""Keys that reach containers through Docker Compose: the session token goes with them, or nothing is touched."""

from __future__ import annotations

import pytest
import yaml

from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository
from bot.oidc.splice import restored

PATH = f"{FOLDER}ci.yml"
CI = """\
on: {push: {branches: [main]}}
jobs:
  test:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: |
          AWS_ACCESS_KEY_ID=${{ secrets.AWS_ID }} AWS_SECRET_ACCESS_KEY=${{ secrets.AWS_KEY }} docker compose up -d
"""
LIST = """\
services:
  app:
    image: acme/app
    environment:
      # of the runner
      - AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID}
      - AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY} # the key
      - STAGE=test
  store:
    image: minio/minio
    environment:
      - AWS_SECRET_ACCESS_KEY=minio-minio
"""
MAP = """\
services:
    app:
        environment:
            AWS_ACCESS_KEY_ID: "${AWS_ACCESS_KEY_ID}"
            AWS_SECRET_ACCESS_KEY: "${AWS_SECRET_ACCESS_KEY}"
    job:
        environment:
            AWS_SECRET_ACCESS_KEY:
            AWS_ACCESS_KEY_ID:
"""


def planned(compose: str = "", *, text: str = CI, name: str = "docker-compose.yml", whole: bool = True) -> Plan:
    files = {PATH: text.encode()} | ({name: compose.encode()} if compose else {})
    return plan(Repository.of(files, whole=whole))


def lines(made: Plan, name: str) -> set[str]:
    old, new = (each.files[name].decode().splitlines() for each in (made.before, made.after))
    assert all(line in new for line in old), "nothing but lines that came"
    return {line.strip() for line in new if line not in old}


def test_a_list_of_variables_gets_the_third_one_beside_the_two() -> None:
    made = planned(LIST)
    assert made.refused == []
    assert lines(made, "docker-compose.yml") == {"- AWS_SESSION_TOKEN=${AWS_SESSION_TOKEN:-}"}
    assert "\n          docker compose up -d" in made.after.files[PATH].decode()
    text = made.after.files["docker-compose.yml"].decode()
    assert restored(text, made.outcomes[0].splices["docker-compose.yml"]) == LIST
    assert plan(made.after).outcomes == ()


def test_a_table_of_variables_gets_it_too_in_its_own_style() -> None:
    made = planned(MAP)
    assert lines(made, "docker-compose.yml") == {"AWS_SESSION_TOKEN: ${AWS_SESSION_TOKEN:-}"}
    assert made.after.files["docker-compose.yml"].decode().count("AWS_SESSION_TOKEN: ") == 2


def test_a_table_in_braces_gets_it_between_them_quoted_as_braces_need_it() -> None:
    made = planned("services: {app: {environment: {AWS_SECRET_ACCESS_KEY: '${AWS_SECRET_ACCESS_KEY}'}}}\n")
    assert made.refused == []
    given = yaml.safe_load(made.after.files["docker-compose.yml"])["services"]["app"]["environment"]
    assert given == {
        "AWS_SECRET_ACCESS_KEY": "${AWS_SECRET_ACCESS_KEY}", "AWS_SESSION_TOKEN": "${AWS_SESSION_TOKEN:-}"
    }  # fmt: skip


def test_a_file_that_hands_it_on_already_stays_as_it_is() -> None:
    made = planned(LIST.replace("      - STAGE=test\n", "      - AWS_SESSION_TOKEN\n"))
    assert made.refused == []
    assert list(made.changed) == [PATH]


@pytest.mark.parametrize(
    ("compose", "code", "lacks"),
    [
        ("", "forwarded", "the compose file of the top folder"),
        (LIST.replace("    image: acme/app\n", "    build: {args: [AWS_SECRET_ACCESS_KEY]}\n"), "forwarded", ""),
        (LIST.replace("environment:\n      # of", "environment: &keys\n      # of"), "anchor", ""),
    ],
)
def test_what_cannot_be_told_or_edited_is_refused(compose: str, code: str, lacks: str) -> None:
    made = planned(compose)
    assert made.changed == {}
    (outcome,) = made.refused
    assert outcome.refusal is not None
    assert (outcome.refusal.code, outcome.refusal.lacks) == (code, lacks)


def test_the_file_that_the_command_names_is_the_one() -> None:
    text = CI.replace("compose up", "compose -f ops/ci.yaml up")
    assert set(planned(LIST, text=text, name="ops/ci.yaml").changed) == {PATH, "ops/ci.yaml"}
    refusal = planned(LIST, text=text).refused[0].refusal
    assert refusal is not None
    assert refusal.lacks == "ops/ci.yaml"


def test_services_that_are_started_after_a_login_are_looked_at_too() -> None:
    text = """\
on: {push: {branches: [main]}}
jobs:
  test:
    runs-on: ubuntu-latest
    env:
      AWS_ACCESS_KEY_ID: ${{ secrets.AWS_ACCESS_KEY_ID }}
      AWS_SECRET_ACCESS_KEY: ${{ secrets.AWS_SECRET_ACCESS_KEY }}
    steps:
      - uses: actions/checkout@v4
      - run: docker compose up -d
"""
    assert lines(planned(LIST, text=text), "docker-compose.yml")
    (outcome,) = planned(text=text, whole=False).migrated
    assert any("hands on AWS_SESSION_TOKEN" in each for each in outcome.assumed)
