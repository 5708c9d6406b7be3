"""What can go wrong, named; the sentence of each error is meant for the client.

    ServiceError
    ├── RequestError               this request cannot be answered; `http.errors` has the statuses
    │   ├── MalformedUpload        the body is not a form with a file, or not the JSON that is wanted
    │   ├── UploadTooLarge         the file is larger than a request may carry
    │   ├── BadParameter           a query parameter or header is out of its bounds
    │   ├── InvalidToken           the token is missing, or not valid
    │   ├── UnknownThumbnail       no record has that id
    │   ├── UnknownSize            the picture has no thumbnail of that name
    │   ├── SizeNotMade            it was processed before that size was set up
    │   ├── IdempotencyKeyReused   the Idempotency-Key stands for another upload, or one that was removed
    │   ├── ThumbnailNotReady      the thumbnail is not made yet
    │   ├── ExpiresAfterDownload   a URL is wanted, where pictures expire after a download
    │   └── ThumbnailFailed        no thumbnail could be made of this picture
    ├── PictureError               no thumbnail can be made of it; each has a `code`, which records keep
    │   ├── UnsupportedFormat      not one of the accepted image formats
    │   ├── TooManyBytes           larger than the limit in bytes
    │   ├── TooManyPixels          larger than the limit in pixels, or than what fits the memory
    │   ├── TooComplex             made of more parts than a real picture, to keep a decoder busy
    │   ├── UndecodablePicture     truncated or damaged
    │   ├── OriginalRefused        S3 has the original and does not hand it out
    │   │   ├── OriginalArchived   its storage class has to be restored first
    │   │   ├── OriginalEncrypted  it is encrypted with a key that this service may not use
    │   │   └── OriginalDenied     a policy, or a state of the object, forbids to read it
    │   ├── OriginalMissing        the original was removed before its thumbnail was made
    │   ├── RetriesExhausted       processing failed each time
    │   ├── ProcessingTimedOut     processing ran out of time each time
    │   ├── OutOfMemory            processing ran out of memory each time
    │   └── ExpiredInQueue         the event expired before it was processed
    └── Unavailable                a dependency does not answer; worth a retry
        ├── RecordStoreUnavailable Redis
        ├── RecordUnreadable       another release has written the record
        ├── BucketUnavailable      S3
        ├── EventBusUnavailable    EventBridge, or the function that reads the outbox for it
        ├── WatermarkUnavailable   the deployment's watermark is not in the bucket, or is no usable PNG
        └── OriginalChanging       the original is being replaced or removed at this moment

What the log should know beside the client's sentence travels as `__cause__`.
"""

from collections.abc import Sequence
from typing import ClassVar


class ServiceError(Exception):
    """Root of the tree. `str(error)` is one sentence that a client can act on."""


class RequestError(ServiceError):
    """This request cannot be answered as it is."""


class MalformedUpload(RequestError):
    """The body is not a multipart form with a file in the field `image`, or not the JSON that is wanted."""


class UploadTooLarge(RequestError):
    """The file is larger than a request may carry; a presigned upload may be larger."""


class BadParameter(RequestError):
    """A query parameter or a header is out of its bounds."""


class InvalidToken(RequestError):
    """The request's token is missing, or not valid."""


class UnknownThumbnail(RequestError):
    """No record has that id (any more)."""

    def __init__(self) -> None:
        super().__init__("There is no thumbnail with this id.")


class UnknownSize(RequestError):
    """The picture has no thumbnail of the named size."""

    def __init__(self, names: Sequence[str]) -> None:
        some = f"the sizes are {', '.join(names)}" if names else "this service makes none"
        super().__init__(f"There is no size of this name: {some}; leave size out for the default thumbnail.")


class SizeNotMade(RequestError):
    """The picture was processed before the size was set up."""

    def __init__(self) -> None:
        super().__init__(
            "This picture was processed before this size was set up; those who run the service can make it "
            "again (make remake); leave size out for the default thumbnail."
        )


class IdempotencyKeyReused(RequestError):
    """The Idempotency-Key stands for another upload, or for one whose picture was removed."""


class ThumbnailNotReady(RequestError):
    """The thumbnail of this picture is not made yet."""

    def __init__(self) -> None:
        super().__init__("The thumbnail is not ready yet; try again in a second.")


class ExpiresAfterDownload(RequestError):
    """A URL would still show the thumbnail after one, where pictures expire after a download."""

    def __init__(self) -> None:
        super().__init__(
            "Pictures expire after a download here, so that they have no URLs; use the download itself."
        )


class ThumbnailFailed(RequestError):
    """No thumbnail could be made of this picture; the sentence is the record's `error`."""


