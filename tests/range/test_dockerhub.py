"""The range's Docker Hub: who may do what with which token, and the bot's own puller as a second client."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from bot.images import ImageClient
from bot.range.clock import RangeClock
from bot.range.images import MANIFEST, digest_of
from bot.range.registries import docker
from bot.range.registries.dockerhub import DockerHub
from bot.range.registries.packages import PublishFailed, send
from bot.range.switchboard import Switchboard
from tests.slack_range import serving

ORG, OWNER, MEMBER, NAME = "harborlights", "maralind", "jonasweb", "harborlights/lighthouse"
MADE = docker.image(NAME, {"app.txt": b"one"})
FULL = f"repository:{NAME}:pull,push,delete"


@pytest.fixture(scope="module")
def served() -> Iterator[DockerHub]:
    clock = RangeClock()
    server = DockerHub(clock, Switchboard(clock))
    with serving(server.asgi) as url:
        server.base_url = url
        yield server


@pytest.fixture
def hub(served: DockerHub) -> DockerHub:
    """One public repository of an organization, with one image."""
    served.reset()
    served.clock.set(0.0)
    served.add_org(ORG, OWNER)
    served.add_user(MEMBER)
    served.publish(OWNER, NAME, ("1.0", "latest"), *MADE)
    return served


def jwt(hub: DockerHub, name: str, secret: str) -> dict[str, str]:
    """What the Hub's API is asked with."""
    answer = send("POST", f"{hub.base_url}/hub/v2/auth/token", json={"identifier": name, "secret": secret})
    assert answer.status_code == 200, answer.text
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


def call(hub: DockerHub, verb: str, path: str, headers: dict[str, str], **more: Any) -> requests.Response:
    return send(verb, f"{hub.base_url}/hub/v2{path}", headers=headers, **more)


def push(hub: DockerHub, name: str, secret: str, tag: str = "2.0") -> int:
    _, bearer = docker.bearer(hub.base_url, name, secret, f"repository:{NAME}:pull,push")
    return docker.push(hub.base_url, bearer, NAME, [tag], docker.image(NAME, {"app.txt": tag.encode()}))


# Who signs in


def test_a_token_is_worth_nothing_under_another_name_or_once_it_is_inactive(hub: DockerHub) -> None:
    token = hub.add_token(OWNER, "ci", scopes=("repo:write",))
    doors = f"{hub.base_url}/hub/v2/auth/token"
    for name, secret, status in (
        (OWNER, token, 200), (ORG, token, 401), (MEMBER, token, 401), (OWNER, token[:-1], 401), (OWNER, "", 401),
    ):  # fmt: skip
        assert docker.bearer(hub.base_url, name, secret)[0] == status, name
        assert send("POST", doors, json={"identifier": name, "secret": secret}).status_code == status
    hub.revoke("ci")
    assert docker.bearer(hub.base_url, OWNER, token)[0] == 401
    assert send("GET", f"{hub.base_url}/token").status_code == 400, "no service was named"


def test_a_bearer_holds_what_is_allowed_outlives_its_token_and_ends_after_five_minutes(hub: DockerHub) -> None:
    token = hub.add_token(OWNER, "ci", scopes=("repo:write",))
    _, bearer = docker.bearer(hub.base_url, OWNER, token, FULL)
    assert hub.bearers[bearer].access == {NAME: ("pull", "push")}, "and no delete, which is no error"
    hub.revoke("ci")
    assert docker.push(hub.base_url, bearer, NAME, ["late"], MADE) == 201
    hub.clock.advance(301)
    assert docker.push(hub.base_url, bearer, NAME, ["later"], MADE) == 401
    assert sorted(hub.images[NAME].tags) == ["1.0", "late", "latest"]


def test_the_registry_says_where_a_bearer_is_sold(hub: DockerHub) -> None:
    asked = send("GET", f"{hub.base_url}/v2/{NAME}/manifests/latest")
    challenge = asked.headers["www-authenticate"]
    assert (asked.status_code, f'realm="{hub.base_url}/token"' in challenge) == (401, True)
    assert f'scope="repository:{NAME}:pull"' in challenge
    host = hub.base_url.removeprefix("http://")
    (image,) = ImageClient(loopback=True).describe(f"{host}/{NAME}:latest")
    assert image.digest == digest_of(MADE[0]), "the bot's own puller, which knows nothing of this server"
    assert [file.path for file in ImageClient(loopback=True).files(image)] == ["app.txt"]


