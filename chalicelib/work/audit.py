"""Check every object once a day and every record once a week against each other, in the background."""

from dataclasses import dataclass

from chalicelib.work.sweep import Counts
from chalicelib.work.walk import BUCKET, Part, Walker

BUCKET_EVERY_MS = 24 * 3600 * 1000
"""Each object is checked once in this time, 1000 per ListObjectsV2 call."""
RECORDS_EVERY_MS = 7 * BUCKET_EVERY_MS
"""Each record is checked once in this time, with a HeadObject call for each."""

_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Audit:
    """Goes on with the walks that are due."""

    walker: Walker

    def run(self) -> Counts:
        """Go on with the day's walk over the bucket and the week's walk over the index, unless they are done.

        Before, the index is put into as many partitions as the deployment has by now.

        Raises:
            Unavailable: S3 or Redis did not answer. The next run goes on where this one stopped.

        """
        counts = Counts()
        while not self.walker.time_is_up() and (moved := self.walker.repair.store.index.move_home(_PAGE)):
            counts["index entries moved"] += moved
        for name, parts, every_ms in (
            ("bucket", BUCKET, BUCKET_EVERY_MS),
            ("records", (Part.INDEX,), RECORDS_EVERY_MS),
        ):
            checkpoint = self.walker.read(name, parts, every_ms=every_ms)
            if checkpoint.part is None:
                continue
            done, _ = self.walker.walk(checkpoint, parts)
            counts += done
            if self.walker.time_is_up():
                break
        return counts
