"""`fedbus` as a process: how it ends, whatever happens to it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import pytest

from tests.sigint import sigint_enabled

FEDBUS = (sys.executable, "-m", "fedbus.cli")
SLOW = """\
import os, sys, time
from importlib.abc import MetaPathFinder

class Slow(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            print("loading", file=sys.stderr, flush=True)
            time.sleep(60)

sys.meta_path.insert(0, Slow())
sys.argv[0] = "fedbus"
from fedbus.cli.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["fedbus.cli.main", "typer", "fedbus.simulation.run"])
def test_ctrl_c_while_modules_load_is_quiet(module: str, tmp_path: Path) -> None:
    """Those of all commands, and those of one; that takes longer than many commands run."""
    (tmp_path / "job.json").write_text("{}")
    words = ("simulate", "job.json")
    with sigint_enabled():
        started = subprocess.Popen(
            [sys.executable, "-c", SLOW.format(module=module), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
        )
    with started as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "loading\n"
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, ("", ""))


def test_who_is_started_without_ctrl_c_stays_without_it() -> None:
    """As `nohup` and a shell's background have it."""
    script = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "sys.argv[1:] = ['--version']\n"
        "from fedbus.cli import __main__ as entry\n"
        "try: entry.main()\n"
        "finally: print(signal.getsignal(signal.SIGINT).name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], check=True, capture_output=True, text=True
    )
    assert done.stdout.endswith("SIG_IGN\n")


def test_the_process_ends_with_the_commands_exit_code(tmp_path: Path) -> None:
    """Whichever way it is started."""
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
    environ.pop("FEDBUS_BROKER", None)
    script = str(Path(sys.executable).with_name("fedbus"))
    for line in ([*FEDBUS, "agents"], [script, "agents"]):
        done = subprocess.run(line, check=False, capture_output=True, text=True, env=environ)
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr.startswith("fedbus: no cluster runs on this machine")


def run(*words: str, stdout: int | TextIO = subprocess.PIPE) -> "subprocess.CompletedProcess[str]":
    """Run a command where no cluster is."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("FEDBUS_")}
    return subprocess.run(
        [*FEDBUS, *words],
        check=False,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is full")
@pytest.mark.parametrize("words", [("--help",), ("--version",), ("data", "describe", "digits")])
def test_an_answer_that_finds_no_room_is_a_sentence(words: tuple[str, ...]) -> None:
    """Printed at once or at the end: exit code 1, since no reader got it."""
    pytest.importorskip("sklearn")
    with Path("/dev/full").open("w") as full:
        done = run(*words, stdout=full)
    sentence = "fedbus: standard output: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, sentence)


def test_an_unreadable_answer_is_reported_in_a_sentence() -> None:
    """Standard output is closed, so that the next file would be taken for it."""
    line = f'"{sys.executable}" -m fedbus.cli --version >&-'
    done = subprocess.run(["/bin/sh", "-c", line], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("fedbus: standard output is closed; ")


def test_who_has_read_enough_ends_a_command_quietly() -> None:
    """As `head -1` does."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as pipe:
        for words in (("--version",), ("--help",)):
            done = run(*words, stdout=pipe)
            assert (done.returncode, done.stderr) == (1, "")


def test_help_in_a_pipe_begins_with_its_first_line() -> None:
    """`fedbus --help | head -1` says something."""
    assert run("--help").stdout.startswith("Usage: ")
