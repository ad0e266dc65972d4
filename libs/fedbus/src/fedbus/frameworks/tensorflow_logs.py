"""Suppression of TensorFlow's start-up logs, which would break logs of JSON lines."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOG_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"
_LOG_LINES: Final = re.compile(
    rb"^(?:[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::InitializeLog"
    rb"|E\d{4} \d\d:\d\d:.* failed call to cuInit).*\n?",
    re.MULTILINE,
)


@contextmanager
def suppressed_logs() -> Iterator[None]:
    """Suppress log lines of TensorFlow's C++ code on standard error; write others at the end.

    TF_CPP_MIN_LOG_LEVEL takes effect only once TensorFlow is loaded, and Python cannot intercept
    what C++ writes before. So descriptor 2 is replaced by a file for the length of the block, which
    also delays the lines of other threads. A missing GPU is logged as an error, and is none.

    Nothing is suppressed if TF_CPP_MIN_LOG_LEVEL is already set.
    """
    if LOG_LEVEL in os.environ:
        yield
        return
    os.environ[LOG_LEVEL] = "2"
    with tempfile.TemporaryFile() as written:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(written.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            os.environ.pop(LOG_LEVEL, None)
            written.seek(0)
            _write(_LOG_LINES.sub(b"", written.read()))


def _write(left: bytes) -> None:
    while left:
        left = left[os.write(2, left) :]
