"""Take the first place that nobody holds, then become a command there.

    python -m fedbus.deploy.slot FOLDER COMMAND [ARGUMENT …]

Replicas of one container are all started alike, yet each agent needs a name, a password and data of
its own. FOLDER holds a folder for each place, named 1, 2, 3 …; the first that nobody has locked is
ours, and its name replaces `{place}` in those variables of the environment that begin with FEDBUS_.
The kernel holds the lock as long as this process lives, whatever it has become, and no longer:
nothing is left to clean up after a kill.
"""

import fcntl
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fedbus.errors import FedbusError, SettingsError

USAGE = "usage: python -m fedbus.deploy.slot FOLDER COMMAND [ARGUMENT …]"
MARK = "{place}"


def claim(folder: Path) -> tuple[str, int]:
    """Take the first free place; returns its name, and the lock that holds it until it is closed.

    Raises:
        SettingsError: there is none.
    """
    places = list(_places(folder))
    for place in places:
        # A folder can be locked where nothing may be written: the mount may be read-only.
        lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        else:
            return place.name, lock
    raise SettingsError(f"{folder}: all {len(places)} places are taken; make more, or start fewer")


def at_place(place: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Write the place's name wherever a variable of ours asks for it."""
    return {
        name: value.replace(MARK, place) if name.startswith("FEDBUS_") else value
        for name, value in environ.items()
    }


def _places(folder: Path) -> Iterable[Path]:
    try:
        found = [path for path in folder.iterdir() if path.name.isdigit() and path.is_dir()]
    except OSError as error:
        raise SettingsError(f"{folder}: {error.strerror}") from error
    return sorted(found, key=lambda path: int(path.name))


def main(arguments: Sequence[str]) -> None:
    """Claim, then become the command."""
    if len(arguments) < 2:  # noqa: PLR2004 - a folder and a command
        raise SystemExit(USAGE)
    folder, *command = arguments
    try:
        place, lock = claim(Path(folder))
        os.set_inheritable(lock, True)  # noqa: FBT003 - the only way to say it
        os.execvpe(command[0], command, at_place(place, os.environ))  # noqa: S606 - our own command line
    except FedbusError as error:
        raise SystemExit(f"fedbus: {error}") from None
    except OSError as error:
        raise SystemExit(f"fedbus: {command[0]}: {error.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
