"""Store what was made of one version of an original, and remove an original that is not to be kept."""

from collections.abc import Sequence
from dataclasses import replace

from chalicelib import naming
from chalicelib.errors import OriginalRefused
from chalicelib.imaging import Thumbnail
from chalicelib.objects.bucket import Bucket, ObjectInfo
from chalicelib.records import codec
from chalicelib.records.record import Finished, ImageFacts, Pixels, Record, StoredSize
from chalicelib.spec import ImageFormat, NamedSize


def store_thumbnails(
    bucket: Bucket,
    record: Record,
    made: Thumbnail,
    sizes: Sequence[NamedSize],
    *,
    stands_alone: bool,
) -> Finished:
    """Store the thumbnails of a claimed version under the names that its record gives them.

    The default thumbnail comes last: where it is, all sizes are, and its metadata tell what they are.

    Args:
        bucket: the objects.
        record: names its version and its thumbnail.
        made: what to store.
        sizes: what each of `made.sizes` is.
        stands_alone: the original is going to be removed.

    Returns:
        what is stored.

    Raises:
        Unavailable: S3 did not answer. What was stored is stored over by the next run.

    """
    stored = []
    for size in sizes:
        picture, form = made.sizes[size.name], size.spec.format
        bucket.put(
            naming.sized_thumbnail(record.id, record.thumbnail or "", size.name, form.extension),
            picture.content,
            content_type=form.media_type,
        )
        stored.append(
            StoredSize(size.name, len(picture.content), picture.width, picture.height, form.extension)
        )
    image = ImageFacts(made.source_format, made.source_width, made.source_height, made.placeholder)
    result = Finished(len(made.content), tuple(sorted(stored)), Pixels(made.width, made.height), image)
    told = replace(record, sizes=result.sizes, thumbnail_pixels=result.thumbnail_pixels, image=image)
    bucket.put(
        naming.thumbnail(record.id, record.thumbnail or ""),
        made.content,
        content_type=ImageFormat.JPEG.media_type,
        metadata=codec.thumbnail_metadata(told, stands_alone=stands_alone, settings=made.settings),
    )
    return result


def remove_original(bucket: Bucket, record: Record, original: ObjectInfo) -> bool | None:
    """Delete an original that is not to be kept, if the thumbnail of its ready record can stand for it.

    When it was put there again, only Redis knows until then how long the picture is to be kept: the thumbnail
    tells it from now on.

    Returns:
        whether this version was deleted; None when the thumbnail cannot stand alone.

    Raises:
        Unavailable: S3 did not answer. What was not done is done by the next run.

    """
    key = naming.thumbnail(record.id, record.thumbnail or "")
    try:
        stored = bucket.head(key)
    except OriginalRefused:
        return None
    told = codec.ObjectMetadata.parse({} if stored is None else stored.metadata)
    if not told.stands_alone:
        return None
    if (told.version_ms, told.expires_ms) != (record.version_ms, record.expires_ms):
        metadata = codec.thumbnail_metadata(record, stands_alone=True, settings=told.settings or "")
        bucket.describe(key, content_type=ImageFormat.JPEG.media_type, metadata=metadata)
    return bucket.delete_version(original.key, original.etag)