@pytest.mark.parametrize("scope, status", [
    ("repo:public_read", 401), ("repo:read", 401), ("repo:write", 201), ("repo:admin", 201),
])  # fmt: skip
def test_a_personal_token_does_what_its_permission_says(hub: DockerHub, scope: str, status: int) -> None:
    assert push(hub, OWNER, hub.add_token(OWNER, "ci", scopes=(scope,))) == status
    assert push(hub, MEMBER, hub.add_token(MEMBER, "his", scopes=("repo:admin",))) == 401, "he is no owner there"


def test_a_token_of_the_organization_is_held_to_its_scopes_and_repositories(hub: DockerHub) -> None:
    pull = hub.add_token(ORG, "pull", scopes=("scope-image-pull",))
    other = hub.add_token(ORG, "other", scopes=("scope-image-push",), packages=(f"{ORG}/other",))
    mine = hub.add_token(ORG, "mine", scopes=("scope-image-push",), packages=(NAME,))
    assert [push(hub, ORG, token) for token in (pull, other, mine)] == [401, 401, 201]
    assert mine.startswith("dckr_oat_")


def test_a_private_repository_is_not_there_for_others(hub: DockerHub) -> None:
    hub.images[NAME].private = True
    read, public = (hub.add_token(OWNER, scope, scopes=(scope,)) for scope in ("repo:read", "repo:public_read"))
    for who, secret, allowed in (("", "", ()), (OWNER, public, ()), (OWNER, read, ("pull",))):
        _, bearer = docker.bearer(hub.base_url, who, secret, f"repository:{NAME}:pull")
        assert hub.bearers[bearer].access[NAME] == allowed
    assert docker.pulled(hub.base_url, NAME, "latest") == ""
    path = f"/namespaces/{ORG}/repositories"
    assert call(hub, "GET", path, {}).json()["results"] == []
    assert call(hub, "GET", f"{path}/lighthouse/tags", {}).status_code == 404
    listing = jwt(hub, ORG, hub.add_token(ORG, "list", scopes=("scope-repository-list", "scope-image-pull")))
    assert [row["name"] for row in call(hub, "GET", path, listing).json()["results"]] == ["lighthouse"]
    assert call(hub, "GET", f"{path}/lighthouse/tags", listing).status_code == 200


# Tokens that manage tokens


def test_no_token_manages_tokens_and_a_password_does(hub: DockerHub) -> None:
    personal = hub.add_token(OWNER, "ci", scopes=("repo:admin",))
    shared = hub.add_token(ORG, "release", scopes=("scope-image-push",))
    for name, secret, kind in ((OWNER, personal, "personal"), (ORG, shared, "organization")):
        said = jwt(hub, name, secret)
        for path in ("/access-tokens", f"/orgs/{ORG}/access-tokens"):
            refused = call(hub, "GET", path, said)
            assert (refused.status_code, kind in refused.json()["message"]) == (403, True)
    mine = jwt(hub, OWNER, hub.password(OWNER))
    (row,) = call(hub, "GET", "/access-tokens", mine).json()["results"]
    assert (row["token_label"], row["is_active"], row["token"]) == ("ci", True, ""), "no list tells a token"
    (org,) = call(hub, "GET", f"/orgs/{ORG}/access-tokens", mine).json()["results"]
    assert (
        call(hub, "PATCH", f"/orgs/{ORG}/access-tokens/{org['id']}", mine, json={"is_active": False}).status_code == 200
    )
    assert docker.bearer(hub.base_url, ORG, shared)[0] == 401
    for _ in range(2):  # what is inactive already is no error
        changed = call(hub, "PATCH", f"/access-tokens/{row['uuid']}", mine, json={"is_active": False})
        assert (changed.status_code, changed.json()["is_active"]) == (200, False)
    assert call(hub, "PATCH", f"/access-tokens/{row['uuid']}", mine, json={"is_active": True}).json()["is_active"]
    assert docker.bearer(hub.base_url, OWNER, personal)[0] == 200, "it can be activated again"
    assert call(hub, "PATCH", f"/access-tokens/{row['uuid']}", mine, json={}).status_code == 400
    assert [call(hub, "DELETE", f"/access-tokens/{row['uuid']}", mine).status_code for _ in range(2)] == [204, 404]


