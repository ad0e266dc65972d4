"""Become another program, and die with whoever started it: `tether.py PARENT PROGRAM ARGUMENT…`.

PARENT is the process id of the one who starts it. On Linux the kernel kills this process (SIGKILL)
when its parent ends, however it ends, so a cluster leaves nothing behind even when `fedbus up` is
killed itself. Elsewhere nothing of the kind exists, and this only starts the program.

It is run as a file and imports no package, since it stands before every process of a cluster.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, program: str, *arguments: str) -> None:
    """Tie this process to its parent and become the program."""
    if sys.platform == "linux":
        # The setting outlives exec, as long as that changes no user.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we could say so
            sys.exit(1)
    os.execv(program, [program, *arguments])  # noqa: S606 - a program of ours, and no shell


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
