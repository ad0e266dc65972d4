"""Volumes of a deployment before its first start."""

import base64
import re
from pathlib import Path
from stat import S_IMODE

import numpy as np
import pytest

from fedbus.data import describe
from fedbus.deploy.prepare import (
    AGENTS_PER_COPY,
    SERVICES,
    SLOTS,
    Folders,
    main,
    partition_digits,
    prepare,
)
from fedbus.mqtt.mosquitto_config import password_line
from fedbus.privacy.noise_key import read_noise_key

pytest.importorskip("sklearn", reason="the digits come with scikit-learn")


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    """Volumes whose files are not chowned."""
    return Folders(tmp_path, owners={})


def test_each_node_has_its_own_account_and_password(folders: Folders) -> None:
    """The broker has their hashes, and what each may read and write."""
    prepare(folders, agents=2)
    kept = list(folders.home.glob("*/*/password"))
    passwords = {path.read_text() for path in kept}
    assert len(passwords) == len(kept) == len(SERVICES) + 1 + sum(SLOTS.values()) + 2
    lines = (folders.home / "broker" / "passwords").read_text().splitlines()
    users = {line.partition(":")[0] for line in lines}
    assert {*SERVICES, "agent.1", "agent.2", "collector.2", "user.me", "user.1"} <= users
    rules = (folders.home / "broker" / "acl").read_text()
    assert set(re.findall(r"^user (.+)$", rules, re.MULTILINE)) == users
    assert "user agent.2\ntopic write fedbus/v1/link/agent.2/#\n" in rules


def test_passwords_are_those_the_broker_knows(folders: Folders) -> None:
    """A line of its file is made of the password in the service's folder."""
    prepare(folders, agents=1)
    password = (folders.home / "agents" / "1" / "password").read_text()
    lines = (folders.home / "broker" / "passwords").read_text().splitlines()
    line = next(line for line in lines if line.startswith("agent.1:"))
    salt = base64.b64decode(line.split("$")[3])
    assert password_line("agent.1", password, salt).strip() == line


def test_the_collectors_have_one_noise_key_for_good(folders: Folders) -> None:
    """A job's rounds need the key that its first one had, also after `docker compose up`."""
    prepare(folders, agents=1)
    path = folders.home / "collectors" / "noise.key"
    key = read_noise_key(path)
    prepare(folders, agents=2)
    assert read_noise_key(path) == key
    assert S_IMODE(path.stat().st_mode) == 0o400


def test_mongodb_and_the_repository_have_one_password_for_good(folders: Folders) -> None:
    """MongoDB keeps the one of its first start; a copy that differs is written again."""
    prepare(folders, agents=1)
    mongo = folders.home / "mongo" / "password"
    copy = folders.home / "services" / "repository.1" / "store_password"
    password = mongo.read_bytes()
    assert len(password) >= 16
    assert copy.read_bytes() == password
    copy.chmod(0o600)
    copy.write_bytes(b"another")
    prepare(folders, agents=1)
    assert (mongo.read_bytes(), copy.read_bytes()) == (password, password)
    assert S_IMODE(mongo.stat().st_mode) == S_IMODE(copy.stat().st_mode) == 0o400


def test_only_the_owner_can_read(folders: Folders) -> None:
    """Neither group nor others."""
    prepare(folders, agents=1)
    for path in folders.home.glob("*/*/*"):
        assert S_IMODE(path.stat().st_mode) == 0o400
        assert S_IMODE(path.parent.stat().st_mode) == 0o500


def test_a_second_start_changes_no_password_and_no_data(folders: Folders) -> None:
    """More agents get slots after the existing ones."""
    prepare(folders, agents=1)
    before = {path: path.read_bytes() for path in folders.home.glob("*/*/*")}
    prepare(folders, agents=2)
    assert {path: path.read_bytes() for path in before} == before
    assert (folders.home / "agents" / "2" / "data.npz").is_file()


def test_five_agents_share_all_digits_and_the_evaluator_has_others() -> None:
    """1797 in all; no agent trains on the evaluator's part."""
    partitions = dict(
        partition_digits(
            ["agent.evaluator", *(f"agent.{n}" for n in range(1, AGENTS_PER_COPY + 1))]
        )
    )
    assert sum(len(y) for _, y in partitions.values()) == 1797
    rows = np.concatenate([x for x, _ in partitions.values()])
    assert len(np.unique(rows, axis=0)) == 1797


def test_the_partition_of_an_agent_is_independent_of_other_agents() -> None:
    """So that a deployment can grow."""
    alone = dict(partition_digits(["agent.7"]))["agent.7"]
    among = dict(partition_digits(["agent.1", "agent.6", "agent.7"]))["agent.7"]
    assert np.array_equal(alone[0], among[0])
    assert np.array_equal(alone[1], among[1])


def test_a_shard_is_what_the_loader_reads(folders: Folders) -> None:
    """Images as rows of 64 numbers from 0 to 1, truths as classes."""
    prepare(folders, agents=1)
    form = describe(str(folders.home / "agents" / "1" / "data.npz"))
    assert form["x"]["data_types"] == {
        "numerical": {"size": [64], "normalized": True, "dtype": "float32"}
    }
    assert "categorical" in form["y"]["data_types"]


def test_the_command_line_does_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives each file to the user whom its container runs as."""
    given: dict[str, int] = {}
    monkeypatch.setattr("os.chown", lambda path, user, _: given.update({str(path): user}))
    main([str(tmp_path), "--agents", "1"])
    assert given[str(tmp_path / "collectors" / "1")] == 10002
    assert given[str(tmp_path / "broker" / ".acl.new")] == 1883
    assert given[str(tmp_path / "agents" / "1" / ".data.npz.new")] == 10005
