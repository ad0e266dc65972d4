"""The shards a local cluster trains on: a person's own, or the handwritten digits."""

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
"""What shards of any kind are called, which a loader reads."""

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
    """Name the agents by a person's shards: `agent.kitchen.npz` is the data of agent.kitchen.

    Raises:
        SettingsError: there are none, fewer than agents asked for, or no held-out part.
    """
    paths = _shards(folder, ARRAYS)
    if not paths:
        raise SettingsError(f"{folder}: no shard agent.*.npz there; `fedbus up --help` says more")
    if not (folder / HELD_OUT).is_file():
        raise SettingsError(f"{folder}: no {HELD_OUT} there, the part that no agent trains on")
    return [_name(path) for path in _enough(folder, paths, agents)]


def partition_paths(folder: Path, agents: int | None) -> tuple[dict[str, Path], Path]:
    """Find shards of any kind, `agent.kitchen.csv` or a folder `agent.kitchen`, and `held_out`.

    Raises:
        SettingsError: as for `partition_names`, or there are two of a name.
    """
    paths = _shards(folder, ANYTHING)
    if not paths:
        raise SettingsError(f"{folder}: nothing is named agent.NAME there, an agent's data each")
    held_out = sorted(path for path in folder.glob("held_out*") if path.stem == "held_out")
    if len(held_out) != 1:
        raise SettingsError(
            f"{folder}: {len(held_out)} are named held_out there; one is the part that no agent "
            "trains on"
        )
    found = {_name(path): path for path in _enough(folder, paths, agents)}
    if len(found) < min(len(paths), agents or len(paths)):
        raise SettingsError(f"{folder}: there are two agent.NAME of one name")
    return found, held_out[0]


def left_out(folder: Path, agents: int | None, named: str = ARRAYS) -> str:
    """Say which shards nobody trains on, since there are more than agents; "" is none."""
    paths = _shards(folder, named)
    rest = [path.name for path in paths[agents:]] if agents is not None else []
    if not rest:
        return ""
    return f"{agents} agents leave out {len(rest)} of {len(paths)} shards: {in_given_order(rest)}"


def _shards(folder: Path, named: str) -> list[Path]:
    return sorted(folder.glob(named), key=lambda path: _in_order(path.name))


def _enough(folder: Path, paths: list[Path], agents: int | None) -> list[Path]:
    if agents is not None and agents > len(paths):
        raise SettingsError(f"{folder}: {len(paths)} shards, and {agents} agents were asked for")
    return paths[:agents]


def _name(path: Path) -> str:
    name = (path.name if path.is_dir() else path.stem).removeprefix("agent.")
    if not is_node(f"agent.{name}") or name == EVALUATOR:
        raise SettingsError(
            f"{path}: {name!r} cannot be an agent's name; use letters, digits and . _ - after "
            "the first"
        )
    return name


def write_digits(folder: Path, agents: int, split: str | None = None) -> None:
    """Write scikit-learn's digits as shards, the same ones each time; by default unevenly.

    In a process of its own: scikit-learn would stay in memory as long as the cluster lives.

    Raises:
        SettingsError: scikit-learn is missing, there are more agents than digits, or a sampler
            cannot deal them so.
        StoreError: the disk is full, or the folder cannot be written to.
    """
    if find_spec("sklearn") is None:
        raise SettingsError(
            "the handwritten digits come with scikit-learn, which is not installed here: "
            "pip install scikit-learn, or bring data of your own with --data"
        )
    wrote = subprocess.run(
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
    if wrote.returncode:
        words = wrote.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        if wrote.returncode == _NOT_WRITTEN:
            raise StoreError(f"{folder}: the digits cannot be written: {words[0]}")
        raise SettingsError(f"the digits cannot be dealt: {words[0]}")


def _in_order(name: str) -> list[tuple[int, str]]:
    """Sort agent.10 behind agent.9."""
    return [
        (int(part or 0), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)
    ]
