"""Shell commands and blocks of code in the pages of `docs/`, run as they are printed."""

import os
import re
import subprocess
from pathlib import Path

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
