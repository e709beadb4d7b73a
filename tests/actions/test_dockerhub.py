"""Docker Hub: what explains a tag, what is taken back, what is refused, and what its client makes of each answer."""

from __future__ import annotations

import base64
import json
import time
from dataclasses import replace
from typing import Any

import pytest

from bot.actions import CATALOGUE, packages, people
from bot.actions.dockerhub import hub
from bot.errors import Forbidden, InputError, NotFound, RateLimited, Refused, Rejected, Unavailable
from bot.model import Grade, ImageTag, Liveness, Secret, Verdict
from bot.range.images import Layer, built
from bot.range.npm_theft import dispatch
from bot.range.registries import HUB_ORG, HUB_OWNER
from bot.range.registries.docker import image
from bot.range.registries.docker_theft import IMAGE, REPOSITORY, hub_of
from bot.range.registries.theft import BAD, GOOD, LATER, OLD
from bot.registries.dockerhub import DockerHubClient, images_in
from tests.actions.conftest import Drill, proof
from tests.actions.dockerhub_arrangements import bad_push, bad_tag, find_in, leaked, moved, pushed, released

FIND = "dockerhub.find_unexplained_tags"


class Said:
    """What a person has answered."""

    def __init__(self, what: str = "done") -> None:
        self.what = what

    def answer(self) -> tuple[str, str]:
        return "mara (simulated)", self.what


def tags(drill: Drill) -> dict[str, str]:
    """Where each tag leads, by the digest's first characters."""
    return {tag: each.digest for tag, each in hub_of(drill.range).images[IMAGE].tags.items()}


def found(drill: Drill, given: Any) -> tuple[list[str], list[tuple[str, str]]]:
    """What is to be deleted, and what is moved back to which digest."""
    _, outcome = drill.do(FIND, given)
    return [each.tag for each in outcome.tags], [(each.tag, each.good) for each in outcome.moves]


# What explains a tag


def test_a_number_that_nobody_released_goes_and_latest_is_moved_back(drill: Drill) -> None:
    given = bad_push(drill)
    assert found(drill, given) == ([BAD], [("latest", tags(drill)[GOOD])])


def test_a_release_by_the_workflow_is_explained(drill: Drill) -> None:
    given = find_in(drill)
    git = drill.range.github.state.repos[REPOSITORY].git
    git.refs[f"refs/tags/v{GOOD}"] = git.refs["refs/heads/main"]
    run = dispatch(drill.range, "release.yml", f"v{GOOD}", REPOSITORY)
    assert run["conclusion"] == "success", "which has pushed"
    assert found(drill, given) == ([], [])


def test_a_tag_of_git_explains_a_new_tag_and_not_one_that_was_moved(drill: Drill) -> None:
    given = find_in(drill)
    git = drill.range.github.state.repos[REPOSITORY].git
    git.refs[f"refs/tags/v{LATER}"] = git.refs["refs/heads/main"]
    released(drill, LATER)  # by hand, latest too
    assert found(drill, given) == ([], [])
    good = tags(drill)[OLD]
    pushed(drill, BAD, OLD)  # an old number is pushed over; git has a tag of its name
    assert found(drill, given) == ([], [(OLD, good)])


def test_without_the_log_latest_goes_to_the_newest_good_number(drill: Drill) -> None:
    given = bad_push(drill)
    pushed(drill, BAD, "2.4")  # follows a number, and has never led anywhere else
    for token in hub_of(drill.range).tokens.values():
        token.scopes -= {"scope-activity-read"}
    action = CATALOGUE[FIND]
    outcome = action.run(drill.world, given, action.look(drill.world, given))
    assert [each.tag for each in outcome.tags] == [BAD]
    assert {each.tag: each.good for each in outcome.moves} == dict.fromkeys(("2.4", "latest"), tags(drill)[GOOD])
    assert "the activity log of harborlights/lighthouse cannot be read" in outcome.summary


def test_nothing_is_suspected_without_a_time_and_what_is_not_there_is_said(drill: Drill) -> None:
    given = bad_push(drill)
    assert found(drill, replace(given, since="")) == ([], [])
    del hub_of(drill.range).images[IMAGE]
    _, outcome = drill.do(FIND, given)
    assert "is not on Docker Hub" in outcome.summary


