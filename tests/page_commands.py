"""Shell commands and blocks of code in the pages of `docs/`, run as they are printed."""

import io
import os
import re
import shlex
import subprocess
from contextlib import chdir, redirect_stdout
from pathlib import Path
from string import Template
from warnings import catch_warnings, simplefilter

from typer.testing import CliRunner

from fedbus.cli.main import app

ROOT = Path(__file__).parent.parent


def run_line(line: str, **variables: str) -> str:
    """Run a line of a page in a shell at the root, with more variables; return its output."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("FEDBUS_")},
            **variables,
        },
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def run_here(line: str, folder: Path = ROOT, **variables: str) -> str:
    """Run a line of a page as `run_line` does, but `fedbus` and `python -c` in this process.

    A process of each imports packages for seconds. `$(fedbus …)` in a line is replaced first.
    `fedbus` runs in the folder.
    """
    for inner in re.findall(r"\$\((fedbus [^)]+)\)", line):
        line = line.replace(f"$({inner})", run_here(inner, folder, **variables).strip())
    words = shlex.split(Template(line).safe_substitute(variables), comments=True)
    if words[:2] == ["python", "-c"]:
        return run_block(words[2])
    if words[0] != "fedbus":
        return run_line(line, **variables)
    own = {name: None for name in os.environ if name.startswith("FEDBUS_")}
    with chdir(folder):
        done = CliRunner().invoke(app, words[1:], env={**own, **variables})
    assert done.exit_code == 0, f"{line}\n{done.output}"
    return done.stdout


def run_block(code: str) -> str:
    """Run a program of a page in this process, and return what it prints."""
    with chdir(ROOT), redirect_stdout(io.StringIO()) as printed, catch_warnings():
        simplefilter("ignore", ResourceWarning)  # a short example leaves files to the interpreter
        exec(compile(code, "a page", "exec"), {"__name__": "__main__"})  # noqa: S102 - of our pages
    return printed.getvalue()


def commands_of(page: str, section: str = "") -> list[str]:
    """List the shell commands of a page, or of one section of it."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if section:
        text = text.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\$ (.+)$", text, re.MULTILINE)


def blocks_of(page: str, language: str) -> list[str]:
    """List the blocks of code of a page."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.+?)```", text, re.DOTALL)
