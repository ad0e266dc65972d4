"""`fedbus` as a process: from its first moment on, Ctrl-C and SIGTERM end it without a traceback.

Loading the commands takes longer than many of them run, so nothing but this file and `ending.py`,
which import next to nothing, stands before it.
"""

import atexit
import signal
import sys
from typing import NoReturn

from fedbus.cli.signals import ENDING, INTERRUPTED, TERMINATED, leave


def main() -> NoReturn:
    """Load the commands, run the one that is named, and end the process with its exit code."""
    # Registered first, so called last: Python then gives signals back their default action, and a
    # command that has ended well would be killed by one that comes a moment too late.
    atexit.register(ENDING.finish)
    # Whoever starts us in the background may have turned Ctrl-C off; that is left as it is.
    asked = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if asked:
        # An exception would not do: raised in the callback of a lock, Python prints it and goes on.
        signal.signal(signal.SIGINT, ENDING.leave)
    signal.signal(signal.SIGTERM, ENDING.leave)
    from fedbus.cli.main import run

    if asked:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, ENDING.terminate)
    try:
        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if asked:
        signal.signal(signal.SIGINT, ENDING.leave)
    signal.signal(signal.SIGTERM, ENDING.leave)
    code = ENDING.code(code)
    if ENDING.abandoned or code in (INTERRUPTED, TERMINATED):
        leave(code)  # Python's own way out takes a while, in which Ctrl-C would kill us
    sys.exit(code)


if __name__ == "__main__":
    main()