def test_the_images_are_those_that_the_workflow_names_and_those_of_the_account(drill: Drill) -> None:
    given = find_in(drill)
    document, blobs = image("maralind/sandbox", {"a": b"a"})
    hub_of(drill.range).publish(HUB_OWNER, "maralind/sandbox", ("latest",), document, blobs)
    action = CATALOGUE[FIND]
    assert action.look(drill.world, given).packages == (IMAGE, "maralind/sandbox")
    gone = tuple(replace(each, workflow=".github/workflows/gone.yml") for each in given.workflows)
    assert action.look(drill.world, replace(given, workflows=gone)).packages == ("maralind/sandbox",)


@pytest.mark.parametrize("text, named", [
    ("run: docker push harborlights/lighthouse:1.0", ("harborlights/lighthouse",)),
    ("run: docker buildx build -t docker.io/harborlights/lighthouse:${{ github.sha }} .", ("harborlights/lighthouse",)),
    ("      tags: |\n        harborlights/one:1\n        harborlights/two:1\n      push: true\n  x: other/thing:1",
     ("harborlights/one", "harborlights/two")),
    ("images: harborlights/a,harborlights/b", ("harborlights/a", "harborlights/b")),
    ("uses: actions/checkout@v5\n- run: cp dist/app.tar.gz out/", ()),
    ("run: docker push ghcr.io/harborlights/lighthouse:1.0", ()),
    ("run: docker push 123456789012.dkr.ecr.eu-west-1.amazonaws.com/harborlights/x:1", ()),
])  # fmt: skip
def test_which_images_a_workflow_names(text: str, named: tuple[str, ...]) -> None:
    assert images_in(text) == named


# Searched again, once the token is dead


def test_searched_again_it_waits_for_what_was_bought_and_sees_what_that_pushes(drill: Drill) -> None:
    first = bad_push(drill)
    _, before = drill.do(FIND, first)
    drill.do("dockerhub.move_tag_back", before.moves[0])
    drill.do("dockerhub.delete_tag", before.tags[0])
    again = replace(first, waits=True, known_tags=before.tags, known_moves=before.moves)
    look, outcome = drill.do(FIND, again)
    waits = proof(drill, FIND, again, look, outcome)
    assert (waits.verdict, "until then it may push" in waits.detail) == (Verdict.NOT_YET, True)
    drill.range.clock.advance(601)
    assert proof(drill, FIND, again, look, outcome).verdict == Verdict.PROVEN
    pushed(drill, BAD, "latest")  # the very image that was known, by a bearer that had not ended
    red = proof(drill, FIND, again, look, outcome)
    assert (red.verdict, "harborlights/lighthouse:latest" in red.detail) == (Verdict.REFUTED, True)


def test_what_people_have_let_stand_is_no_surprise(drill: Drill) -> None:
    first = bad_push(drill)
    _, before = drill.do(FIND, first)
    again = replace(first, waits=True, known_tags=before.tags, known_moves=before.moves)
    look, outcome = drill.do(FIND, again)
    drill.range.clock.advance(601)
    assert proof(drill, FIND, again, look, outcome).verdict == Verdict.PROVEN
    stranger = replace(again, known_tags=(), known_moves=())
    assert proof(drill, FIND, stranger, look, outcome).verdict == Verdict.REFUTED


# Tags taken back


def test_an_undo_pushes_back_what_was_kept_though_the_registry_has_lost_it(drill: Drill) -> None:
    given = bad_tag(drill)
    before, outcome = drill.do("dockerhub.delete_tag", given)
    kept = json.loads(base64.b64decode(before.document))
    assert kept["config"]["digest"].startswith("sha256:")
    held = hub_of(drill.range).images[IMAGE]
    held.tags.pop("latest")
    del held.manifests[given.digest]
    undo = CATALOGUE["dockerhub.delete_tag"].undo
    assert undo is not None
    assert undo(drill.world, given, before, outcome).changed
    assert tags(drill)[BAD] == given.digest
    held.tags.pop(BAD)
    held.blobs.pop(kept["layers"][0]["digest"])
    with pytest.raises(Rejected, match="400"):  # its layers are gone: no manifest brings them back
        undo(drill.world, given, before, outcome)


def test_a_large_manifest_is_pushed_back_from_the_registry(drill: Drill) -> None:
    given = moved(drill)
    action = CATALOGUE["dockerhub.move_tag_back"]
    before = action.look(drill.world, given)
    outcome = action.run(drill.world, given, before)
    assert action.undo is not None
    assert action.undo(drill.world, given, replace(before, document=""), outcome).changed
    assert tags(drill)["latest"] == given.bad
    assert action.run(drill.world, given, before).changed
    del hub_of(drill.range).images[IMAGE].tags[BAD]
    del hub_of(drill.range).images[IMAGE].manifests[given.bad]
    with pytest.raises(NotFound):
        action.undo(drill.world, given, replace(before, document=""), outcome)


