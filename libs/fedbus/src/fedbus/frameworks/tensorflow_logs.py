"""What TensorFlow's C++ says on its way in, kept from people and from logs of JSON."""

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

LOG_LEVEL: Final = "TF_CPP_MIN_LOG_LEVEL"
_SAID: Final = re.compile(
    rb"^(?:[IW]\d{4} \d\d:\d\d:|WARNING: All log messages before absl::InitializeLog"
    rb"|E\d{4} \d\d:\d\d:.* failed call to cuInit).*\n?",
    re.MULTILINE,
)


@contextmanager
def suppressed_logs() -> Iterator[None]:
    """Leave out what its loggers write to standard error; all else follows at the end.

    The environment silences all of it but what is said before the first import has come to the
    loggers' own settings, and no Python sees that pass: hence the file in the place of descriptor
    2, which is the whole process's: other threads' lines come late as well. That a machine has no
    GPU is told as an error, and is none.

    Whoever sets TF_CPP_MIN_LOG_LEVEL themselves gets everything.
    """
    if LOG_LEVEL in os.environ:
        yield
        return
    os.environ[LOG_LEVEL] = "2"
    with tempfile.TemporaryFile() as told:
        sys.stderr.flush()
        real = os.dup(2)
        os.dup2(told.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            os.environ.pop(LOG_LEVEL, None)
            told.seek(0)
            _write(_SAID.sub(b"", told.read()))


def _write(left: bytes) -> None:
    while left:
        left = left[os.write(2, left) :]
