"""Evidence in S3, against the range's AWS: written once, checked, encrypted, with the least rights."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import boto3
import pytest

from bot.app import opened, shelf_of
from bot.clients import AwsClients
from bot.drill import Range, range_up
from bot.errors import Conflict, Forbidden, SettingsError
from bot.evidence import Bucket, EvidenceRoom
from bot.range.company import BUCKET
from bot.settings import Settings, read
from bot.store import Store
from tests.test_evidence import Clock

PREFIX = "bulkhead/evidence"
RIGHTS = [
    {"Effect": "Allow", "Action": ["s3:PutObject", "s3:GetObject"], "Resource": f"arn:aws:s3:::{BUCKET}/{PREFIX}/*"},
    {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": f"arn:aws:s3:::{BUCKET}"},
]


@dataclass(frozen=True)
class Yard:
    """The range's AWS, an identity with the least rights, and S3 as somebody who may do everything there."""

    range: Range
    key: tuple[str, str]
    s3: Any

    def bucket(self, prefix: str = PREFIX) -> Bucket:
        aws = AwsClients(key_id=self.key[0], secret=self.key[1], endpoint=self.range.info["aws"])
        return Bucket(aws=aws, bucket=BUCKET, prefix=prefix)


@pytest.fixture(scope="module")
def yard() -> Iterator[Yard]:
    with range_up() as up:
        me = up.info["cast"]["aws"]["bulkhead-responder"]
        here = {"endpoint_url": up.info["aws"], "region_name": "us-east-1"}
        iam = boto3.client("iam", aws_access_key_id=me["key_id"], aws_secret_access_key=me["secret"], **here)
        keys = []
        for name, rights in (
            ("evidence-writer", RIGHTS),
            ("s3-admin", [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]),
        ):
            iam.create_user(UserName=name)
            document = json.dumps({"Version": "2012-10-17", "Statement": rights})
            iam.put_user_policy(UserName=name, PolicyName="rights", PolicyDocument=document)
            made = iam.create_access_key(UserName=name)["AccessKey"]
            keys.append((made["AccessKeyId"], made["SecretAccessKey"]))
        s3 = boto3.client("s3", aws_access_key_id=keys[1][0], aws_secret_access_key=keys[1][1], **here)
        yield Yard(up, keys[0], s3)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path / 'b.db'}")
    store.migrate()
    yield store
    store.close()


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_written_twice_it_is_one_object_encrypted_and_with_its_checksum(yard: Yard, store: Store) -> None:
    data = b"what the log said"
    bucket, sent = yard.bucket(), []
    bucket.aws.client("s3").meta.events.register(
        "before-send.s3.PutObject", lambda request, **_: sent.append({k.lower(): v for k, v in request.headers.items()})
    )
    room = EvidenceRoom(store, bucket)
    mine = room.of("inc-1", Clock())
    assert mine.save("log.txt", data) == mine.save("log.txt", data)
    key = f"{PREFIX}/{sha(data)[:2]}/{sha(data)}"
    kept = yard.s3.list_objects_v2(Bucket=BUCKET, Prefix=PREFIX)["Contents"]
    assert [one["Key"] for one in kept] == [key]
    assert yard.s3.head_object(Bucket=BUCKET, Key=key)["ServerSideEncryption"] == "AES256"
    checked = base64.b64encode(hashlib.sha256(data).digest())
    for headers in sent:
        assert (headers["x-amz-checksum-sha256"], headers["if-none-match"]) == (checked, b"*")
        assert not [name for name in headers if name.startswith(("x-amz-acl", "x-amz-grant"))]
    assert room.read(sha(data)) == data
    puts = [r for r in yard.range.get("/requests") if r["method"] == "PUT" and key in r["route"] + r["detail"]]
    assert len(puts) == 2
    assert puts[1]["status"] == 412, "the second write was refused, not repeated"


def test_what_stands_under_a_name_is_never_overwritten(yard: Yard) -> None:
    bucket, data = yard.bucket("elsewhere"), b"evidence"
    here = replace(bucket, prefix=f"{PREFIX}/elsewhere")
    yard.s3.put_object(Bucket=BUCKET, Key=here.key(sha(data)), Body=b"put there by somebody")
    with pytest.raises(Conflict, match="something else than its name says"):
        here.put(sha(data), data)
    assert here.get(sha(data)) == b"put there by somebody"
    with pytest.raises(Forbidden):
        bucket.put(sha(data), data)  # outside the prefix that its identity may write to


def test_damage_and_loss_are_seen(yard: Yard, store: Store) -> None:
    bucket = yard.bucket(f"{PREFIX}/seen")
    room = EvidenceRoom(store, bucket)
    mine = room.of("inc-1", Clock())
    kept, changed, lost = (mine.save(name, f"seen {name}".encode()) for name in ("kept", "changed", "lost"))
    assert room.damaged("inc-1") == []
    yard.s3.put_object(Bucket=BUCKET, Key=bucket.key(changed.sha256), Body=b"something else")
    yard.s3.delete_object(Bucket=BUCKET, Key=bucket.key(lost.sha256))
    assert sorted(room.damaged("inc-1")) == ["changed", "lost"]
    assert room.read(kept.sha256) == b"seen kept"
    with pytest.raises(FileNotFoundError):
        room.read(lost.sha256)


def test_a_kms_key_is_asked_for_where_one_is_named(yard: Yard) -> None:
    bucket = replace(yard.bucket(f"{PREFIX}/kms"), kms_key="alias/evidence")
    bucket.put(sha(b"sealed"), b"sealed")
    head = yard.s3.head_object(Bucket=BUCKET, Key=bucket.key(sha(b"sealed")))
    assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", "alias/evidence")


def test_an_installation_keeps_it_there_and_an_export_brings_it_back(
    yard: Yard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", yard.range.info["aws"])
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", yard.key[0])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", yard.key[1])
    settings = Settings(home=tmp_path, evidence=f"s3://{BUCKET}/{PREFIX}/installed/")
    with opened(settings, sites={}) as bulkhead:
        ref = bulkhead.room.of("inc-1", Clock()).save("a.txt", b"of an installation")
        assert bulkhead.room.damaged("inc-1") == []
    assert not (tmp_path / "evidence").exists()
    named = yard.s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/installed/")["Contents"]
    assert [one["Key"] for one in named] == [f"{PREFIX}/installed/{ref.sha256[:2]}/{ref.sha256}"]
    assert isinstance(shelf_of(settings), Bucket)


def test_several_processes_may_share_a_bucket() -> None:
    Settings(database_url="postgresql+psycopg://x", vault_key=base64.b64encode(bytes(32)), evidence="s3://b-1/x").split()


@pytest.mark.parametrize("place", ["s3://", "s3://UPPER/x", "s3://b", "https://b.s3.amazonaws.com/x", "s3://bucket/x?y"])
def test_what_is_no_place_is_refused(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BULKHEAD_EVIDENCE", place)
    with pytest.raises(SettingsError, match="s3://BUCKET/PREFIX"):
        read()
