"""Entry point of `fedbus`: Ctrl-C and SIGTERM end it without a traceback at any moment.

Importing the commands takes longer than many of them run, so only this file and `signals.py`,
which import almost nothing, are loaded before the signal handlers are set.
"""

import atexit
import signal
import sys
from typing import NoReturn

from fedbus.cli.signals import INTERRUPTED, PROCESS_END, TERMINATED, leave


def main() -> NoReturn:
    """Import the commands, run the one named, and end the process with its exit code."""
    # Registered first, so called last: Python then restores the default actions, and a late signal
    # would kill a command that has already succeeded.
    atexit.register(PROCESS_END.finish)
    # A shell ignores Ctrl-C for its background jobs; keep that.
    handles_interrupt = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handles_interrupt:
        # An exception raised in an import lock's callback would be printed and ignored.
        signal.signal(signal.SIGINT, PROCESS_END.leave)
    signal.signal(signal.SIGTERM, PROCESS_END.leave)
    from fedbus.cli.main import run

    if handles_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, PROCESS_END.terminate)
    try:
        code = run()
    except KeyboardInterrupt:
        code = INTERRUPTED
    if handles_interrupt:
        signal.signal(signal.SIGINT, PROCESS_END.leave)
    signal.signal(signal.SIGTERM, PROCESS_END.leave)
    code = PROCESS_END.code(code)
    if PROCESS_END.thread_left or code in (INTERRUPTED, TERMINATED):
        leave(code)  # Python's own exit is slow: Ctrl-C would kill it midway
    sys.exit(code)


if __name__ == "__main__":
    main()