def test_what_the_maintainers_have_pushed_meanwhile_stands(drill: Drill) -> None:
    move, gone = moved(drill), ImageTag(package=IMAGE, tag=BAD, digest="")
    gone = replace(gone, digest=tags(drill)[BAD])
    for name, given in (("dockerhub.move_tag_back", move), ("dockerhub.delete_tag", gone)):
        action = CATALOGUE[name]
        before = action.look(drill.world, given)
        released(drill, LATER)
        document, blobs = image(IMAGE, {"app.txt": b"a good 2.4.1"})
        hub_of(drill.range).publish(HUB_OWNER, IMAGE, (BAD,), document, blobs)
        assert not action.run(drill.world, given, before).changed
        assert not action.look(drill.world, given).needed
        assert (
            action.prove(drill.world, given, before, action.run(drill.world, given, before)).verdict == Verdict.PROVEN
        )
        pushed(drill, BAD, BAD, "latest")


def test_what_is_not_there_needs_nothing(drill: Drill) -> None:
    move = moved(drill)
    hub_of(drill.range).images[IMAGE].tags.clear()
    for name, given in (
        ("dockerhub.move_tag_back", move), ("dockerhub.delete_tag", ImageTag(package=IMAGE, tag="1", digest="sha256:x"))
    ):  # fmt: skip
        action = CATALOGUE[name]
        before = action.look(drill.world, given)
        assert (before.needed, before.current, action.breaks(before).stops) == (False, "", ())
        assert action.evidence is not None
        assert action.evidence(drill.world, given, before) == ()


def test_evidence_holds_manifest_config_and_log_by_digest_and_an_index_with_its_images(drill: Drill) -> None:
    given = bad_tag(drill)
    held = hub_of(drill.range).images[IMAGE]
    kind = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"mediaType": kind, "manifests": [{"digest": given.digest}, {"digest": tags(drill)[GOOD]}]})
    digest = hub_of(drill.range).publish(HUB_OWNER, IMAGE, ("multi",), index.encode(), [])
    held.manifests[digest] = (kind, index.encode())
    action = CATALOGUE["dockerhub.delete_tag"]
    assert action.evidence is not None
    for tag, each in (("multi", digest), (BAD, given.digest)):
        row = replace(given, tag=tag, digest=each)
        names = {ref.name for ref in action.evidence(drill.world, row, action.look(drill.world, row))}
        assert f"dockerhub/{IMAGE}:{tag}/record.json" in names
        assert f"dockerhub/{IMAGE}@{given.digest}/config.json" in names
        assert f"dockerhub/{IMAGE}@{each}/manifest.json" in names
    refs = {ref.name: ref for ref in action.evidence(drill.world, given, action.look(drill.world, given))}
    record = json.loads(drill.room.read(refs[f"dockerhub/{IMAGE}:{BAD}/record.json"].sha256))
    assert record["record"]["activity"][0]["digest"] == given.digest
    assert refs[f"dockerhub/{IMAGE}@{given.digest}/manifest.json"].sha256 == given.digest.removeprefix("sha256:")


def test_evidence_says_why_the_log_is_not_in_it(drill: Drill) -> None:
    given = bad_tag(drill)
    drill.range.switchboard.add([{"server": "dockerhub", "route": "/hub/v2/auditlogs/*", "status": 403}])
    action = CATALOGUE["dockerhub.delete_tag"]
    assert action.evidence is not None
    refs = {ref.name: ref for ref in action.evidence(drill.world, given, action.look(drill.world, given))}
    assert b"403" in drill.room.read(refs[f"dockerhub/{IMAGE}:{BAD}/record.json"].sha256)


def test_who_may_not_push_or_delete_is_told_what_is_missing(drill: Drill) -> None:
    move = moved(drill)
    bad = ImageTag(package=IMAGE, tag=BAD, digest=move.bad)
    own = next(t for t in hub_of(drill.range).tokens.values() if t.user == HUB_ORG)
    own.scopes = frozenset({"scope-image-pull"})
    with pytest.raises(Forbidden, match="may not push there") as caught:
        drill.do("dockerhub.move_tag_back", move)
    assert caught.value.permission == "scope-image-push"
    with pytest.raises(Forbidden, match="insufficient scope"):
        drill.do("dockerhub.delete_tag", bad)
    own.revoked = True
    with pytest.raises(Refused):
        drill.do("dockerhub.move_tag_back", move)


