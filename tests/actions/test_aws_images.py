"""Images in ECR: what the actions do where something stands against them."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from bot.actions import CATALOGUE
from bot.actions.aws_iam import iso
from bot.actions.aws_image_find import FindImagesIn
from bot.actions.aws_images import spare
from bot.errors import Conflict, Forbidden, RateLimited, Rejected
from bot.model import EcrImage, EcrTag, SecretStore, Verdict
from bot.range.company import DEPLOY, DEPLOY_YAML, FERRY
from bot.range.images import MANIFEST, Layer, built, push_to_ecr
from tests.actions.conftest import Drill
from tests.actions.image_arrangements import BUILT, LIVE, NAME, bad_image, ecr, opened, push, replaced, window

MOVE, DELETE, FIND = (
    CATALOGUE[f"aws.{name}"] for name in ("move_image_tag_back", "delete_image", "find_unexplained_images")
)
INDEX = "application/vnd.oci.image.index.v1+json"


def tags(drill: Drill) -> dict[str, str]:
    return dict(drill.range.aws.ecr.snapshot()[NAME]["tags"])


def add_index(drill: Drill, tag: str) -> tuple[str, str]:
    """An image for one platform, and the index that names it; returns their digests."""
    blobs, manifest = built([Layer(made_by="x", files={"app": b"arm"})], created=BUILT)
    child = push_to_ecr(drill.as_leaked("ecr"), NAME, "arm", blobs, manifest)
    text = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": [
        {"mediaType": MANIFEST, "digest": child, "size": len(manifest)}]})  # fmt: skip
    put = drill.as_leaked("ecr").put_image(repositoryName=NAME, imageTag=tag, imageManifest=text)
    return child, str(put["image"]["imageId"]["imageDigest"])


def test_without_the_right_nothing_is_moved_and_what_is_missing_is_said(drill: Drill) -> None:
    given = replaced(drill)
    before = MOVE.look(drill.world, given)
    deny = {"Effect": "Deny", "Action": "ecr:PutImage", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [deny]})
    drill.iam.put_user_policy(UserName="bulkhead-responder", PolicyName="no-push", PolicyDocument=document)
    with pytest.raises(Forbidden, match="PutImage"):
        MOVE.run(drill.world, given, before)
    assert tags(drill)[LIVE] == given.bad


def test_too_many_requests_is_a_reason_to_come_back_and_no_write_is_repeated(drill: Drill) -> None:
    given = bad_image(drill)
    before = DELETE.look(drill.world, given)
    where = {"server": "aws", "method": "POST", "route": "ecr:BatchDeleteImage"}
    drill.range.switchboard.add([where | {"status": 429, "code": "ThrottlingException", "times": 1}])
    written = len(drill.mutations())
    with pytest.raises(RateLimited):
        DELETE.run(drill.world, given, before)
    assert len(drill.mutations()) == written + 1
    assert DELETE.run(drill.world, given, before).changed


def test_what_somebody_has_deleted_already_is_no_error(drill: Drill) -> None:
    given = bad_image(drill)
    before = DELETE.look(drill.world, given)
    ecr(drill).batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": given.digest}])
    outcome = DELETE.run(drill.world, given, before)
    assert not outcome.changed
    assert DELETE.prove(drill.world, given, before, outcome).verdict == Verdict.PROVEN
    assert not DELETE.look(drill.world, given).needed


def test_an_answer_of_200_that_tells_of_a_failure_is_one(drill: Drill) -> None:
    """ECR does not let go of an image that an index names; it says so in a list of a good answer."""
    opened(drill)
    child, _index = add_index(drill, "2.4.1")
    given = EcrImage(repository=NAME, digest=child)
    before = DELETE.look(drill.world, given)
    with pytest.raises(Rejected, match="manifest list") as caught:
        DELETE.run(drill.world, given, before)
    assert caught.value.code == "ImageReferencedByManifestList"


def test_an_index_goes_with_what_it_names_and_comes_back_with_it(drill: Drill) -> None:
    opened(drill)
    child, index = add_index(drill, "2.4.1")
    was = drill.range.aws.ecr.snapshot()
    given = EcrImage(repository=NAME, digest=index)
    before = DELETE.look(drill.world, given)
    assert [kept.digest for kept in before.kept] == [child, index]
    DELETE.run(drill.world, given, before)
    assert drill.range.aws.ecr.snapshot()[NAME]["digests"] == []
    DELETE.undo(drill.world, given, before, None)
    now = drill.range.aws.ecr.snapshot()
    assert now[NAME]["digests"] == was[NAME]["digests"]
    assert now[NAME]["tags"] == {"2.4.1": index}, "the tag of the image inside it was not looked at"


def test_an_undo_takes_no_tag_from_another_image(drill: Drill) -> None:
    given = bad_image(drill)
    before = DELETE.look(drill.world, given)
    DELETE.run(drill.world, given, before)
    push(drill, "the real 2.4.1", "2.4.1")
    with pytest.raises(Conflict, match=r"2\.4\.1"):
        DELETE.undo(drill.world, given, before, None)


@pytest.mark.parametrize("lost_at", ["ecr:PutImage", "ecr:BatchDeleteImage"])
def test_in_a_repository_of_immutable_tags_no_image_is_lost_on_the_way(drill: Drill, lost_at: str) -> None:
    """The bad image has no other tag, and would be gone with this one before anybody has agreed to that."""
    given = replaced(drill, immutable=True)
    before = MOVE.look(drill.world, given)
    assert before.immutable
    assert "immutable" in before.summary
    drill.range.switchboard.add([
        {"server": "aws", "method": "POST", "route": lost_at, "reset": True, "after_commit": True, "times": 1}
    ])  # fmt: skip
    with pytest.raises(Exception, match="did not answer"):
        MOVE.run(drill.world, given, before)
    outcome = MOVE.run(drill.world, given, before)
    assert MOVE.prove(drill.world, given, before, outcome).verdict == Verdict.PROVEN
    assert tags(drill) == {"2.4.0": given.good, LIVE: given.good, spare(given.bad): given.bad}


def test_a_tag_that_others_moved_meanwhile_stays_theirs(drill: Drill) -> None:
    given = replaced(drill)
    before = MOVE.look(drill.world, given)
    theirs = push(drill, "a hotfix", LIVE)
    with pytest.raises(Conflict):
        MOVE.run(drill.world, given, before)
    assert tags(drill)[LIVE] == theirs
    assert not MOVE.look(drill.world, given).needed


def test_where_the_good_image_is_gone_nothing_is_moved_and_it_is_said(drill: Drill) -> None:
    given = replaced(drill)
    ecr(drill).batch_delete_image(repositoryName=NAME, imageIds=[{"imageDigest": given.good}])
    before = MOVE.look(drill.world, given)
    assert (before.needed, before.good) == (False, False)
    assert MOVE.prove(drill.world, given, before, MOVE.run(drill.world, given, before)).verdict == Verdict.REFUTED


def test_evidence_is_whole_before_a_lifecycle_rule_takes_the_image(drill: Drill) -> None:
    given = replaced(drill)
    rule = {
        "rulePriority": 1, "action": {"type": "expire"},
        "selection": {"tagStatus": "untagged", "countType": "sinceImagePushed", "countUnit": "days", "countNumber": 1},
    }  # fmt: skip
    ecr(drill).put_lifecycle_policy(repositoryName=NAME, lifecyclePolicyText=json.dumps({"rules": [rule]}))
    before = MOVE.look(drill.world, given)
    assert "deletes untagged images by itself" in before.summary
    refs = MOVE.evidence(drill.world, given, before)
    saved = {ref.name.rpartition("/")[2]: drill.room.read(ref.sha256) for ref in refs}
    short = given.bad[7:19]
    assert set(saved) == {f"manifest-{short}.json", f"config-{short}.json", "record.json"}
    assert json.loads(saved[f"config-{short}.json"])["history"][0]["created_by"] == "COPY . /"
    record = json.loads(saved["record.json"])
    assert record[given.bad]["as_named"]
    assert all(layer["there"] for layer in record[given.bad]["layers"])
    assert record[given.bad]["scan"] == "it was not scanned"
    MOVE.run(drill.world, given, before)
    drill.range.clock.advance(86400 + 60)
    with pytest.raises(Conflict, match="any more"):
        MOVE.undo(drill.world, given, before, None)


def test_what_a_scan_has_found_is_evidence(drill: Drill) -> None:
    given = bad_image(drill)
    ecr(drill).start_image_scan(repositoryName=NAME, imageId={"imageDigest": given.digest})
    refs = DELETE.evidence(drill.world, given, DELETE.look(drill.world, given))
    record = json.loads(next(drill.room.read(ref.sha256) for ref in refs if ref.name.endswith("record.json")))
    assert record[given.digest]["scan"]["imageScanStatus"]


# finding ------------------------------------------------------------------------------------------------------------


def test_a_push_of_a_run_is_explained_and_one_that_cloudtrail_has_not_told_of_is_found(drill: Drill) -> None:
    opened(drill)
    steps = f"docker push 123456789012.dkr.ecr.us-east-1.amazonaws.com/{NAME}:{LIVE}"
    changed = DEPLOY_YAML.replace("run: env | base64", f"run: {steps}")
    drill.range.github.state.commit_files(FERRY, {DEPLOY: changed}, "Push", "mara", runs=False)
    since = iso(drill.world.now() - timedelta(minutes=1))
    drill.world.github.send("POST", f"/repos/{FERRY}/actions/workflows/deploy.yml/dispatches", {"ref": "main"})
    drill.world.github.get(f"/repos/{FERRY}/actions/runs")  # the range's runner works when somebody asks
    drill.range.clock.advance(7200)
    given = FindImagesIn(key=drill.leaked, repository=FERRY, since=since)
    released = tags(drill)[LIVE]
    found = FIND.run(drill.world, given, FIND.look(drill.world, given))
    assert found.images == ()
    drill.range.aws.trail.lag_s = 900.0
    bad = push(drill, "bad", LIVE)
    found = FIND.run(drill.world, given, FIND.look(drill.world, given))
    assert found.images == (EcrImage(repository=NAME, digest=bad),)
    assert found.tags == (EcrTag(repository=NAME, tag=LIVE, bad=bad, good=released),)


def test_a_repository_that_only_holds_the_secret_explains_a_push_too(drill: Drill) -> None:
    given = window(drill)
    assert FIND.run(drill.world, given, FIND.look(drill.world, given)).images
    store = SecretStore(repository=FERRY, name="AWS_ACCESS_KEY_ID")
    elsewhere = FindImagesIn(key=given.key, since=given.since, stores=(store,))
    assert elsewhere.repositories == (FERRY,)


def test_where_no_repository_is_known_no_image_is_judged(drill: Drill) -> None:
    given = window(drill)
    alone = FindImagesIn(key=given.key, since=given.since)
    found = FIND.run(drill.world, alone, FIND.look(drill.world, alone))
    assert (found.images, found.tags) == ((), ())
    assert "No repository is known" in found.summary


def test_a_tag_without_a_good_image_is_said_and_not_moved(drill: Drill) -> None:
    opened(drill)
    since = iso(drill.world.now() - timedelta(minutes=1))
    bad = push(drill, "bad", "2.4.9")
    given = FindImagesIn(key=drill.leaked, repository=FERRY, since=since)
    found = FIND.run(drill.world, given, FIND.look(drill.world, given))
    assert (found.images, found.tags) == ((EcrImage(repository=NAME, digest=bad),), ())
    assert "had no good image" in found.summary


def test_an_image_inside_a_bad_index_is_not_deleted_by_itself(drill: Drill) -> None:
    opened(drill)
    since = iso(drill.world.now() - timedelta(minutes=1))
    _child, index = add_index(drill, "2.4.1")
    given = FindImagesIn(key=drill.leaked, repository=FERRY, since=since)
    found = FIND.run(drill.world, given, FIND.look(drill.world, given))
    assert found.images == (EcrImage(repository=NAME, digest=index),)


def test_an_address_that_is_not_awss_is_not_followed(drill: Drill) -> None:
    with pytest.raises(Rejected, match="not its own"):
        drill.world.aws.download("http://127.0.0.1:1/layer")
