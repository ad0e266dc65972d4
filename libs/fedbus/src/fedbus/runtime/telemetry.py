"""Logging and vital signs of a running service."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from fedbus.runtime.small_structlog import structlog

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}


def configure_logging(style: str, level: str) -> None:
    """Log to stderr: readable text on a terminal, else one JSON object per line."""
    console = style == "console" or (style == "auto" and sys.stderr.isatty())
    renderer: Any = (
        structlog.dev.ConsoleRenderer() if console else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def vitals() -> tuple[float, float]:
    """Measure this machine's load per core and this process's resident memory in MiB."""
    load = os.getloadavg()[0] / (os.cpu_count() or 1)
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # not Linux
        return load, 0.0
    return load, pages * os.sysconf("SC_PAGE_SIZE") / 2**20
