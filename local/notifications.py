"""S3 -> SQS -> handler: stands in for S3's asynchronous invocation of a Lambda function.

S3 itself emits the notification, as it does on AWS; a queue holds it where Lambda's own would.
"""

import functools
import json
import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from chalice.local import LambdaContext

from chalicelib import naming

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_sqs import SQSClient

QUEUE = "thumbnails-originals-created"
_RULES = {"thumbnails": naming.ORIGINALS, "thumbnails-of-uploads": naming.UPLOADS}
"""Ids of the rules, and the prefix that each is about."""
# What a worker that was killed had in hand comes again after this long.
_TIMEOUT_SECONDS = 20
# A reply that gets lost on its way takes its messages with it for this long.
_ARRIVAL_SECONDS = 2
_LONGEST_PAUSE_SECONDS = 10
_POLL_SECONDS = 2

_log = logging.getLogger(__name__)


def connect(bucket: str) -> str:
    """Make the bucket and the queue if need be, let one notify the other, and return the queue's URL.

    Notifications of the bucket that others have set up stay as they are.
    """
    s3: S3Client = boto3.client("s3")
    sqs: SQSClient = boto3.client("sqs")
    try:
        s3.head_bucket(Bucket=bucket)
    except ClientError as error:
        if error.response["Error"]["Code"] != "404":
            raise
        s3.create_bucket(Bucket=bucket)
    url = sqs.create_queue(QueueName=QUEUE, Attributes={"VisibilityTimeout": str(_TIMEOUT_SECONDS)})[
        "QueueUrl"
    ]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    found: dict[str, Any] = dict(s3.get_bucket_notification_configuration(Bucket=bucket))
    found.pop("ResponseMetadata")
    others = [rule for rule in found.get("QueueConfigurations", []) if rule.get("Id") not in _RULES]
    ours = [
        {
            "Id": rule,
            "QueueArn": arn,
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRestore:Completed"],
            "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": prefix}]}},
        }
        for rule, prefix in _RULES.items()
    ]
    rules: Any = found | {"QueueConfigurations": [*others, *ours]}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=rules)
    return url


def queue_client() -> "SQSClient":
    """Make a client that notices in time when the queue is gone; several threads may share it."""
    config = Config(connect_timeout=2, read_timeout=_POLL_SECONDS + 5, retries={"total_max_attempts": 1})
    client: SQSClient = boto3.client("sqs", config=config)
    return client


def deliver(
    sqs: "SQSClient", url: str, handler: Callable[[dict[str, Any], Any], object], stop: threading.Event
) -> None:
    """Hand each notification to `handler` until `stop` is set; one that raised comes again, ever later."""
    while not stop.is_set():
        try:
            reply = sqs.receive_message(
                QueueUrl=url,
                WaitTimeSeconds=_POLL_SECONDS,
                VisibilityTimeout=_ARRIVAL_SECONDS,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
            for message in reply.get("Messages", []):
                receipt = message["ReceiptHandle"]
                hide_for = functools.partial(
                    sqs.change_message_visibility, QueueUrl=url, ReceiptHandle=receipt
                )
                hide_for(VisibilityTimeout=_TIMEOUT_SECONDS)
                if _succeeds(handler, message["Body"]):
                    sqs.delete_message(QueueUrl=url, ReceiptHandle=receipt)
                else:
                    count = int(message["Attributes"]["ApproximateReceiveCount"])
                    hide_for(VisibilityTimeout=min(2 ** min(count - 1, 10), _LONGEST_PAUSE_SECONDS))
        except (BotoCoreError, ClientError) as error:
            _log.warning("the queue of notifications cannot be reached: %s", error)
            stop.wait(1)


def _succeeds(handler: Callable[[dict[str, Any], Any], object], body: str) -> bool:
    context = LambdaContext("make_thumbnail", memory_size=2048, max_runtime_ms=_TIMEOUT_SECONDS * 1000)
    try:
        handler(json.loads(body), context)
    except Exception:  # noqa: BLE001 - as on Lambda, whatever it is, the event comes again
        _log.debug("the handler failed; it has logged why", exc_info=True)
        return False
    return True
