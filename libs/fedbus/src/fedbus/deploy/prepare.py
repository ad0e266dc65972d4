"""Preparation of the volumes of compose.yaml: accounts, access rules, data.

    python -m fedbus.deploy.prepare FOLDER [--agents N]

FOLDER gets a volume for each kind of reader:

    broker/       passwords (hashed), acl              the broker
    services/     controller.1/password …              one folder for each service
                  repository.1/store_password          the repository's password at MongoDB
    mongo/        password                             the same one, for MongoDB
    collectors/   1/password, 2/ …, noise.key          slots of replicas: see slot.py; their key
    inferences/   1/password, 2/ …                     the same
    agents/       1/password, 1/data.npz, 2/ …         the same, with data
    users/        me/password, 1/password …            the user, and the slots of commands

It runs at every start. Existing passwords, the noise key and data are kept; the access rules are
rewritten from the topic table of this version.
"""

import argparse
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fedbus.atomic_write import open_atomic
from fedbus.cluster.members import NOISE_KEY
from fedbus.data.digits import SEED, digits
from fedbus.data.partition import dirichlet
from fedbus.data.partition.row_assignment import hold_out
from fedbus.errors import FedbusError
from fedbus.model.layout import Array
from fedbus.mqtt.mosquitto_config import acl_file, new_password, password_file
from fedbus.privacy.noise_key import NOISE_KEY_BYTES

OWNERS = {
    "broker": 1883,
    "mongo": 999,
    "controller": 10001,
    "collector": 10002,
    "repository": 10003,
    "inference": 10004,
    "agent": 10005,
    "user": 10006,
}
"""User ids of the containers, by role: `USER_ID` of the images in compose.yaml."""

EVALUATOR = "agent.evaluator"
SERVICES = ("controller.1", "repository.1", EVALUATOR, "user.seed")
SLOTS = {"collector": 4, "inference": 4, "user": 8}
"""Number of accounts, and so of replicas that can run at once."""

AGENTS_PER_COPY = 5
"""Number of agents among which all digits are partitioned; the next agents share them again."""
ALPHA = 1.0
MIN_ROWS = 16
HELD_OUT_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Folders:
    """The volumes, and the owners of their files by role; empty: files are not chowned."""

    home: Path
    owners: Mapping[str, int] = field(default_factory=lambda: OWNERS)

    def of(self, node: str) -> Path:
        """Return the folder of a node's password and data."""
        role, _, name = node.partition(".")
        if node in SERVICES:
            return self.home / "services" / node
        return self.home / f"{role}s" / name

    def make(self, folder: Path, role: str) -> None:
        """Create a folder that only its owner can enter."""
        if not folder.is_dir():
            folder.mkdir(mode=0o500, parents=True)
            self._chown(folder, role)

    def write(self, path: Path, data: bytes, role: str) -> None:
        """Write a file atomically and durably, readable by its owner only.

        Durably, since a password file that a power cut left empty would never be written again.
        """
        with open_atomic(path, mode=0o400, durable=True) as file:
            file.write(data)
            self._chown(Path(file.name), role)

    def _chown(self, path: Path, role: str) -> None:
        if role in self.owners:
            os.chown(path, self.owners[role], self.owners[role])


def prepare(folders: Folders, agents: int) -> None:
    """Write what is missing for some agents; raise FedbusError for more agents than digits."""
    slots = [
        f"{role}.{number}"
        for role, count in {**SLOTS, "agent": agents}.items()
        for number in range(1, count + 1)
    ]
    nodes = (*SERVICES, "user.me", *slots)
    passwords = {node: _password(folders, node) for node in nodes}
    broker = folders.home / "broker"
    broker.mkdir(exist_ok=True, parents=True)
    folders.write(broker / "passwords", password_file(passwords).encode(), "broker")
    folders.write(broker / "acl", acl_file(passwords).encode(), "broker")
    _prepare_mongo(folders)
    key = folders.home / "collectors" / NOISE_KEY
    if not key.exists():
        folders.write(key, os.urandom(NOISE_KEY_BYTES), "collector")
    without_data = {
        node: path
        for node in nodes
        if node.startswith("agent.")
        if not (path := folders.of(node) / "data.npz").exists()
    }
    for node, (x, y) in partition_digits(without_data):
        content = io.BytesIO()
        np.savez(content, x=x, y=y)
        folders.write(without_data[node], content.getvalue(), "agent")


def partition_digits(nodes: Iterable[str]) -> Iterator[tuple[str, tuple[Array, Array]]]:
    """Yield each node's digits: always the same for agent.N, held-out ones for the evaluator."""
    wanted = set(nodes)
    if not wanted:
        return
    x, y = digits()
    kept, held = hold_out(y, HELD_OUT_SHARE, np.random.default_rng(SEED))
    if EVALUATOR in wanted:
        yield EVALUATOR, (x[held], y[held])
    numbers = sorted(int(node.partition(".")[2]) for node in wanted - {EVALUATOR})
    for copy in sorted({(number - 1) // AGENTS_PER_COPY for number in numbers}):
        partitions = dirichlet(
            y[kept], AGENTS_PER_COPY, np.random.default_rng((SEED, copy)), MIN_ROWS, ALPHA
        )
        for number, partition in enumerate(partitions, start=copy * AGENTS_PER_COPY + 1):
            if number in numbers:
                yield f"agent.{number}", (x[kept[partition]], y[kept[partition]])


def _prepare_mongo(folders: Folders) -> None:
    """Write the password of MongoDB's user for both that read it; MongoDB keeps the first one."""
    folder = folders.home / "mongo"
    folders.make(folder, "mongo")
    first = folder / "password"
    if not first.exists():
        folders.write(first, new_password().encode(), "mongo")
    copy = folders.of("repository.1") / "store_password"
    if not copy.exists() or copy.read_bytes() != first.read_bytes():
        folders.write(copy, first.read_bytes(), "repository")


def _password(folders: Folders, node: str) -> str:
    role, folder = node.partition(".")[0], folders.of(node)
    folders.make(folder, role)
    path = folder / "password"
    if not path.exists():
        folders.write(path, new_password().encode(), role)
    return path.read_text(encoding="ascii")


def main(arguments: Sequence[str] | None = None) -> None:
    """Prepare; on an error print its message and exit with 1."""
    parser = argparse.ArgumentParser(prog="fedbus.deploy.prepare", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--agents", type=int, default=20, help="slots for agents (%(default)s)")
    given = parser.parse_args(arguments)
    try:
        prepare(Folders(given.folder), given.agents)
    except FedbusError as error:
        raise SystemExit(f"fedbus: {error}") from None


if __name__ == "__main__":
    main()
