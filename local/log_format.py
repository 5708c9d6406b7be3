"""The service's JSON log lines and metrics, for people."""

import logging
import re
import time

from chalicelib import metrics

_SHOWN_FIRST = ("status", "outcome", "method", "route", "milliseconds", "record_id")


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Spell control characters out: in a name or a path that a client chose, they could steer the terminal.

    Tabs and line ends stay; direction marks of Unicode do not, since they can reorder what a line shows.
    """
    return _CONTROL.sub(lambda found: ascii(found[0])[1:-1], text)


class PrintableFormatter(logging.Formatter):
    """The logging module's own lines, fit for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record, with control characters spelled out."""
        return printable(super().format(record))


class ReadableFormatter(logging.Formatter):
    """`12:34:56 request 201 POST /api/v1/thumbnail 12 ms 1b4e28ba-...` instead of JSON.

    And `12:34:56 metrics Uploads=1 UploadBytes=112525 way=multipart`.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Show the time, what happened, and the facts that people look for.

        Of what is down, the causes are named; what is a bug is shown with its traceback.
        """
        when = time.strftime("%H:%M:%S", time.localtime(record.created))
        if (measured := getattr(record, "metrics", None)) is not None:
            figures = [f"{name}={value:g}" for name, value in measured.items()]
            figures += [f"{name}={value}" for name, value in getattr(record, "dimensions", {}).items()]
            return printable(" ".join((when, "metrics", *figures)))
        parts = [when, record.getMessage()]
        for name in _SHOWN_FIRST:
            value = getattr(record, name, None)
            if value is not None:
                parts.append(f"{value} ms" if name == "milliseconds" else str(value))
        if record.exc_info and record.exc_info[1]:
            error: BaseException | None = record.exc_info[1]
            while error is not None:
                parts.append(f"<- {type(error).__name__}: {error}")
                error = error.__cause__
        line = " ".join(parts)
        if record.levelno >= logging.ERROR and record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return printable(line)


def make_logs_printable() -> None:
    """Let whatever is logged by libraries reach the terminal without control characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(name)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def make_logs_readable() -> None:
    """Let the service's logger write for people from now on."""
    from chalicelib.services import log  # noqa: PLC0415 - which the embedded servers do without

    make_logs_printable()
    logging.getLogger(log.service).propagate = False
    for handler in (*logging.getLogger(log.service).handlers, *metrics.lines.handlers):
        handler.setFormatter(ReadableFormatter())
