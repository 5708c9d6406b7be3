"""Make the records agree with the bucket again, after Redis was lost or went back in time."""

from dataclasses import dataclass

from chalicelib.work.audit import BUCKET_EVERY_MS
from chalicelib.work.sweep import Counts
from chalicelib.work.walk import EVERYTHING, Walker


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Walks over the whole bucket when it is told to."""

    walker: Walker

    def run(self) -> tuple[Counts, bool]:
        """Make missing records and remove those whose objects are gone; go on if that began today.

        Returns:
            what was done, and whether the end was reached; the next run then starts from the beginning.

        Raises:
            Unavailable: S3 or Redis did not answer. The next run goes on where this one stopped.

        """
        checkpoint = self.walker.read("rebuild", EVERYTHING, every_ms=BUCKET_EVERY_MS)
        if checkpoint.part is None:
            checkpoint = self.walker.restart("rebuild", EVERYTHING)
        return self.walker.walk(checkpoint, EVERYTHING)