# Tokens


@pytest.mark.parametrize("organizations", [False, True])
def test_a_revocation_in_docker_home_is_proven_by_a_sign_in_and_not_by_the_word(
    drill: Drill, organizations: bool
) -> None:  # fmt: skip
    credential = leaked(drill, organizations=organizations)
    given, do = people.DoIn(who="mara", task="deactivate it", credential=credential), CATALOGUE["people.do"]
    before = do.look(drill.world, given)
    outcome = do.run(drill.world.with_answers(Said()), given, before)
    assert do.prove(drill.world, given, before, outcome).verdict == Verdict.NOT_YET
    drill.range.person("revoke-dockerhub-token")
    done = do.prove(drill.world, given, before, outcome)
    assert (done.verdict, done.grade) == (Verdict.PROVEN, Grade.REFUSED)
    assert f"401 to a sign-in as {credential.account}" in done.detail
    assert not do.look(drill.world, given).needed, "revoked already: nobody is asked to do it again"


def test_a_token_whose_name_is_not_known_is_a_persons_word_only(drill: Drill) -> None:
    credential = replace(leaked(drill), account="")
    drill.range.person("revoke-dockerhub-token")
    live, why = packages.tried(drill.world, credential) or (None, "")
    assert (live, "asks for the account's name" in why) == (Liveness.UNKNOWN, True)
    given, do = people.DoIn(who="mara", task="deactivate it", credential=credential), CATALOGUE["people.do"]
    before = do.look(drill.world, given)
    assert before.needed
    word = do.prove(drill.world, given, before, do.run(drill.world.with_answers(Said()), given, before))
    assert (word.grade, "under which name it signs in is not known" in word.detail) == (Grade.WORD, True)


def test_a_new_token_is_tried_before_it_is_taken(drill: Drill) -> None:
    credential, action = leaked(drill), CATALOGUE["people.rotate_by_hand"]
    given = people.RotateIn(who="mara", task="make a new one", credential=credential)
    before = action.look(drill.world, given)
    dead = drill.world.secrets.seal("new", "dckr_pat_" + "A" * 27)
    with pytest.raises(InputError, match="Docker Hub does not accept"):
        action.run(drill.world.with_answers(Said(dead)), given, before)
    value = drill.range.person("mint-dockerhub-token")["secret"]
    ref = drill.world.secrets.seal("new", value)
    outcome = action.run(drill.world.with_answers(Said(ref)), given, before)
    done = action.prove(drill.world, given, before, outcome)
    assert (done.verdict, done.grade) == (Verdict.PROVEN, Grade.STATE)
    hub_of(drill.range).revoke("release-2")
    assert action.prove(drill.world, given, before, outcome).verdict == Verdict.REFUTED
    nameless = replace(given, credential=replace(credential, account=""))
    assert action.prove(drill.world, nameless, before, outcome).grade == Grade.WORD


# The client


@pytest.mark.parametrize("fault, error", [
    ({"status": 503}, Unavailable), ({"status": 409}, Unavailable), ({"reset": True}, Unavailable),
    ({"status": 429, "headers": {"x-retry-after": "AT"}}, RateLimited), ({"status": 403}, Forbidden),
    ({"status": 418}, Rejected),
])  # fmt: skip
@pytest.mark.parametrize("method, name", [
    pytest.param("PUT", "dockerhub.move_tag_back", marks=pytest.mark.slow), ("DELETE", "dockerhub.delete_tag"),
])  # fmt: skip
def test_what_docker_hub_answers_becomes_one_of_our_errors(
    drill: Drill, fault: dict[str, Any], error: type, method: str, name: str
) -> None:  # fmt: skip
    given: Any = moved(drill) if method == "PUT" else bad_tag(drill)
    if "headers" in fault:
        fault = fault | {"headers": {"x-retry-after": str(int(time.time()) + 30)}}
    drill.range.switchboard.add([{"server": "dockerhub", "method": method, "times": 0, **fault}])
    with pytest.raises(error) as caught:
        drill.do(name, given)
    assert 20 < getattr(caught.value, "retry_after", 30.0) < 31


