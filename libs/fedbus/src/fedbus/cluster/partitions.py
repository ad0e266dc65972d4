"""Partitions of a local cluster's agents: the user's own files, or the handwritten digits."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from fedbus.cluster.members import EVALUATOR
from fedbus.cluster.process import die_with_parent_prefix
from fedbus.errors import SettingsError, StoreError
from fedbus.text import in_given_order
from fedbus.wire.identifiers import is_node

HELD_OUT = "held_out.npz"
ARRAYS = "agent.*.npz"
ANYTHING = "agent.*"
"""Pattern of partitions in any format that a loader reads."""

_WRITE_DIGITS = """
import sys
from pathlib import Path
from fedbus.errors import FedbusError
from fedbus.data.digits import write_digits
try:
    write_digits(Path(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
except FedbusError as error:
    sys.exit(str(error))
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(3)
"""
_NOT_WRITTEN = 3


def partition_names(folder: Path, agents: int | None) -> list[str]:
    """Return the agents' names by the user's .npz files: agent.kitchen reads `agent.kitchen.npz`.

    Raises:
        SettingsError: there are no such files, fewer than `agents`, or no held-out part.
    """
    paths = _partitions(folder, ARRAYS)
    if not paths:
        raise SettingsError(
            f"{folder}: expected files agent.NAME.npz, found none; see `fedbus up --help`"
        )
    if not (folder / HELD_OUT).is_file():
        raise SettingsError(
            f"{folder}: expected {HELD_OUT}, the part that no agent trains on; found none"
        )
    return [_name(path) for path in _enough(folder, paths, agents)]


def partition_paths(folder: Path, agents: int | None) -> tuple[dict[str, Path], Path]:
    """Find partitions in any format, as `agent.kitchen.csv` or a folder, and the held-out part.

    Raises:
        SettingsError: as for `partition_names`, or two partitions have one name.
    """
    paths = _partitions(folder, ANYTHING)
    if not paths:
        raise SettingsError(
            f"{folder}: expected files or folders agent.NAME, one for each agent; found none"
        )
    held_out = sorted(path for path in folder.glob("held_out*") if path.stem == "held_out")
    if len(held_out) != 1:
        raise SettingsError(
            f"{folder}: expected one held_out, the part that no agent trains on; found "
            f"{len(held_out)}"
        )
    found = {_name(path): path for path in _enough(folder, paths, agents)}
    if len(found) < min(len(paths), agents or len(paths)):
        raise SettingsError(f"{folder}: two partitions have one name; rename one of them")
    return found, held_out[0]


def left_out(folder: Path, agents: int | None, named: str = ARRAYS) -> str:
    """Return a sentence on the partitions that no agent trains on; "" if there are none."""
    paths = _partitions(folder, named)
    rest = [path.name for path in paths[agents:]] if agents is not None else []
    if not rest:
        return ""
    return f"{len(rest)} of {len(paths)} partitions have no agent: {in_given_order(rest)}"


def _partitions(folder: Path, named: str) -> list[Path]:
    return sorted(folder.glob(named), key=lambda path: _in_order(path.name))


def _enough(folder: Path, paths: list[Path], agents: int | None) -> list[Path]:
    if agents is not None and agents > len(paths):
        raise SettingsError(
            f"{folder}: expected {agents} partitions for {agents} agents, found {len(paths)}"
        )
    return paths[:agents]


def _name(path: Path) -> str:
    name = (path.name if path.is_dir() else path.stem).removeprefix("agent.")
    if not is_node(f"agent.{name}") or name == EVALUATOR:
        raise SettingsError(
            f"{path}: {name!r} cannot be an agent's name; expected a letter or digit, then "
            "letters, digits and . _ -"
        )
    return name


def write_digits(folder: Path, agents: int, split: str | None = None) -> None:
    """Write scikit-learn's digits as partitions, the same ones each time; by default non-IID.

    It runs in a process of its own, so that scikit-learn does not stay in memory.

    Raises:
        SettingsError: scikit-learn is missing, there are more agents than digits, or the sampler
            rejects its options.
        StoreError: the disk is full, or the folder cannot be written to.
    """
    if find_spec("sklearn") is None:
        raise SettingsError(
            "the handwritten digits come with scikit-learn, which is not installed: "
            "pip install scikit-learn, or pass your own data with --data"
        )
    writer = subprocess.run(
        [
            *die_with_parent_prefix(),
            sys.executable,
            "-c",
            _WRITE_DIGITS,
            str(folder),
            str(agents),
            *([] if split is None else [split]),
        ],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    if writer.returncode:
        reason = writer.stderr.strip().splitlines()[-1:] or ["no error message"]
        if writer.returncode == _NOT_WRITTEN:
            raise StoreError(f"{folder}: the digits cannot be written: {reason[0]}")
        raise SettingsError(f"the digits cannot be partitioned: {reason[0]}")


def _in_order(name: str) -> list[tuple[int, str]]:
    """Return a sort key that puts agent.10 after agent.9."""
    return [
        (int(part or 0), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
