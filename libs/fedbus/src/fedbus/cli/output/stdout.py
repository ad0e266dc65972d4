"""Standard output whose write errors are errors of fedbus."""

import io
import os
import sys
from typing import TYPE_CHECKING

from fedbus.client.failures import Failed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT = 1


class OutputLost(Failed):
    """Standard output cannot be written: it is closed, or the disk is full."""


class _Raw(io.FileIO):
    """File descriptor 1; output after an error is discarded, so that it is reported once."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # the reader has closed the pipe, which is no error, as in `| head`
        except OSError as error:
            _drop()
            raise OutputLost(f"standard output: {error.strerror}") from error


def open_stdout() -> None:
    """Replace Python's `sys.stdout`.

    Raises:
        OutputLost: standard output is closed.
    """
    if sys.stdout is None:  # Python's value if descriptor 1 is closed
        # Otherwise the next opened file would be descriptor 1 and get the output.
        _drop()
        sys.stdout = open(STDOUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        raise OutputLost("standard output is closed; to discard the output, add > /dev/null")
    old = sys.stdout
    old.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Raw(STDOUT, "w", closefd=False)),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=old.isatty(),
    )


def flush_stdout() -> None:
    """Flush standard output before the process ends.

    Raises:
        OutputLost: standard output cannot be written.
        BrokenPipeError: the reader has closed the pipe.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _drop()
        raise


def _drop() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    if nowhere != STDOUT:
        os.dup2(nowhere, STDOUT)
        os.close(nowhere)
