"""One member's process, over its lives, and what ties it to us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fedbus.cluster.members import Member
from fedbus.cluster.process import Process, cause_of, die_with_parent_prefix
from fedbus.mqtt.bus import BrokerAddress

AT = BrokerAddress("127.0.0.1", 1)
SECONDS = 20.0


def a_member(module: str = "this") -> Member:
    """A member of any module; `this` prints a poem and ends."""
    return Member(node="agent.1", module=module, settings={"name": "1"})


def is_over(pid: int) -> bool:
    """Whether a process has ended, waited for or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_a_life_is_started_logged_and_known_to_have_ended(tmp_path: Path) -> None:
    """And so is the next one, whose words follow the first one's."""
    process = Process(a_member(), AT, "", tmp_path / "log")
    assert process.exit_code is None
    for _ in range(2):
        process.start(now=0.0)
        assert process.pid is not None
        assert os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT) is not None
        assert process.exit_code == 0
        assert process.pid is None
    assert process.log.read_text().count("The Zen of Python") == 2
    assert process.log_tail(1) == "Namespaces are one honking great idea -- let's do more of those!"


def test_a_process_that_does_not_end_is_reaped(tmp_path: Path) -> None:
    """Nothing is left, not even a zombie."""
    process = Process(a_member("http.server"), AT, "", tmp_path / "log")
    process.start(now=0.0)
    pid = process.pid
    process.reap()
    assert pid is not None
    assert not psutil.pid_exists(pid)
    process.signal(signal.SIGTERM)  # it has exited: no effect
    assert process.peak_memory() is None


def test_without_a_log_there_are_no_last_lines(tmp_path: Path) -> None:
    """The log may have been deleted."""
    assert Process(a_member(), AT, "", tmp_path / "log").log_tail() == ""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
def test_a_tied_program_dies_with_its_parent_however_that_ends() -> None:
    """A killed `fedbus up` leaves nothing running."""
    script = (
        "import subprocess, sys, time\n"
        "from fedbus.cluster.process import die_with_parent_prefix\n"
        "words = [*die_with_parent_prefix(), sys.executable, '-c', 'import time; "
        "time.sleep(600)']\n"
        "child = subprocess.Popen(words)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert not is_over(child)
        parent.kill()
    until = time.monotonic() + SECONDS
    while not is_over(child):
        assert time.monotonic() < until


@pytest.mark.skipif(sys.platform != "linux", reason="only there is a parent looked for")
def test_who_is_started_by_a_dead_parent_does_not_begin() -> None:
    """It died before the kernel could be told."""
    interpreter, *words, _parent = die_with_parent_prefix()
    nobody = "1" if os.getpid() != 1 else "2"
    ended = subprocess.run([interpreter, *words, nobody, "/bin/true"], check=False)
    assert ended.returncode == 1


def test_causes_of_death_are_said_in_words() -> None:
    """`-9` says nothing to most people."""
    assert cause_of(-9) == "killed by SIGKILL"
    assert cause_of(2) == "ended with exit code 2"
    assert cause_of(-99) == "killed by signal 99"
