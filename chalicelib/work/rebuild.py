"""Make the records again that Redis has lost, from the objects in the bucket."""

from dataclasses import dataclass, replace

from chalicelib.work.audit import BUCKET_EVERY_MS
from chalicelib.work.sweep import Counts
from chalicelib.work.walk import BUCKET, Walker


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Walks over the whole bucket when it is told to."""

    walker: Walker

    def run(self) -> tuple[Counts, bool]:
        """Make a record of every picture in the bucket that has none, or go on with that if it began today.

        Returns:
            what was done, and whether the end was reached; the next run then starts from the beginning.

        Raises:
            Unavailable: S3 or Redis did not answer. The next run goes on where this one stopped.

        """
        checkpoint = self.walker.read("rebuild", every_ms=BUCKET_EVERY_MS)
        if checkpoint.part is None:
            checkpoint = replace(checkpoint, since_ms=self.walker.clock(), part="", after="")
        return self.walker.walk(checkpoint, BUCKET)
