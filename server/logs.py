"""Logging: one JSON object a line on stderr, or a readable line where a person looks on."""

import logging
import sys

import structlog


def configure_logs(level: str = "info") -> None:
    """Set logging up for the process. Secrets and what people say never reach a log call."""
    rank = logging.getLevelNamesMapping()[level.upper()]
    pretty = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
            structlog.dev.ConsoleRenderer() if pretty else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(rank),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=max(rank, logging.WARNING), stream=sys.stderr, format="%(message)s")
