"""How the thumbnails of one picture look: the deployment's settings, and whether it gets the watermark."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from chalicelib.clock import Clock
from chalicelib.errors import OriginalRefused, WatermarkUnavailable
from chalicelib.imaging import Thumbnail, make_thumbnail
from chalicelib.imaging.watermark import MOST_BYTES, Watermark, read
from chalicelib.objects.bucket import Bucket
from chalicelib.spec import Focus, NamedSize, ThumbnailSpec, digest

FRESH_MS = 60 * 1000
"""How long a watermark is used before it is read again."""


class Look(NamedTuple):
    """What is made of a picture; `watermark` is what is drawn on those that ask for it."""

    spec: ThumbnailSpec
    sizes: Sequence[NamedSize]
    watermark: Watermark | None = None

    @property
    def digest(self) -> str:
        """Stand for all of it; see `spec.digest`."""
        return digest(self.spec, self.sizes, "" if self.watermark is None else self.watermark.version)

    def make(self, content: bytes, *, max_pixels: int, focus: Focus | None) -> Thumbnail:
        """Make the thumbnails of a picture, with the digest; see `imaging.make_thumbnail`."""
        made = make_thumbnail(
            content,
            self.spec,
            max_pixels=max_pixels,
            sizes=self.sizes,
            focus=focus,
            watermark=self.watermark,
        )
        return replace(made, settings=self.digest)


class Watermarks:
    """The watermark in the bucket, and which pictures get it.

    It is read when a picture needs it, kept for `FRESH_MS`, and shared by threads.
    """

    def __init__(self, bucket: Bucket, key: str, share: int, clock: Clock, *, by_claim: bool = False) -> None:
        """Draw the PNG under `key` at `share` percent of a thumbnail's width.

        Args:
            bucket: the objects.
            key: the object's.
            share: 1 to 100.
            clock: tells when to read it again.
            by_claim: only the pictures whose record says `watermark` get it, and on the default thumbnail
                too; else all get it, on the sizes that ask for it.

        """
        self._bucket = bucket
        self._key = key
        self._share = share
        self._clock = clock
        self._by_claim = by_claim
        self._lock = threading.Lock()
        self._kept: Watermark | None = None
        self._read_ms = 0

    def look(self, spec: ThumbnailSpec, sizes: Sequence[NamedSize], *, claimed: bool) -> Look:
        """Tell how the thumbnails of a picture look that was, or was not, uploaded with the claim.

        Raises:
            Unavailable: the watermark is needed, and there is none to be had.

        """
        if self._by_claim and not claimed:
            return Look(spec, [replace(size, spec=replace(size.spec, watermark=False)) for size in sizes])
        spec = replace(spec, watermark=self._by_claim)
        is_drawn = any(one.watermark for one in [spec, *(size.spec for size in sizes)])
        return Look(spec, sizes, self._current() if is_drawn else None)

    def _current(self) -> Watermark:
        with self._lock:
            now = self._clock()
            if self._kept is None or not 0 <= now - self._read_ms < FRESH_MS:
                self._kept, self._read_ms = self._read(), now
            return self._kept

    def _read(self) -> Watermark:
        try:
            stored = self._bucket.get(self._key)
        except OriginalRefused as refused:
            raise WatermarkUnavailable(self._key, "S3 does not hand it out") from refused
        if stored is None:
            raise WatermarkUnavailable(self._key, "it is not in the bucket")
        with stored:
            if stored.info.size > MOST_BYTES:
                raise WatermarkUnavailable(self._key, f"it has more than {MOST_BYTES:,} bytes")
            try:
                return read(stored.read(), self._share, f"{stored.info.etag} {self._share}")
            except ValueError as error:
                raise WatermarkUnavailable(self._key, str(error)) from error