class PictureError(ServiceError):
    """No thumbnail can be made of this picture. `code` names the failure in records, logs and metrics.

    `image_format` is what the first bytes say, `unknown` where the picture was not looked at.
    """

    code: ClassVar[str]
    image_format: str = "unknown"


class UnsupportedFormat(PictureError):
    """Not one of the accepted image formats."""

    code = "unsupported_format"


class TooManyBytes(PictureError):
    """Larger than the limit in bytes."""

    code = "too_many_bytes"


class TooManyPixels(PictureError):
    """Larger than a limit in pixels, or than what the decoder of its format can hold in memory."""

    code = "too_many_pixels"


class TooComplex(PictureError):
    """Made of more parts (scans, chunks, tiles, ...) than any real picture: decoding would take too long."""

    code = "too_complex"


class UndecodablePicture(PictureError):
    """Truncated or damaged: the format is accepted, its content cannot be decoded."""

    code = "undecodable"


class OriginalRefused(PictureError):
    """S3 lists the original and does not hand it out, for a reason that lasts."""


class OriginalArchived(OriginalRefused):
    """The original's storage class has to be restored before S3 hands it out."""

    code = "archived"

    def __init__(self) -> None:
        super().__init__(
            "The original is archived; restore it in S3, and its thumbnail will be made within a day."
        )


class OriginalEncrypted(OriginalRefused):
    """The original is encrypted with a key that this service may not use."""

    code = "encrypted"

    def __init__(self) -> None:
        super().__init__(
            "The original is encrypted with a key that this service may not use; "
            "store it again with the bucket's own encryption."
        )


class OriginalDenied(OriginalRefused):
    """A policy of the bucket, or the state of the object, forbids this service to read the original."""

    code = "denied"

    def __init__(self) -> None:
        super().__init__(
            "S3 does not let this service read the original; change its policy or store it again."
        )


class OriginalMissing(PictureError):
    """The original was removed from the bucket before its thumbnail was made."""

    code = "original_missing"

    def __init__(self) -> None:
        super().__init__(
            "The original was removed from the bucket before its thumbnail was made; upload it again."
        )


class RetriesExhausted(PictureError):
    """Processing failed each time, for a reason that is not the picture's own."""

    code = "retries_exhausted"

    def __init__(self) -> None:
        super().__init__(
            "The thumbnail could not be made, though it was tried several times; "
            "it can be tried again by those who run this service; or upload it again."
        )


class ProcessingTimedOut(PictureError):
    """Processing was stopped each time, since it took longer than it may."""

    code = "timed_out"

    def __init__(self) -> None:
        super().__init__(
            "The thumbnail could not be made in the time there is; "
            "upload the picture again, smaller or in another format."
        )


class OutOfMemory(PictureError):
    """Processing was killed each time, since it took more memory than there is."""

    code = "out_of_memory"

    def __init__(self) -> None:
        super().__init__(
            "The thumbnail could not be made in the memory there is; "
            "upload the picture again, smaller or in another format."
        )


class ExpiredInQueue(PictureError):
    """The event expired before it was processed."""

    code = "expired_in_queue"

    def __init__(self) -> None:
        super().__init__(
            "The picture waited for its thumbnail for too long, since too many came in a short time; "
            "it can be tried again by those who run this service; or upload it again."
        )


class Unavailable(ServiceError):
    """A dependency of the service does not answer; the same request may succeed in a moment."""


class RecordStoreUnavailable(Unavailable):
    """Redis does not answer."""

    def __init__(self) -> None:
        super().__init__("The record store (Redis) cannot be reached; try again in a moment.")


class RecordUnreadable(Unavailable):
    """Another release of the service has written the record in a form that this one does not know.

    `reason` is for the log.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(
            "The record of this picture was written by another version of the service; try again later."
        )
        self.reason = reason


class BucketUnavailable(Unavailable):
    """S3 does not answer."""

    def __init__(self) -> None:
        super().__init__("The object store (S3) cannot be reached; try again in a moment.")


class EventBusUnavailable(Unavailable):
    """EventBridge does not take events, or what reads the outbox does not answer."""

    def __init__(self) -> None:
        super().__init__("Events cannot be published at the moment; they are kept until they can.")


class WatermarkUnavailable(Unavailable):
    """The watermark is missing or cannot be used: pictures that get it wait until that is mended.

    `reason` is a part of a sentence, for the log; no request meets this error.
    """

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"Pictures wait for the watermark {key} (WATERMARK): {reason}.")


class OriginalChanging(Unavailable):
    """The original is being replaced, or removed by a request that has not finished."""

    def __init__(self) -> None:
        super().__init__("The original is being replaced or removed; try again in a moment.")
