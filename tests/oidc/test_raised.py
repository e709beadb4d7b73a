"""semantic-release named in an old version: it is raised where nothing in the repository was made for the old one."""

from __future__ import annotations

import json

import pytest

from bot.oidc.plan import Plan, plan
from bot.oidc.repository import FOLDER, Repository

FILE = f"{FOLDER}release.yml"
RELEASE = """\
on: {push: {branches: [main]}}
jobs:
  release:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v4
      - run: npx semantic-release@19
        env: {NPM_TOKEN: '${{ secrets.NPM_TOKEN }}'}
"""
OWN = {"branches": ["main"], "plugins": ["@semantic-release/npm", ["@semantic-release/git", {"assets": ["a"]}]]}


def planned(text: str = RELEASE, *, whole: bool = True, **files: str) -> Plan:
    beside = {name.replace("__", "."): data.encode() for name, data in files.items()}
    return plan(Repository.of({FILE: text.encode(), **beside}, whole=whole))


@pytest.mark.parametrize(
    "files",
    [
        {}, {"package__json": "{}"}, {"package__json": json.dumps({"release": OWN})}, {"__releaserc": json.dumps(OWN)},
        {"__releaserc__yml": "preset: angular\nplugins:\n  - '@semantic-release/npm'\n"},
    ],
)  # fmt: skip
def test_it_is_raised_where_its_own_plugins_and_preset_are_all_there_is(files: dict[str, str]) -> None:
    made = planned(**files)
    assert [outcome.refusal for outcome in made.outcomes] == [None]
    assert "npx semantic-release@25\n" in made.after.files[FILE].decode()
    assert not any("configuration" in each for each in made.outcomes[0].assumed)


@pytest.mark.parametrize(
    "files",
    [
        {"package__json": json.dumps({"release": {"extends": "@acme/config"}})},
        {"package__json": json.dumps({"release": {"plugins": ["semantic-release-docker"]}})},
        {"__releaserc__json": json.dumps({"plugins": [["@semantic-release/npm", {"preset": "conventionalcommits"}]]})},
        {"__releaserc": "preset: conventionalcommits\n"},
        {"__releaserc": "{"},
        {"release__config__js": "module.exports = {}\n"},
    ],
)
def test_what_may_have_been_made_for_the_old_one_leaves_it(files: dict[str, str]) -> None:
    made = planned(**files)
    assert [outcome.refusal and outcome.refusal.code for outcome in made.outcomes] == ["tool-cannot"]
    assert made.changed == {}


def test_a_configuration_that_is_not_there_is_assumed_and_said() -> None:
    [outcome] = planned(whole=False).migrated
    assert any("the configuration of semantic-release names its own plugins" in each for each in outcome.assumed)


def test_the_configuration_is_the_one_of_the_folder_in_which_it_runs() -> None:
    text = RELEASE.replace("        env:", "        working-directory: web\n        env:")
    package = json.dumps({"release": {"extends": "x"}})
    assert planned(text, package__json=package).changed
    assert planned(text, **{"web/package__json": package}).changed == {}


def test_a_version_in_a_script_of_the_package_is_left() -> None:
    text = RELEASE.replace("npx semantic-release@19", "npm run release")
    made = planned(text, package__json=json.dumps({"scripts": {"release": "npx semantic-release@19"}}))
    assert [outcome.refusal and outcome.refusal.code for outcome in made.outcomes] == ["tool-cannot"]
