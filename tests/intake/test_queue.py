"""AWS's events from a queue: a real SQS protocol, spoken by boto3 to moto in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bot.clients import AwsClients
from bot.errors import ProviderError
from bot.intake.queue import poll, polled
from bot.model import Exposure
from tests.intake.office import KEY_ID, Office
from tests.intake.test_aws_sources import finding, health

SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print("%s:%d" % server.get_host_and_port(), flush=True)
sys.stdin.read()
server.stop()
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    child = subprocess.Popen([sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdin is not None
    yield f"http://{child.stdout.readline().strip()}"
    child.stdin.close()
    child.stdout.close()
    child.wait(20)


@pytest.fixture
def queue(endpoint: str, request: pytest.FixtureRequest) -> tuple[Any, str]:
    client = AwsClients(key_id="made-up", secret="made-up", endpoint=endpoint).client("sqs")
    name = f"events-{abs(hash(request.node.name)) % 10**8}"
    return client, client.create_queue(QueueName=name, Attributes={"VisibilityTimeout": "0"})["QueueUrl"]


def test_events_are_landed_and_deleted(office: Office, queue: tuple[Any, str]) -> None:
    client, url = queue
    wrapped = {"Type": "Notification", "MessageId": "1", "Message": json.dumps(finding())}
    for event in (health("AWS_RISK_CREDENTIALS_EXPOSED", KEY_ID), wrapped, {"source": "aws.s3"}):
        client.send_message(QueueUrl=url, MessageBody=json.dumps(event))
    client.send_message(QueueUrl=url, MessageBody="not JSON")
    polled(office.inbox, client, url)
    assert poll(office.inbox, client, url, wait_s=0) == 0, "all are deleted"
    states = sorted(row["state"] for row in office.store.inbox())
    assert states == ["dead", "landed", "landed"], "what could not be read is kept and said"
    assert len(set(office.work())) == 1
    (incident,) = office.store.incidents()
    report = incident.body["report"]
    assert (report["source"], report["trust"]) == ("sqs", "signed")
    assert report["exposure"] in (Exposure.PUBLIC, Exposure.UNKNOWN)
    assert len(office.events(incident.id, "sighting")) == 1


def test_what_could_not_be_stored_stays_in_the_queue(office: Office, queue: tuple[Any, str]) -> None:
    client, url = queue
    client.send_message(QueueUrl=url, MessageBody=json.dumps(health("AWS_RISK_CREDENTIALS_EXPOSED", KEY_ID)))
    with office.store.begin() as c:
        c.exec_driver_sql("ALTER TABLE inbox RENAME TO away")
    polled(office.inbox, client, url)  # it is logged, and no error of the worker's
    with office.store.begin() as c:
        c.exec_driver_sql("ALTER TABLE away RENAME TO inbox")
    polled(office.inbox, client, url)
    assert len(office.store.inbox("landed")) == 1


def test_a_queue_that_is_not_there_is_logged(office: Office, queue: tuple[Any, str]) -> None:
    client, url = queue
    with pytest.raises(ProviderError):
        poll(office.inbox, client, url + "-x", wait_s=0)
    polled(office.inbox, client, url + "-x")
