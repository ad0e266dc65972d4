"""`fedbus` as a process: from its first moment on, Ctrl-C ends it without a traceback.

Loading the commands takes longer than many of them run, so nothing but this file, which imports
next to nothing, stands before it.
"""

import os
import signal
import sys
from types import FrameType
from typing import NoReturn

INTERRUPTED = 130
"""As in `exits.py`, which is not loaded yet."""


def main() -> NoReturn:
    """Load the commands, run the one that is named, and end the process with its exit code."""
    # Whoever starts us in the background may have turned Ctrl-C off; that is left as it is.
    asked = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if asked:
        # An exception would not do: raised in the callback of a lock, Python prints it and goes on.
        signal.signal(signal.SIGINT, _leave)
    from fedbus.cli.main import run

    if asked:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if asked:
        signal.signal(signal.SIGINT, _leave)
    sys.exit(code)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
