"""S3 -> SQS -> handler: stands in for S3's asynchronous invocation of a Lambda function.

S3 itself emits the notification, as it does on AWS; a queue holds it where Lambda's own would.
"""

import json
import logging
import threading
import time
from collections import deque
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
    from types_boto3_sqs.type_defs import MessageTypeDef

Handler = Callable[[dict[str, Any], Any], object]

QUEUE = "thumbnails-originals-created"
_RULES = {"thumbnails": naming.ORIGINALS, "thumbnails-of-uploads": naming.UPLOADS}
"""Ids of the rules, and the prefix that each is about."""
# What was received and not deleted comes again after this long: of a worker that was killed, or of a reply
# that was lost on its way.
_TIMEOUT_SECONDS = 20
_LONGEST_PAUSE_SECONDS = 10
# A worker that is killed while it waits may leave a reply that no worker gets: so it does not wait for long.
_POLL_SECONDS = 1
# At least between two requests for messages, so that under load a reply has several; one that comes alone
# finds the queue being asked already.
_GATHER_SECONDS = 0.02
_BATCH = 10
"""Most messages that SQS hands out, and deletes, in one request."""

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


class Deliveries:
    """Hands each notification to `handler` at least once; one that raised comes again, ever later.

    Several threads `run` this. One that finds no message waiting receives the next ten, while the others go
    on with theirs. What has been handled is deleted from the queue by tens, or when there is nothing else to
    do; of a worker that is killed before that, it comes again.
    """

    def __init__(self, sqs: "SQSClient", url: str, handler: Handler, stop: threading.Event) -> None:
        self._sqs, self._url, self._handler, self._stop = sqs, url, handler, stop
        self._receiving = threading.Lock()
        self._waiting: deque[MessageTypeDef] = deque()
        self._handled: deque[str] = deque()
        self._received_at = 0.0

    def run(self) -> None:
        """Deliver until `stop` is set."""
        while (message := self._next()) is not None:
            if _succeeds(self._handler, message["Body"]):
                self._handled.append(message["ReceiptHandle"])
            else:
                self._postpone(message)

    def _next(self) -> "MessageTypeDef | None":
        with self._receiving:
            while not (self._waiting or self._stop.is_set()):
                try:
                    if not self._receive() or len(self._handled) >= _BATCH:
                        self._delete_handled()
                except (BotoCoreError, ClientError) as error:
                    _log.warning("the queue of notifications cannot be reached: %s", error)
                    self._stop.wait(1)
            return None if self._stop.is_set() else self._waiting.popleft()

    def _receive(self) -> int:
        """Receive messages; return how many, 0 after a while without any."""
        self._stop.wait(self._received_at + _GATHER_SECONDS - time.monotonic())
        reply = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=_BATCH,
            WaitTimeSeconds=_POLL_SECONDS,
            VisibilityTimeout=_TIMEOUT_SECONDS,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        messages = reply.get("Messages", [])
        self._waiting.extend(messages)
        self._received_at = time.monotonic()
        return len(messages)

    def _delete_handled(self) -> None:
        """Delete what has been handled; what this fails to delete comes again, which does no harm."""
        while receipts := [self._handled.popleft() for _ in range(min(_BATCH, len(self._handled)))]:
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": str(n), "ReceiptHandle": receipt} for n, receipt in enumerate(receipts)],
            )

    def _postpone(self, message: "MessageTypeDef") -> None:
        count = int(message["Attributes"]["ApproximateReceiveCount"])
        pause = min(2 ** min(count - 1, 10), _LONGEST_PAUSE_SECONDS)
        try:
            self._sqs.change_message_visibility(
                QueueUrl=self._url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=pause
            )
        except (BotoCoreError, ClientError) as error:
            _log.warning("a notification comes again in %s seconds only: %s", _TIMEOUT_SECONDS, error)


def _succeeds(handler: Handler, body: str) -> bool:
    context = LambdaContext("make_thumbnail", memory_size=2048, max_runtime_ms=_TIMEOUT_SECONDS * 1000)
    try:
        handler(json.loads(body), context)
    except Exception:  # noqa: BLE001 - as on Lambda, whatever it is, the event comes again
        _log.debug("the handler failed; it has logged why", exc_info=True)
        return False
    return True
