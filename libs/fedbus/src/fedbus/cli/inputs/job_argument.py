"""Job files on the command line: a path, or `-` for standard input."""

import sys
from pathlib import Path

from fedbus.cli.output import display
from fedbus.client import job_files
from fedbus.client.job_files import check_job_file
from fedbus.limits import MAX_JOB_FILE_BYTES

STDIN = "-"


def read_job_file(name: str) -> bytes:
    """Read a job file, or standard input if the name is `-`.

    Raises:
        SettingsError: the file cannot be read, or is not JSON.
    """
    if name != STDIN:
        return job_files.read_job_file(Path(name))
    if sys.stdin.isatty():
        display.err().print("reading a job file from standard input; Ctrl-D ends it")
    return check_job_file("standard input", sys.stdin.buffer.read(MAX_JOB_FILE_BYTES + 1))