def test_who_is_no_owner_manages_nothing_of_the_organization_and_nobodys_own(hub: DockerHub) -> None:
    hub.add_token(OWNER, "ci", scopes=("repo:read",))
    his, hers = jwt(hub, MEMBER, hub.password(MEMBER)), jwt(hub, OWNER, hub.password(OWNER))
    (row,) = call(hub, "GET", "/access-tokens", hers).json()["results"]
    assert call(hub, "DELETE", f"/access-tokens/{row['uuid']}", his).status_code == 404
    assert call(hub, "GET", f"/orgs/{ORG}/access-tokens", his).status_code == 403
    assert call(hub, "GET", "/orgs/nobody/access-tokens", his).status_code == 404
    assert call(hub, "GET", "/access-tokens", {}).status_code == 401
    hub.clock.advance(601)
    assert call(hub, "GET", "/access-tokens", his).status_code == 401, "a JWT lives for ten minutes"


def test_a_token_is_made_by_hand_and_told_once(hub: DockerHub) -> None:
    mine = jwt(hub, OWNER, hub.password(OWNER))
    made = call(hub, "POST", "/access-tokens", mine, json={"token_label": "new", "scopes": ["repo:write"]})
    assert (made.status_code, push(hub, OWNER, made.json()["token"])) == (201, 201)
    for bad in ({"token_label": "", "scopes": []}, {"token_label": "x", "scopes": ["repo:all"]}, {"token_label": "x"}):
        assert call(hub, "POST", "/access-tokens", mine, json=bad).status_code == 400
    many = [hub.add_token(OWNER, f"n{k}", scopes=("repo:read",)) for k in range(12)]
    first = call(hub, "GET", "/access-tokens", mine).json()
    assert (first["count"], len(first["results"]), first["next"] is not None) == (len(many) + 1, 10, True)
    assert len(call(hub, "GET", "/access-tokens?page=2", mine).json()["results"]) == 3


# Tags and manifests


def test_a_tag_is_deleted_by_who_may_and_its_manifest_stays(hub: DockerHub) -> None:
    path = f"/namespaces/{ORG}/repositories/lighthouse/tags/1.0"
    personal = jwt(hub, OWNER, hub.add_token(OWNER, "ci", scopes=("repo:admin",)))
    push_only = jwt(hub, ORG, hub.add_token(ORG, "push", scopes=("scope-image-push",)))
    other = jwt(hub, ORG, hub.add_token(ORG, "o", scopes=("scope-tag-admin",), packages=(f"{ORG}/other",)))
    assert [call(hub, "DELETE", path, who).status_code for who in ({}, personal, push_only, other)] == [
        401,
        403,
        403,
        403,
    ]
    admin = jwt(hub, ORG, hub.add_token(ORG, "bot", scopes=("scope-tag-admin",), packages=(NAME,)))
    assert [call(hub, "DELETE", path, admin).status_code for _ in range(2)] == [204, 404]
    assert docker.pulled(hub.base_url, NAME, "1.0") == ""
    assert docker.pulled(hub.base_url, NAME, digest_of(MADE[0])) == digest_of(MADE[0])


def test_a_manifest_that_a_tag_leads_to_cannot_be_deleted(hub: DockerHub) -> None:
    _, bearer = docker.bearer(hub.base_url, OWNER, hub.add_token(OWNER, "ci", scopes=("repo:admin",)), FULL)
    where, headers = f"{hub.base_url}/v2/{NAME}/manifests/{digest_of(MADE[0])}", {"Authorization": f"Bearer {bearer}"}
    assert send("DELETE", where, headers=headers).status_code == 403
    hub.images[NAME].tags.clear()
    assert [send("DELETE", where, headers=headers).status_code for _ in range(2)] == [202, 404]


