"""TruffleHog publishes no JSON Schema: findings are generated from what stands for one, its own definition of places.

trufflesecurity/trufflehog#306 asked for a schema and was closed with an example in the README. What there is: the
struct that ``--json`` prints (pkg/output/json.go) and the messages of proto/source_metadata.proto. The table says their
fields and types; Go's encoding leaves out what is zero, and calls a message by its member of ``MetaData`` in capitals.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.intake import formats
from bot.intake.trufflehog import FIELDS, read
from bot.model import Exposure
from tests.intake.office import TOKEN

_LINE, _MAIL = "line:int", "email timestamp"
MESSAGES = {
    "Azure": "container file uploaded link email",
    "Bitbucket": f"file repository workspace snippet_id title commit link {_MAIL} {_LINE}",
    "Buildkite": f"org pipeline link build_number:int {_MAIL}",
    "Circleci": "vcs_type username repository build_number:int build_step link email",
    "TravisCI": "username repository build_number job_number link public:bool",
    "Confluence": f"page space version link location file user comment_id {_MAIL}",
    "Docker": "file image layer tag",
    "Ecr": "file layer image registry region link email",
    "Filesystem": f"file link email {_LINE}",
    "Git": f"commit file repository repository_local_path {_MAIL} {_LINE}",
    "Github": f"link username repository commit file visibility:enum repository_local_path {_MAIL} {_LINE}",
    "Gitlab": f"commit file link repository project_id:int project_name project_owner {_MAIL} {_LINE}",
    "Gcs": "bucket filename link email created_at updated_at acls:list content_type",
    "Huggingface": f"link username repository commit file visibility:enum resource_type {_MAIL} {_LINE}",
    "Jira": f"issue author link location {_MAIL}",
    "Npm": "file package release link email",
    "Pypi": "file package release link email",
    "S3": f"bucket file link {_MAIL}",
    "Slack": f"channel_id channel_name user_id link file visibility:enum location {_MAIL}",
    "Gerrit": f"commit file project {_MAIL} {_LINE}",
    "Test": "file",
    "Jenkins": "project_name build_number:int link timestamp",
    "Teams": f"channel_id channel_name user_id link file location team_name team_id {_MAIL}",
    "Artifactory": f"repo path link username {_MAIL}",
    "Syslog": "hostname appname procid timestamp client facility",
    "Sharepoint": f"link author title views:int docid {_MAIL}",
    "GoogleDrive": f"file link shared:bool last_modified_by path {_MAIL}",
    "AzureRepos": f"link username repository commit file visibility:enum project organization {_MAIL} {_LINE}",
    "Postman": "link workspace_uuid workspace_name collection_id collection_name request_id request_name field_type "
    "location_type:enum response_id response_name folder_id folder_name environment_id environment_name",
    "Elasticsearch": "index document_id timestamp",
    "Sentry": "event_id organization_id organization_slug project_id project_slug issue_id date_created link",
    "Stdin": "",
    "SlackContinuous": f"channel_id channel_name user_id link file visibility:enum location workspace_id {_MAIL}",
    "JsonEnumerator": "metadata",
}  # fmt: skip
OLD = {"CircleCI"}  # how older versions called one
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), max_size=40)
KINDS = {
    "": WORDS, "int": st.integers(0, 2**53) | st.integers(0, 10**6).map(str), "bool": st.just(True),
    "enum": st.integers(1, 3), "list": st.lists(WORDS, max_size=3),
}  # fmt: skip


def place(fields: str) -> st.SearchStrategy[dict[str, Any]]:
    """The table of a message: each field is there or, where it is zero, left out."""
    named = (each.partition(":") for each in fields.split())
    return st.fixed_dictionaries({}, optional={name: KINDS[kind] for name, _, kind in named})


def finding(name: str, fields: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The struct that is printed, with every field that it has."""
    return {
        "SourceMetadata": {"Data": {name: fields}}, "SourceID": 0, "SourceType": 16, "SourceName": "it",
        "DetectorType": 3, "DetectorName": "NpmTokenV2", "DetectorDescription": "", "DecoderName": "PLAIN",
        "Verified": False, "VerificationFromCache": False, "Raw": TOKEN, "RawV2": "", "Redacted": "",
        "ExtraData": None, "StructuredData": None, **more,
    }  # fmt: skip


@pytest.mark.parametrize("name", MESSAGES)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_a_finding_from_each_of_its_sources_is_read(name: str, data: st.DataObject) -> None:
    fields = data.draw(place(MESSAGES[name]))
    text = json.dumps(finding(name, fields)) + "\n"
    tool, (one,) = formats.read(text)
    assert (tool.name, one.kind, one.value) == ("trufflehog", "npm-token", TOKEN)
    paths = [str(fields[each]).strip() for each in FIELDS["path"] if str(fields.get(each, "")).strip()]
    assert one.where or not paths, "where it stands is told, or that it came from there"
    assert name in one.where or paths
    assert isinstance(one.line, int)


@pytest.mark.parametrize("name, fields, exposure", [
    ("TravisCI", {"public": True}, Exposure.PUBLIC), ("TravisCI", {}, Exposure.UNKNOWN),
    ("Github", {"visibility": 1}, Exposure.INTERNAL), ("Github", {}, Exposure.UNKNOWN),
    ("Slack", {"visibility": 2}, Exposure.INTERNAL), ("Github", {"visibility": 3}, Exposure.UNKNOWN),
])  # fmt: skip
def test_who_could_see_it(name: str, fields: dict[str, Any], exposure: Exposure) -> None:
    (one,) = read([finding(name, fields)])
    assert one.exposure is exposure


@pytest.mark.parametrize("name", ["Circleci", "TravisCI", *OLD])
def test_a_build_service_says_owner_and_name_apart(name: str) -> None:
    fields = {"username": "harbor-lights", "repository": "ferry", "build_number": 9, "vcs_type": "github"}
    (one,) = read([finding(name, fields)])
    assert (one.repository, one.where) == ("harbor-lights/ferry", f"{name} 9")
    if name != "TravisCI":
        (other,) = read([finding(name, fields | {"vcs_type": "bitbucket"})])
        assert other.repository == "", "that is no repository of GitHub's"
