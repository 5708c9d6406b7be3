"""What can go wrong, named; the sentence of each error is meant for the client.

    ServiceError
    ├── MalformedUpload          the request's body is not a multipart form with a file
    ├── BadParameter             a query parameter is out of its bounds
    ├── TokenRefused             the request's token is missing, or not a good one
    ├── UnknownThumbnail         no record has that id
    ├── IdempotencyKeyReused     the Idempotency-Key stands for another upload, or one that was removed
    ├── ThumbnailNotReady        the pipeline has not come to this picture yet
    ├── PictureFailed            the pipeline could not make a thumbnail of this picture
    ├── PictureError             this picture will never become a thumbnail
    │   ├── UnsupportedFormat    not one of the accepted image formats
    │   ├── TooManyBytes         larger than a limit in bytes
    │   ├── TooManyPixels        larger than a limit in pixels, or than what fits the memory
    │   ├── TooComplex           made of more parts than a real picture, to keep a decoder busy
    │   ├── TriedTooOften        the pipeline failed on it again and again, for a reason not its own
    │   ├── TookTooLong          the pipeline ran out of time
    │   ├── NeededTooMuch        the pipeline ran out of memory
    │   ├── WaitedTooLong        the pipeline never came to it
    │   └── UndecodablePicture   truncated or damaged
    └── Unavailable              something behind the service does not answer; worth a retry
        ├── CatalogueUnavailable Redis
        ├── BucketUnavailable    S3
        └── OriginalUnsettled    the original is being replaced or removed at this moment

No status numbers here: `app.py` holds the one table from class to HTTP status.
What the log should know beside the client's sentence travels as `__cause__`.
"""


class ServiceError(Exception):
    """Root of the tree. `str(error)` is one sentence that a client can act on."""


class MalformedUpload(ServiceError):
    """The request's body is not a multipart form with a file in the field `image`."""


class BadParameter(ServiceError):
    """A query parameter is out of its bounds."""


class TokenRefused(ServiceError):
    """The request's token is missing, or not a good one."""


class UnknownThumbnail(ServiceError):
    """No record has that id (any more)."""

    def __init__(self) -> None:
        super().__init__("There is no thumbnail with this id.")


class IdempotencyKeyReused(ServiceError):
    """The Idempotency-Key stands for another upload, or for one whose picture was removed."""


class ThumbnailNotReady(ServiceError):
    """The pipeline has not come to this picture yet."""

    def __init__(self) -> None:
        super().__init__("The thumbnail is not ready yet; try again in a second.")


class PictureFailed(ServiceError):
    """The pipeline could not make a thumbnail of this picture; the sentence is the record's `error`."""


class PictureError(ServiceError):
    """This picture will never become a thumbnail, however often it is tried."""


class UnsupportedFormat(PictureError):
    """Not one of the accepted image formats."""


class TooManyBytes(PictureError):
    """Larger than a limit in bytes."""


class TooManyPixels(PictureError):
    """Larger than a limit in pixels, or than what the decoder of its format can hold in memory."""


class TooComplex(PictureError):
    """Made of more parts (scans, chunks, tiles, ...) than any real picture: decoding would take too long."""


class TriedTooOften(PictureError):
    """The pipeline failed on it again and again, for a reason that is not the picture's own."""

    def __init__(self) -> None:
        super().__init__(
            "The thumbnail could not be made, though it was tried several times; "
            "delete the picture and upload it again."
        )


class TookTooLong(PictureError):
    """The pipeline was stopped each time, since it took longer than it may."""

    def __init__(self) -> None:
        super().__init__(
            "The thumbnail could not be made in the time there is; "
            "upload the picture again, smaller or in another format."
        )


class NeededTooMuch(PictureError):
    """The pipeline was killed each time, since it took more memory than there is."""

    def __init__(self) -> None:
        super().__init__(
            "The thumbnail could not be made in the memory there is; "
            "upload the picture again, smaller or in another format."
        )


class WaitedTooLong(PictureError):
    """The event grew too old before the pipeline came to it."""

    def __init__(self) -> None:
        super().__init__(
            "The picture waited for its thumbnail for too long, since too many came at once; "
            "delete it and upload it again."
        )


class UndecodablePicture(PictureError):
    """Truncated or damaged: the format is accepted, its content cannot be decoded."""


class Unavailable(ServiceError):
    """Something behind the service does not answer; the same request may succeed in a moment."""


class CatalogueUnavailable(Unavailable):
    """Redis does not answer."""

    def __init__(self) -> None:
        super().__init__("The record store (Redis) cannot be reached; try again in a moment.")


class BucketUnavailable(Unavailable):
    """S3 does not answer."""

    def __init__(self) -> None:
        super().__init__("The object store (S3) cannot be reached; try again in a moment.")


class OriginalUnsettled(Unavailable):
    """The original is being replaced, or removed by a request that has not ended; it will be at rest soon."""

    def __init__(self) -> None:
        super().__init__("The original is being replaced or removed; try again in a moment.")
