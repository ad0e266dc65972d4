"""The generated pages say what the code says."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_page_of_the_wire_is_what_the_topic_table_says() -> None:
    """Whoever changes the table runs `make docs`."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_decision_is_listed() -> None:
    """The list of decisions names each page, and each page has its number."""
    folder = ROOT / "docs" / "adr"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    pages = sorted(path for path in folder.glob("0*.md"))
    assert [page.name for page in pages if page.name not in listed] == []
    for number, page in enumerate(pages, 1):
        assert page.read_text(encoding="utf-8").startswith(f"# {number}. ")
