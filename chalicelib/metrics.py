"""Metrics for operators, by Powertools: a line each in CloudWatch's embedded metric format.

All have the dimension `service`: the bucket's name, which tells deployments of one account apart.

    Uploads, UploadBytes                pictures that were stored, by the `way` they came
    PresignedUploads                    presigned uploads that were given out
    Rejected                            uploads that were refused, by `reason`
    Thumbnails                          runs that finished a record, by `format` and `outcome`
    QueueToReady                        milliseconds from the upload to the end of that run, likewise
    DecodeTime                          milliseconds for decoding, scaling and encoding a thumbnail, likewise
    ThumbnailBytes                      sizes of thumbnails, likewise
    FailedEvents                        events whose record failed after all attempts, by `reason`
    Reconciled                          what the reconciler has repaired, by `what`

The values of dimensions are a closed list that this code knows: nothing that a client names is among them.
"""

import json
import logging
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

NAMESPACE = "Thumbnails"

lines = logging.getLogger("thumbnails.metrics")
"""Where the lines go. Each record's `metrics` and `dimensions` are its figures, for other forms than JSON."""
lines.propagate = False
lines.setLevel(logging.INFO)
if not lines.handlers:
    lines.addHandler(logging.StreamHandler(sys.stdout))


class Metric(NamedTuple):
    """A figure: its name, its value, and what it is counted in."""

    name: str
    value: float
    unit: MetricUnit = MetricUnit.Count


@dataclass(frozen=True, slots=True)
class Metrics:
    """Writes the metrics of one deployment; may be used by several threads."""

    deployment: str

    def uploaded(self, size: int, way: str) -> None:
        """A picture of `size` bytes was stored; `way` is `multipart`, `presigned` or `bucket`."""
        self._write([Metric("Uploads", 1), Metric("UploadBytes", size, MetricUnit.Bytes)], {"way": way})

    def upload_presigned(self) -> None:
        """A presigned upload was given out."""
        self._write([Metric("PresignedUploads", 1)])

    def upload_rejected(self, reason: str) -> None:
        """An upload was refused; `reason` is the name of the error."""
        self._write([Metric("Rejected", 1)], {"reason": reason})

    def thumbnail_finished(
        self, *, outcome: str, image_format: str, waited_ms: int, decode_ms: int, size: int | None
    ) -> None:
        """A run has finished a record. `size` is the thumbnail's, in bytes, None where there is none."""
        figures = [
            Metric("Thumbnails", 1),
            Metric("QueueToReady", waited_ms, MetricUnit.Milliseconds),
        ]
        if size is not None:  # else the time would be that of finding a fault
            figures.append(Metric("DecodeTime", decode_ms, MetricUnit.Milliseconds))
            figures.append(Metric("ThumbnailBytes", size, MetricUnit.Bytes))
        self._write(figures, {"format": image_format, "outcome": outcome})

    def event_failed(self, reason: str) -> None:
        """All attempts of an event are used up, and its record was marked as failed."""
        self._write([Metric("FailedEvents", 1)], {"reason": reason})

    def reconciled(self, counts: Mapping[str, int]) -> None:
        """The reconciler has done each of these so often; counts of what it has seen are no metrics."""
        for what, often in counts.items():
            if often and not what.endswith(" seen"):
                self._write([Metric("Reconciled", often)], {"what": what})

    def _write(self, figures: Iterable[Metric], dimensions: Mapping[str, str] | None = None) -> None:
        metrics = EphemeralMetrics(namespace=NAMESPACE, service=self.deployment)
        for name, value in (dimensions or {}).items():
            metrics.add_dimension(name, value)
        shown: dict[str, float] = {}
        for figure in figures:
            metrics.add_metric(figure.name, figure.unit, figure.value)
            shown[figure.name] = figure.value
        text = json.dumps(metrics.serialize_metric_set(), separators=(",", ":"))
        lines.info("%s", text, extra={"metrics": shown, "dimensions": dict(dimensions or {})})
