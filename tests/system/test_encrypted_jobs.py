"""Encrypted jobs on a cluster of real processes: no service can read an update or a version."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedbus.cli.exit_codes import OK, REFUSED
from tests.system.fedbus_up import FEDBUS, FedbusUp, digits_job, until

pytestmark = pytest.mark.system
pytest.importorskip("sklearn")
pytest.importorskip("tflite_runtime")
pytest.importorskip("tenseal")

ROUNDS, LATE_ROUNDS = 20, 10
ENCRYPTED: dict[str, Any] = {"privacy-mechanisms": {"homomorphic": {"bits": 11}}}
POINT = 0.01
"""How much accuracy 11 bits may cost."""
LEARNED = 0.9
"""Less than either job reaches; a model that has learned nothing has 0.1."""
ROUND_SECONDS = 20.0
"""Much more than a round takes on an idle machine (0.2 s): other tests run beside this one."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FedbusUp]:
    """A cluster of three agents, with keys in its home."""
    folder = tmp_path_factory.mktemp("up")
    keys = folder / "home" / "keys"
    keys.parent.mkdir()
    made = subprocess.run(
        [*FEDBUS, "keys", "generate", str(keys)], check=False, capture_output=True, text=True
    )
    assert made.returncode == OK, made.stderr
    with FedbusUp(folder, "--agents", "3") as cluster:
        yield cluster
        assert cluster.interrupt() == OK, cluster.output


def secret_key(up: FedbusUp) -> str:
    """Return the path of the agents' key."""
    return str(up.home / "keys" / "secret.key")


def run_job(up: FedbusUp, job: dict[str, Any]) -> dict[str, Any]:
    """Run a job to its end, and return its state."""
    file = up.write(f"{job['training_id']}.json", job)
    done = up.run("job", "submit", file, "--watch")
    assert done.returncode == OK, (done.stdout, done.stderr)
    state: dict[str, Any] = up.run_json("job", "show", str(job["training_id"]))
    assert (state["phase"], state["round"]) == ("finished", job["num_rounds"])
    return state


def late_accuracy(up: FedbusUp) -> float:
    """Return the mean accuracy of the last versions: that of one differs by a few examples."""
    history = up.run_json("models", "show", "digits")["history"][:LATE_ROUNDS]
    found: list[float] = [each["metrics"]["accuracy"] for each in history]
    assert len(found) == LATE_ROUNDS
    return sum(found) / LATE_ROUNDS


def arrays(path: Path) -> dict[str, Any]:
    """Read pulled weights."""
    with np.load(path) as file:
        return dict(file)


def test_an_encrypted_job_learns_as_well_as_a_plain_one(up: FedbusUp, tmp_path: Path) -> None:
    """Within a point, with the same batches; the key opens the version, and releases it.

    The batches of a training follow from the names of job and agent, so a job of the same name in
    another cluster draws the same ones.
    """
    first = up.folder / "first.npz"
    assert up.run("models", "pull", "digits", "--version", "1", "-o", str(first)).returncode == OK
    rounds = {"num_rounds": ROUNDS}
    run_job(up, digits_job("hidden", **rounds, **ENCRYPTED))
    hidden = late_accuracy(up)
    with FedbusUp(tmp_path, "--agents", "3") as other:
        run_job(other, digits_job("hidden", **rounds))
        plain = late_accuracy(other)
        assert other.interrupt() == OK
    assert min(plain, hidden) > LEARNED
    assert abs(plain - hidden) <= POINT, (plain, hidden)
    for number in range(1, ROUNDS + 1):
        seconds = seconds_of(up, "hidden", number)
        assert seconds["aggregated"] < ROUND_SECONDS

    refused = up.run("models", "pull", "digits")
    assert refused.returncode == REFUSED
    assert "is encrypted with the key" in " ".join(refused.stderr.split())
    log = up.home / "logs" / "inference.1.log"
    until("the version is put aside", lambda: "models release digits" in log.read_text())
    rows = up.write("rows.json", {"inputs": np.zeros((1, 64)).tolist()})
    answered = up.run("infer", "digits", rows)
    assert answered.stdout.startswith("digits version 1")
    assert "is encrypted, so inference services answer with version 1" in answered.stderr

    opened = up.folder / "opened.npz"
    pulled = up.run("models", "pull", "digits", "--key", secret_key(up), "-o", str(opened))
    assert pulled.returncode == OK, pulled.stderr
    assert "is decrypted: every user who can open it" in " ".join(pulled.stderr.split())
    before, trained = arrays(first), arrays(opened)
    assert trained.keys() == before.keys()
    assert any(np.abs(trained[name] - before[name]).max() > 0.01 for name in before)

    released = up.run("models", "release", "digits", "--key", secret_key(up))
    assert released.returncode == OK, released.stderr
    readable = up.folder / "released.npz"
    assert up.run("models", "pull", "digits", "-o", str(readable)).returncode == OK
    again = arrays(readable)
    assert all(np.array_equal(again[name], trained[name]) for name in trained)
    version = up.run_json("models", "show", "digits")["version"]["version"]
    until(
        "the released version answers",
        lambda: up.run_json("infer", "digits", rows)["version"] == version,
    )


def test_what_is_encrypted_is_shown_and_a_key_is_rotated_where_it_is_known(
    tmp_path: Path,
) -> None:
    """A repository with the old public key refuses the new one, and says what to do."""
    old, new = tmp_path / "home" / "keys", tmp_path / "new"
    old.parent.mkdir()
    for folder in (old, new):
        made = subprocess.run(
            [*FEDBUS, "keys", "generate", str(folder)], check=False, capture_output=True
        )
        assert made.returncode == OK
    with FedbusUp(tmp_path, "--agents", "3") as up:
        run_job(up, digits_job("hidden", num_rounds=1, **ENCRYPTED))
        key = up.run_json("models", "show", "digits")["version"]["encryption"]["key"][:12]
        said = f"bfv, key {key}, distances from version 1"
        assert said in up.run("models", "list").stdout
        assert said in up.run("models", "show", "digits").stdout
        assert f"updates encrypted with bfv and key {key}" in up.run("job", "show", "hidden").stdout
        assert up.run("agents", "--all").stdout.count(key) >= 6
        keys = ("--old-key", secret_key(up), "--new-key", str(new / "secret.key"))
        refused = up.run("keys", "rotate", "digits", *keys)
        assert refused.returncode == REFUSED
        assert "start it with the public key of the new versions" in " ".join(
            refused.stderr.split()
        )
        wrong = up.run("models", "release", "digits", "--key", str(new / "secret.key"))
        assert wrong.returncode == REFUSED
        assert f"is encrypted with the key {key}, and the key given is" in " ".join(
            wrong.stderr.split()
        )
        assert up.interrupt() == OK


def seconds_of(up: FedbusUp, job: str, number: int) -> dict[str, float]:
    """Return when what was done in a round, from its opening on, as its collector measured it."""
    topic = f"fedbus/v1/jobs/{job}/rounds/{number}"
    seconds: dict[str, float] = json.loads(up.run_mosquitto("sub", "-t", topic, "-C", "1"))[
        "seconds"
    ]
    return seconds
