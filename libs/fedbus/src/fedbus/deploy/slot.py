"""Slot of a replica: lock the first free slot, then run a command with the slot's name.

    python -m fedbus.deploy.slot FOLDER COMMAND [ARGUMENT …]

The replicas of a container are started alike, but each needs its own name, password and data.
FOLDER holds a folder for each slot, named 1, 2, 3 …. The name of the first unlocked one replaces
`{slot}` in the environment variables FEDBUS_…. The kernel holds the lock until this process ends,
also after it has become the command, so a killed replica leaves nothing to clean up.
"""

import fcntl
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fedbus.errors import FedbusError, SettingsError

USAGE = "usage: python -m fedbus.deploy.slot FOLDER COMMAND [ARGUMENT …]"
PLACEHOLDER = "{slot}"


def lock_slot(folder: Path) -> tuple[str, int]:
    """Lock a free slot; return its name and the lock's descriptor; raise SettingsError if none."""
    slots = list(_slots(folder))
    for slot in slots:
        # The folder itself is locked, since the mount may be read-only.
        lock = os.open(slot, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return slot.name, lock
    raise SettingsError(
        f"{folder}: all {len(slots)} slots are in use; add slots, or start fewer replicas"
    )


def slot_environment(slot: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Replace the placeholder in FEDBUS_ variables by the slot's name."""
    return {
        name: value.replace(PLACEHOLDER, slot) if name.startswith("FEDBUS_") else value
        for name, value in environ.items()
    }


def _slots(folder: Path) -> Iterable[Path]:
    try:
        found = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from error
    return sorted(found, key=lambda path: int(path.name))


def main(arguments: Sequence[str]) -> None:
    """Lock a slot, then become the command."""
    if len(arguments) < 2:  # noqa: PLR2004 - a folder and a command
        raise SystemExit(USAGE)
    folder, *command = arguments
    try:
        slot, lock = lock_slot(Path(folder))
        os.set_inheritable(lock, True)  # noqa: FBT003 - the function has no keyword
        os.execvpe(command[0], command, slot_environment(slot, os.environ))  # noqa: S606 - our own command line
    except FedbusError as error:
        raise SystemExit(f"fedbus: {error}") from None
    except OSError as error:
        raise SystemExit(f"fedbus: {command[0]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
