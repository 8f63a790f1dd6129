"""Logging: one JSON object a line on stderr, or a readable line where a person looks on.

A line that cannot be written is lost, and nothing else: a full disk, or a reader of the log that
has gone away, must not end the work that the line was to tell of.
"""

import contextlib
import json
import logging
import sys
from datetime import UTC, datetime
from traceback import walk_tb
from types import TracebackType
from typing import TextIO, cast

import structlog


def configure_logs(level: str = "info") -> None:
    """Set logging up for the process. Secrets and what people say never reach a log call."""
    rank = logging.getLevelNamesMapping()[level.upper()]
    pretty = sys.stderr.isatty()
    out = cast("TextIO", Lossy(sys.stderr))
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(rank),
        logger_factory=structlog.PrintLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    theirs = logging.StreamHandler(out)
    if not pretty:
        theirs.setFormatter(Bare())
    logging.basicConfig(level=max(rank, logging.WARNING), handlers=[theirs], format="%(message)s")


class Lossy:
    """A stream to log on whose writes never fail: what it cannot take is left out."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write what can be written."""
        with contextlib.suppress(OSError, ValueError):  # the latter: it was closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand on what can be handed on."""
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()


class Bare(logging.Formatter):
    """What a library logs, as a JSON object without its values: they may hold what a peer said.

    Left are the first line of its sentence, before they are put in, the type of an exception, and
    where it was raised. A library that puts them in by itself is not found out.
    """

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        given = record.args if isinstance(record.args, tuple) else ()
        raised = record.exc_info[1] if record.exc_info else None
        errors = [e for e in (raised, record.msg, *given) if isinstance(e, BaseException)]
        sentence = record.msg if isinstance(record.msg, str) else type(record.msg).__name__
        told = {
            "logger": record.name,
            "error": type(errors[0]).__name__ if errors else None,
            "at": _places(raised.__traceback__) if raised else None,
            "event": sentence.partition("\n")[0],  # behind it asyncio tells of what it was about
            "level": record.levelname.lower(),
            "timestamp": datetime.fromtimestamp(record.created, UTC)
            .isoformat()
            .replace("+00:00", "Z"),
        }
        return json.dumps({name: value for name, value in told.items() if value is not None})


def _places(raised: TracebackType | None) -> list[str]:
    frames = [(frame.f_code, line) for frame, line in walk_tb(raised)]
    return [f"{code.co_filename}:{line} {code.co_name}" for code, line in frames]
