"""Pages whose commands run as printed."""

import os
import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run_line(line: str, **more: str) -> str:
    """Run a line of a page at the root, in a shell with these variables; returns what it says."""
    done = subprocess.run(
        ["/bin/sh", "-c", line],
        check=False,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("FEDBUS_")},
            **more,
        },
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
    return done.stdout


def commands_of(page: str, section: str = "") -> list[str]:
    """Find the lines that a page, or a section of it, tells its reader to type."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    if section:
        text = text.split(f"## {section}\n")[1].split("\n## ")[0]
    return re.findall(r"^\$ (.+)$", text, re.MULTILINE)
