"""Make what the containers of compose.yaml need before they start: accounts, access rules, data.

    python -m fedbus.deploy.prepare FOLDER [--agents N]

FOLDER holds a volume for each kind of reader:

    broker/       passwords (hashed), acl              the broker
    services/     controller.1/password …              each folder for one service alone
    collectors/   1/password, 2/ …                     places for replicas: see claim.py
    inferences/   1/password, 2/ …                     the same
    agents/       1/password, 1/data.npz, 2/ …         the same, with data
    users/        me/password, 1/password …            a person, and the commands that run

It is run at every start. What is there stays as it is: passwords and data are made once. The access
rules are written anew, from the topic table of this version.
"""

import argparse
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedbus.atomic_write import open_atomic
from fedbus.data.digits import SEED, digits
from fedbus.data.partition import dirichlet, hold_out
from fedbus.errors import FedbusError
from fedbus.model.layout import Array
from fedbus.mqtt.mosquitto_config import acl_file, new_password, password_file

OWNERS = {
    "broker": 1883,
    "controller": 10001,
    "collector": 10002,
    "repository": 10003,
    "inference": 10004,
    "agent": 10005,
    "user": 10006,
}
"""Whom the containers run as, by role: `USER_ID` of the images in compose.yaml."""

EVALUATOR = "agent.evaluator"
SERVICES = ("controller.1", "repository.1", EVALUATOR, "user.seed")
PLACES = {"collector": 4, "inference": 4, "user": 8}
"""How many of them can run at once: the broker has one connection for each account."""

DEALT = 5
"""So many agents share all digits; the next ones are dealt the same digits anew."""
ALPHA = 1.0
LEAST = 16
HELD_OUT = 0.2


@dataclass(frozen=True, slots=True)
class Folders:
    """The volumes, and who owns what is written there (nobody else, where `owners` is empty)."""

    home: Path
    owners: Mapping[str, int] = field(default_factory=lambda: OWNERS)

    def of(self, node: str) -> Path:
        """Where a node finds its password, and its data."""
        role, _, name = node.partition(".")
        if node in SERVICES:
            return self.home / "services" / node
        return self.home / f"{role}s" / name

    def make(self, folder: Path, role: str) -> None:
        """Make a folder that only its owner can enter."""
        if not folder.is_dir():
            folder.mkdir(mode=0o500, parents=True)
            self._give(folder, role)

    def write(self, path: Path, data: bytes, role: str) -> None:
        """Replace a file in one step by one that only its owner can read.

        It outlives a power cut: an empty password file would never be written again.
        """
        with open_atomic(path, mode=0o400, durable=True) as file:
            file.write(data)
            self._give(Path(file.name), role)

    def _give(self, path: Path, role: str) -> None:
        if role in self.owners:
            os.chown(path, self.owners[role], self.owners[role])


def prepare(folders: Folders, agents: int) -> None:
    """Make all that is missing, for so many agents.

    Raises:
        FedbusError: there are more agents than digits.
    """
    places = [
        f"{role}.{number}"
        for role, count in {**PLACES, "agent": agents}.items()
        for number in range(1, count + 1)
    ]
    nodes = (*SERVICES, "user.me", *places)
    passwords = {node: _password(folders, node) for node in nodes}
    broker = folders.home / "broker"
    broker.mkdir(exist_ok=True, parents=True)
    folders.write(broker / "passwords", password_file(passwords).encode(), "broker")
    folders.write(broker / "acl", acl_file(passwords).encode(), "broker")
    bare = {
        node: path
        for node in nodes
        if node.startswith("agent.")
        if not (path := folders.of(node) / "data.npz").exists()
    }
    for node, (x, y) in partition_rows(bare):
        shard = io.BytesIO()
        np.savez(shard, x=x, y=y)
        folders.write(bare[node], shard.getvalue(), "agent")


def partition_rows(nodes: Iterable[str]) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """Deal the digits: to agent.N always the same ones, to the evaluator those nobody else sees."""
    wanted = set(nodes)
    if not wanted:
        return
    x, y = digits()
    kept, held = hold_out(y, HELD_OUT, np.random.default_rng(SEED))
    if EVALUATOR in wanted:
        yield EVALUATOR, (x[held], y[held])
    numbers = sorted(int(node.partition(".")[2]) for node in wanted - {EVALUATOR})
    for table in sorted({(number - 1) // DEALT for number in numbers}):
        partitions = dirichlet(y[kept], DEALT, np.random.default_rng((SEED, table)), LEAST, ALPHA)
        for number, partition in enumerate(partitions, start=table * DEALT + 1):
            if number in numbers:
                yield f"agent.{number}", (x[kept[partition]], y[kept[partition]])


def _password(folders: Folders, node: str) -> str:
    role, folder = node.partition(".")[0], folders.of(node)
    folders.make(folder, role)
    path = folder / "password"
    if not path.exists():
        folders.write(path, new_password().encode(), role)
    return path.read_text(encoding="ascii")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare; an error is a sentence and exit code 1."""
    parser = argparse.ArgumentParser(prog="fedbus.deploy.prepare", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--agents", type=int, default=20, help="places for agents (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        prepare(Folders(given.folder), given.agents)
    except FedbusError as error:
        raise SystemExit(f"fedbus: {error}") from None


if __name__ == "__main__":
    main()
