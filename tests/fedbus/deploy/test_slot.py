"""Replicas that share one command line, each with a slot of its own."""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from fedbus.deploy.slot import lock_slot, main, slot_environment
from fedbus.errors import SettingsError

SHOW = (
    "import json, os, sys; "
    "ours = {k: v for k, v in os.environ.items() if k.startswith('FEDBUS_')}; "
    "print(json.dumps(ours), flush=True); "
    "sys.stdin.read()"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three slots, and something else."""
    for name in ("1", "2", "10", "evaluator"):
        (tmp_path / name).mkdir()
    return tmp_path


def _replica(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "fedbus.deploy.slot", str(folder), sys.executable, "-c", SHOW],
        env={**os.environ, "FEDBUS_NAME": "{slot}", "FEDBUS_DATA": "/agents/{slot}/data.npz"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def _slot(replica: subprocess.Popen[str]) -> str:
    assert replica.stdout is not None
    environ = json.loads(replica.stdout.readline())
    assert environ["FEDBUS_DATA"] == f"/agents/{environ['FEDBUS_NAME']}/data.npz"
    return str(environ["FEDBUS_NAME"])


def test_each_replica_gets_a_slot_of_its_own_and_a_killed_one_frees_it(folder: Path) -> None:
    """The lock goes through exec, and ends with the process, however that ends."""
    with ExitStack() as running:
        first, second = (running.enter_context(_replica(folder)) for _ in range(2))
        assert sorted((_slot(first), _slot(second))) == ["1", "2"]
        third = running.enter_context(_replica(folder))
        assert _slot(third) == "10"
        third.send_signal(signal.SIGKILL)
        third.wait()
        fourth = running.enter_context(_replica(folder))
        assert _slot(fourth) == "10"
        for replica in (first, second, fourth):
            replica.kill()


def test_too_many_replicas_are_told_so(folder: Path) -> None:
    """Only folders named by a number are slots."""
    locks = [lock_slot(folder) for _ in range(3)]
    assert [name for name, _ in locks] == ["1", "2", "10"]
    with pytest.raises(SettingsError, match="all 3 slots are in use"):
        lock_slot(folder)
    for _, lock in locks:
        os.close(lock)


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    """As when a volume is not mounted."""
    with pytest.raises(SettingsError, match="nowhere: No such file"):
        lock_slot(tmp_path / "nowhere")


def test_only_our_variables_are_rewritten() -> None:
    """Others may mean something else by braces."""
    assert slot_environment("3", {"FEDBUS_NAME": "{slot}", "PS1": "{slot}"}) == {
        "FEDBUS_NAME": "3",
        "PS1": "{slot}",
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param([], "usage: ", id="nothing"),
        pytest.param(["{folder}"], "usage: ", id="no-command"),
        pytest.param(["{folder}/no", "true"], "fedbus: ", id="no-folder"),
        pytest.param(["{folder}", "no-such-command"], "fedbus: no-such-command: ", id="no-program"),
    ],
)
def test_wrong_usage_is_a_sentence(folder: Path, arguments: list[str], words: str) -> None:
    """And an exit code, as the restart policy needs."""
    with pytest.raises(SystemExit) as ended:
        main([argument.format(folder=folder) for argument in arguments])
    assert str(ended.value).startswith(words)
