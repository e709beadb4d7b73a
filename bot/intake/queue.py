"""The same events of AWS from an SQS queue, for those without a public address: asked for, landed, then deleted.

Who may write to the queue is said by its policy, in our own account; that is what the trust rests on. A message that is
not deleted comes again, so one that could not be stored is left there.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

from bot.clients import aws_errors
from bot.errors import BulkheadError, Undeliverable
from bot.intake import aws
from bot.intake.delivery import Delivery, Sender
from bot.intake.inbox import Inbox
from bot.intake.sns import unwrapped
from bot.intake.sources import SQS
from bot.model import Trust

WAIT_S = 1  # a long poll, short enough that a worker which is told to stop does
log = logging.getLogger("bulkhead.intake")


def poll(inbox: Inbox, client: Any, queue: str, wait_s: int = WAIT_S) -> int:
    """Ask once, for ten messages at most; returns how many came. ``client`` is boto3's of SQS. Raises bot.errors."""
    with aws_errors("ask the queue"):
        answer = client.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait_s)
    messages = answer.get("Messages", [])
    for one in messages:
        _take(inbox, one)
        with aws_errors("delete a message of the queue"):
            client.delete_message(QueueUrl=queue, ReceiptHandle=one["ReceiptHandle"])
    return len(messages)


def _take(inbox: Inbox, one: dict[str, Any]) -> None:
    """Land one message. Raises EngineError when it could not be stored: it stays in the queue then."""
    delivery = Delivery(source=SQS, body=one["Body"].encode("utf-8", "replace"), headers={}, at=datetime.now(UTC))
    try:
        reading = aws.read(unwrapped(one["Body"]))
    except Undeliverable as exc:
        inbox.refuse(delivery, str(exc))
        return
    if not reading.empty:
        inbox.receive(delivery, Sender(trust=Trust.SIGNED, by="SQS queue"), reading)


def polled(inbox: Inbox, client: Any, queue: str) -> None:
    """Ask until nothing comes; a queue that does not answer is logged, and asked again on the next round."""
    try:
        while poll(inbox, client, queue):
            pass
    except BulkheadError as exc:
        log.warning("the queue of AWS's events: %s", exc)