def test_a_manifest_is_taken_whole_or_not_at_all(hub: DockerHub) -> None:
    _, bearer = docker.bearer(hub.base_url, OWNER, hub.add_token(OWNER, "ci", scopes=("repo:write",)), FULL)
    base = f"{hub.base_url}/v2/{NAME}"
    document, blobs = docker.image(NAME, {"app.txt": b"other"})

    def put(ref: str, data: bytes, kind: str = MANIFEST) -> int:
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": kind}
        return send("PUT", f"{base}/manifests/{ref}", headers=headers, data=data).status_code

    assert put("2.0", document) == 400, "its blobs are not there"
    assert put("2.0", MADE[0], "text/plain") == 400
    assert put(digest_of(document), MADE[0]) == 400, "another digest"
    index = {"mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [{"digest": digest_of(MADE[0])}]}
    assert put("multi", json.dumps(index).encode(), index["mediaType"]) == 201  # type: ignore[arg-type]
    headers = {"Authorization": f"Bearer {bearer}"}
    begun = send("POST", f"{base}/blobs/uploads/", headers=headers)
    wrong = send("PUT", f"{begun.headers['location']}&digest={digest_of(b'x')}", headers=headers, data=blobs[0])
    gone = send("PUT", f"{begun.headers['location']}&digest={digest_of(blobs[0])}", headers=headers, data=blobs[0])
    assert (wrong.status_code, gone.status_code) == (400, 404)
    assert sorted(send("GET", f"{base}/tags/list", headers=headers).json()["tags"]) == ["1.0", "latest", "multi"]


def test_the_activity_log_is_for_owners_and_for_the_scope(hub: DockerHub) -> None:
    path = f"/auditlogs/{ORG}?action=repo.tag.push&name={NAME}"
    reads = jwt(hub, ORG, hub.add_token(ORG, "log", scopes=("scope-activity-read",)))
    lacks = jwt(hub, ORG, hub.add_token(ORG, "no", scopes=("scope-image-push",)))
    personal = jwt(hub, OWNER, hub.add_token(OWNER, "ci", scopes=("repo:admin",)))
    assert [call(hub, "GET", path, who).status_code for who in (lacks, personal)] == [403, 403]
    assert call(hub, "GET", f"/auditlogs/{OWNER}", personal).status_code == 404, "personal accounts have none"
    rows = call(hub, "GET", path, reads).json()["logs"]
    assert [row["data"]["tag"] for row in rows] == ["latest", "1.0"]
    assert call(hub, "GET", path, jwt(hub, OWNER, hub.password(OWNER))).json()["logs"] == rows


def test_docker_of_a_job_does_what_it_says_or_says_that_it_does_not(hub: DockerHub) -> None:
    token = hub.add_token(OWNER, "ci", scopes=("repo:write",))
    job = docker.Docker(hub.base_url)
    with pytest.raises(PublishFailed, match="incorrect username or password"):
        job.run(["login", "-u", OWNER, "--password-stdin"], "wrong")
    job.run(["login", "-u", OWNER, "--password-stdin"], f"{token}\n")
    job.build(["build", "-t", f"{NAME}:3.0", "."], {"app.txt": b"three"})
    job.run(["tag", f"{NAME}:3.0", NAME], "")
    assert "digest" in job.run(["push", f"{NAME}:3.0"], "") + job.run(["push", NAME], "")
    assert hub.delivered(NAME) == "3.0"
    with pytest.raises(PublishFailed, match="cannot do this"):
        job.run(["push", f"{NAME}:4.0"], "")
    hub.revoke("ci")
    with pytest.raises(PublishFailed, match="denied"):
        job.run(["push", f"{NAME}:3.0"], "")


def test_it_says_what_it_holds(hub: DockerHub) -> None:
    token = hub.add_token(OWNER, "ci", scopes=("repo:write",))
    _, bearer = docker.bearer(hub.base_url, OWNER, token)
    assert {token, bearer, hub.password(OWNER)} <= set(hub.values())
    digest = digest_of(MADE[0])
    assert hub.snapshot() == {"packages": {NAME: {"1.0": digest, "latest": digest}}, "tokens": ["ci: live"]}
    assert send("GET", f"{hub.base_url}/nowhere").status_code == 404