@pytest.mark.parametrize("fault, error", [({"status": 503}, Unavailable), ({"status": 429}, RateLimited)])
def test_a_sign_in_that_is_not_answered_leaves_no_verdict(drill: Drill, fault: dict[str, Any], error: type) -> None:
    credential = leaked(drill)
    drill.range.switchboard.add([{"server": "dockerhub", "route": "/token", "times": 0, **fault}])
    with pytest.raises(error):
        packages.tried(drill.world, credential)


def test_an_answer_that_is_neither_yes_nor_no_is_unknown(drill: Drill) -> None:
    credential = leaked(drill)
    drill.range.switchboard.add([{"server": "dockerhub", "route": "/token", "status": 204}])
    live, why = packages.tried(drill.world, credential) or (None, "")
    assert (live, "204" in why) == (Liveness.UNKNOWN, True)


def test_documents_with_another_digest_are_not_taken(drill: Drill) -> None:
    given = bad_tag(drill)
    held = hub_of(drill.range).images[IMAGE]
    kind, data = held.manifests[given.digest]
    held.manifests[given.digest] = (kind, data + b" ")
    with pytest.raises(Rejected, match="another manifest"):
        hub(drill.world).manifest(IMAGE, given.digest)
    held.manifests[given.digest] = (kind, b"[]")
    config = json.loads(data)["config"]["digest"]
    held.blobs[config] = b"other"
    with pytest.raises(Rejected, match="another blob"):
        hub(drill.world).blob(IMAGE, config)


def test_without_a_token_of_ours_it_reads_what_is_public_and_names_the_setting_to_write(drill: Drill) -> None:
    given = bad_tag(drill)
    url = hub_of(drill.range).base_url
    anonymous = DockerHubClient(base_url=f"{url}/hub", registry_url=url, auth_url=url)
    assert anonymous.digest(IMAGE, BAD) == given.digest
    assert {row.version for row in anonymous.releases(IMAGE)} == {OLD, GOOD, BAD, "latest"}
    assert anonymous.is_default(IMAGE, BAD)
    assert not anonymous.is_default(IMAGE, "9")
    for write in (lambda: anonymous.delete_tag(IMAGE, BAD), lambda: anonymous.pushes(IMAGE)):
        with pytest.raises(Forbidden, match="BULKHEAD_DOCKERHUB_TOKEN"):
            write()
    with pytest.raises(Rejected, match="no token manage tokens"):
        anonymous.send_as(Secret("x", "x"), "DELETE", "/")
    with pytest.raises(Rejected, match="is no repository"):
        anonymous.releases("ubuntu")
    hub_of(drill.range).images[IMAGE].private = True
    assert anonymous.digest(IMAGE, BAD) == ""
    with pytest.raises(NotFound):
        anonymous.manifest(IMAGE, BAD)


def test_a_blob_that_lies_elsewhere_is_fetched_without_the_bearer(drill: Drill) -> None:
    given = bad_tag(drill)
    ours, url = hub(drill.world), hub_of(drill.range).base_url
    config = json.loads(ours.manifest(IMAGE, given.digest).data)["config"]["digest"]
    where = {"location": f"{url}/v2/"}
    drill.range.switchboard.add([
        {"server": "dockerhub", "route": "*/blobs/*", "status": 307, "headers": where, "times": 1},
        {"server": "dockerhub", "route": "*/blobs/*", "status": 307, "headers": {"location": "http://127.0.0.2/x"}},
    ])  # fmt: skip
    with pytest.raises(NotFound):  # the bearer did not go along: /v2/ asks for one
        ours.blob(IMAGE, config)
    with pytest.raises(Rejected, match="sends us to"):
        ours.blob(IMAGE, config)


def test_where_an_image_comes_from_its_labels_say(drill: Drill) -> None:
    find_in(drill)
    ours = hub(drill.world)
    assert ours.home(IMAGE) == ""

    label = {"org.opencontainers.image.source": f"https://github.com/{REPOSITORY}"}
    blobs, document = built([Layer(made_by="COPY")], created=drill.range.clock.now(), labels=label)
    hub_of(drill.range).publish(HUB_OWNER, IMAGE, ("latest",), document, list(blobs.values()))
    assert ours.home(IMAGE) == REPOSITORY
    assert ours.home("harborlights/none") == ""


def test_a_world_with_another_registry_of_that_name_is_refused(drill: Drill) -> None:
    other = replace(drill.world, registries={"dockerhub": drill.world.registries["pypi"]})
    with pytest.raises(InputError, match="is not Docker Hub"):
        hub(other)
