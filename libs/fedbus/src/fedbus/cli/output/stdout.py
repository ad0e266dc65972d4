"""Standard output that says in a sentence when it cannot be written."""

import io
import os
import sys
from typing import TYPE_CHECKING

from fedbus.client.failures import Failed

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

STDOUT = 1


class OutputLost(Failed):
    """Standard output cannot be written: the disk is full, or it is closed."""


class _Raw(io.FileIO):
    """Descriptor 1; what comes after a failure goes nowhere, so that it fails once."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise  # whoever read has had enough, which is no failure of theirs
        except OSError as error:
            _drop()
            raise OutputLost(f"standard output: {error.strerror}") from error


def open_stdout() -> None:
    """Put it in the place of Python's own.

    Raises:
        OutputLost: it is closed.
    """
    if sys.stdout is None:  # as Python has it where descriptor 1 is closed
        # Else the next file that is opened would be descriptor 1, and get our answers.
        _drop()
        sys.stdout = open(STDOUT, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        raise OutputLost("standard output is closed; > /dev/null is for who wants none")
    old = sys.stdout
    old.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Raw(STDOUT, "w", closefd=False)),
        encoding=old.encoding,
        errors=old.errors,
        line_buffering=old.isatty(),
    )


def flush_stdout() -> None:
    """Write what is left, before the process ends.

    Raises:
        OutputLost: it cannot be written.
        BrokenPipeError: nobody reads it.
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
