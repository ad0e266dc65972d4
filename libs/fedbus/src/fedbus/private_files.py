"""Files with secrets, which only their owner can read: reading, checking and creating them."""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import Final

from fedbus.atomic_write import PRIVATE, store_error_of, sync_folder, temporary_path
from fedbus.errors import SettingsError

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def read_private_file(path: Path, what: str, most_bytes: int, make_one: str) -> bytes:
    """Read a file with a secret, and check that no other user could read or change it.

    A symbolic link is followed: what counts is the file that is opened.

    Args:
        path: The file.
        what: What it is, for messages: `noise key`.
        most_bytes: The most bytes of such a file; a longer one is cut after one byte more.
        make_one: How to make one, for messages: "make one with `fedbus privacy key FILE`".

    Raises:
        SettingsError: The file is missing, or other users can read it; the message says how to mend
            it.
    """
    try:
        return read_existing_private_file(path, what, most_bytes)
    except FileNotFoundError:
        raise SettingsError(f"{what} {path}: there is no such file; {make_one}") from None


def read_existing_private_file(path: Path, what: str, most_bytes: int) -> bytes:
    """Read a file with a secret as `read_private_file` does; for files that are made if missing.

    Raises:
        FileNotFoundError: There is no such file.
        SettingsError: Other users can read it; the message says how to mend it.
    """
    try:
        # Without O_NONBLOCK, opening a named pipe would wait for its other end.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise
    except PermissionError:
        raise SettingsError(
            f"{what} {path}: user {os.geteuid()}, as which this process runs, may not read it: "
            f"chown {os.geteuid()} {path}"
        ) from None
    except OSError as error:
        raise SettingsError(f"{what} {path}: {error.strerror or error}") from error
    try:
        if fault := _fault_of(os.fstat(descriptor), path):
            raise SettingsError(f"{what} {path}: {fault}")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read(most_bytes + 1)
    finally:
        os.close(descriptor)


def create_private_file(path: Path, content: bytes, needed: str) -> None:
    """Create a file: at once complete, readable for its owner only.

    Args:
        path: The file, which does not exist yet.
        content: Its bytes.
        needed: What needs the file that exists, for messages.

    Raises:
        SettingsError: There is a file already, which is left as it is, or its folder is missing.
        StoreError: It cannot be written.
    """
    new = temporary_path(path, shared=True)
    try:
        with suppress(FileNotFoundError):
            new.unlink()  # of a process that was killed
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, PRIVATE)  # whatever the umask is
                file.write(content)
                file.flush()
                os.fsync(descriptor)
            os.link(new, path)  # unlike a renaming, it replaces no file
        finally:
            new.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        raise SettingsError(
            f"{path}: this file exists; {needed}, so remove it yourself or choose another name"
        ) from None
    except (FileNotFoundError, NotADirectoryError):
        raise SettingsError(
            f"{path}: there is no folder {path.parent}; make it with `mkdir -p`, or choose another"
        ) from None
    except OSError as error:
        raise store_error_of(path, error) from error


def _fault_of(status: os.stat_result, path: Path) -> str:
    mode = stat.S_IMODE(status.st_mode)
    if not stat.S_ISREG(status.st_mode):
        return "this is no regular file"
    if status.st_uid not in (0, os.geteuid()):
        return (
            f"it belongs to user {status.st_uid}, who can read and change the key: "
            f"chown {os.geteuid()} {path}"
        )
    if mode & _OTHERS:
        return (
            f"its mode is {mode:04o}, so other users can read the key or change it: "
            f"chmod 600 {path}. A secret of a Docker swarm has the mode 0444 unless the service's "
            f"`secrets` entry sets `mode: 0400` and `uid: '{os.geteuid()}'`; one that Compose "
            "mounts from a file has the owner and mode of that file"
        )
    return ""
