"""Launcher of a program that dies with its parent: `die_with_parent.py PARENT PROGRAM ARGUMENT…`.

PARENT is the process id of the starting process. On Linux the kernel kills this process (SIGKILL)
when its parent ends, so a cluster leaves no process behind even if `fedbus up` is killed. Other
systems have no such setting: there it only starts the program.

It is run as a file and imports no package, since it starts every process of a cluster.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, program: str, *arguments: str) -> None:
    """Set the parent-death signal and replace this process by the program."""
    if sys.platform == "linux":
        # The setting survives exec, unless exec changes the user.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the setting
            sys.exit(1)
    os.execv(program, [program, *arguments])  # noqa: S606 - our own command, without a shell


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
