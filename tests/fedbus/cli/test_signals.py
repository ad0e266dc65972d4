"""Signals during a command: its exit code, threads, child processes and folders."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from fedbus.cli.interruptible import run_interruptible
from fedbus.cli.signals import ProcessEnd
from fedbus.client.failures import Failed
from fedbus.interruption import deferred_signals, temporary_folder

INTERRUPTIBLE = """\
import subprocess, sys, threading, time
from pathlib import Path
from fedbus.cli import __main__ as entry
from fedbus.cli import main
from fedbus.cli.interruptible import run_interruptible
from fedbus.cli.signals import PROCESS_END
from fedbus.interruption import temporary_folder

def work(stop):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    print(child.pid, flush=True)
    for _ in range({seconds} * 100):
        try:
            time.sleep(0.01)  # as native code does, it hears of nothing
        except BaseException:
            pass
    child.kill()
    return "done"

def run():
    with temporary_folder("left-") as folder:
        PROCESS_END.folders.append(str(folder))
        print(run_interruptible(work))

main.run = run
entry.main()
"""


HEARS = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
DEAF = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"


def start(folder: Path, script: str) -> "subprocess.Popen[str]":
    """Start a script whose temporary files lie in a folder."""
    return subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(folder)},
    )


@pytest.mark.parametrize(
    ("numbers", "code"),
    [
        ([signal.SIGINT], 130),
        ([signal.SIGINT, signal.SIGINT, signal.SIGINT], 130),
        ([signal.SIGTERM], 143),
    ],
    ids=["Ctrl-C", "three times", "SIGTERM"],
)
def test_a_thread_that_hears_nothing_is_left_and_nothing_of_it_stays(
    numbers: list[signal.Signals], code: int, tmp_path: Path
) -> None:
    """No process that it started, and no folder."""
    with start(tmp_path, HEARS + INTERRUPTIBLE.format(seconds=60)) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        for number in numbers:
            process.send_signal(number)
        said = process.communicate(timeout=30)
    assert (process.returncode, said) == (code, ("", ""))
    assert list(tmp_path.iterdir()) == []
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_what_is_started_in_the_background_hears_no_ctrl_c(tmp_path: Path) -> None:
    """A shell's `&` turns it off: it is meant for who runs in front. SIGTERM ends it still."""
    with start(tmp_path, DEAF + INTERRUPTIBLE.format(seconds=1)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, ("done\n", ""))
    with start(tmp_path, DEAF + INTERRUPTIBLE.format(seconds=60)) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 143


SIMULATE = """\
import sys
sys.argv[1:] = ["simulate", {job!r}, "--agents", "3"]
from fedbus.cli.__main__ import main
main()
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_simulation_is_ended_by_a_signal_and_not_changed(
    number: signal.Signals, code: int, tmp_path: Path
) -> None:
    """It was taken for the trainer's failing: an agent was dropped, and the result another."""
    pytest.importorskip("sklearn")
    pytest.importorskip("tflite_runtime")
    training = {"batch_size": 16, "epochs": 20, "learning_rate": 0.05}
    job = {
        "training_id": "long",
        "model_name": "digits",
        "num_rounds": 1000,
        "config": [training],
        "round": {"agents": 3, "quorum": 1},
    }
    path, folder = tmp_path / "job.json", tmp_path / "temporary"
    path.write_text(json.dumps(job))
    folder.mkdir()
    with start(folder, HEARS + SIMULATE.format(job=str(path))) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        rest, errors = process.communicate(timeout=30)
    assert process.returncode == code
    assert all("3 agents, " in line for line in [first, *rest.splitlines()])
    assert "Traceback" not in errors
    assert list(folder.iterdir()) == []


def test_what_raises_what_ctrl_c_raises_has_failed() -> None:
    """User code may raise KeyboardInterrupt without a signal."""

    def work(_stop: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(Failed, match="no key was pressed"):
        run_interruptible(work)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ── what must not be cut ─────────────────────────────────────────────────────────────────────────


def interrupted(call: Callable[[], None]) -> bool:
    """Return whether a call ends by Ctrl-C."""
    try:
        call()
    except KeyboardInterrupt:
        return True
    return False


def test_a_folder_is_removed_whole_however_often_ctrl_c_is_pressed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one came into the removal, and left half of it."""
    import shutil

    removal = shutil.rmtree

    def disturbed(path: Path, **_: bool) -> None:
        signal.raise_signal(signal.SIGINT)
        removal(path)

    monkeypatch.setattr(shutil, "rmtree", disturbed)

    def work() -> None:
        with temporary_folder(within=tmp_path) as folder:
            (folder / "file").write_text("x")
            signal.raise_signal(signal.SIGINT)

    assert interrupted(work)
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_was_heard_meanwhile_takes_effect_afterwards() -> None:
    """No Ctrl-C is ignored."""
    done: list[str] = []

    def work() -> None:
        with deferred_signals():
            signal.raise_signal(signal.SIGINT)
            done.append("whole")
        done.append("never")

    assert interrupted(work)
    assert done == ["whole"]


def test_only_a_command_that_a_signal_has_ended_says_so_by_its_code() -> None:
    """A cluster that is told to stop has done what it should."""
    ending = ProcessEnd()
    assert [ending.code(code) for code in (0, 1, 130, None)] == [0, 1, 130, None]
    ending.terminated = True
    assert [ending.code(code) for code in (0, 1, 130, None)] == [0, 1, 143, None]


def test_a_service_that_is_interrupted_before_it_serves_says_so() -> None:
    """While it reads its data, say: without a traceback."""
    script = (
        "from fedbus.runtime import service\n"
        "from fedbus.runtime.settings import ServiceSettings\n"
        "def build(*_): raise KeyboardInterrupt\n"
        "service.main('controller', ServiceSettings, build)\n"
    )
    environ = {**os.environ, "FEDBUS_BROKER": "mqtt://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env=environ
    )
    assert (done.returncode, done.stderr) == (
        130,
        "fedbus-controller: interrupted before it started\n",
    )


LATE = """\
import os, signal
from fedbus.cli import __main__ as entry
from fedbus.cli import main

class Late:
    def __del__(self, kill=os.kill, pid=os.getpid()):
        kill(pid, {number})  # after Python has given signals their default action back

late = Late()
main.run = lambda: 0
entry.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_after_the_work_changes_no_exit_code(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Everything was printed and written by then: a script must not take it for cut short."""
    process = start(tmp_path, HEARS + LATE.format(number=int(number)))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "", "")
