"""The page of privacy: its examples are jobs, its commands run, its claims have tests."""

import json
import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedbus.cli.main import app
from tests.page_commands import ROOT, commands_of, run_line

PAGE = (ROOT / "docs" / "privacy.md").read_text(encoding="utf-8")
HIDDEN = {"homomorphic.json", "secure_aggregation.json"}
"""Examples of hidden updates without a mechanism: they promise no ε."""
EXAMPLES = sorted(
    path for path in (ROOT / "examples" / "privacy").glob("*.json") if path.name not in HIDDEN
)
PLANNED = dict(
    re.findall(r"^\| `(\w+\.json)` \|(?:[^|]+\|){3} ([^ |]+) \|", PAGE, flags=re.MULTILINE)
)
CLAIM = re.compile(r"^\| [^|]* \| `(tests/[\w/]+\.py)` \| (test_\w+) \|$", flags=re.MULTILINE)


def test_each_claim_names_a_test_that_exists() -> None:
    """A reader who doubts a claim finds its test, and a test that is renamed is found here."""
    claims = CLAIM.findall(PAGE)
    assert len(claims) == PAGE.partition("## Claims and their tests")[2].count("`tests/")
    assert len(claims) > 50
    assert [
        f"{file}: {test}"
        for file, test in claims
        if f"def {test}(" not in (ROOT / file).read_text(encoding="utf-8")
    ] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_has_the_epsilon_of_the_page(example: Path) -> None:
    """Each is accepted, and its ε is said before anything is trained."""
    pytest.importorskip("dp_accounting")
    shown = CliRunner().invoke(app, ["job", "check", str(example), "--json"])
    assert shown.exit_code == 0, shown.output
    warnings = " ".join(json.loads(shown.stdout)["warnings"])
    planned = PLANNED[example.name]
    said = "it has no ε" if planned == "none" else f"rounds ε is {planned} "
    assert said in warnings.replace(";", " ")


@pytest.mark.parametrize(
    ("page", "finished"),
    [
        ("encryption.md", "job encrypted finished: all 10 rounds are done"),
        ("secure-aggregation.md", "job masked finished: all 10 rounds are done"),
        ("compression.md", "job smaller finished: all 10 rounds are done"),
    ],
)
def test_the_first_commands_of_a_page_run_as_printed(page: str, finished: str) -> None:
    """A job file is checked, and runs in one process, without a broker or a key file."""
    for needed in ("sklearn", "tflite_runtime", "tenseal", "cryptography", "zstandard"):
        pytest.importorskip(needed)
    check, simulate, *_ = commands_of(page, "Try it")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    assert "has no faults" in run_line(check, PATH=path, COLUMNS="200")
    assert finished in run_line(simulate, PATH=path, COLUMNS="200")


def test_the_page_lists_each_example() -> None:
    """And names each a second time, beside its mechanism."""
    assert sorted(PLANNED) == [path.name for path in EXAMPLES]
    sections = PAGE.partition("## What each mechanism promises")[2]
    named = set(re.findall(r"`examples/privacy/(\w+\.json)`", sections))
    assert named == {path.name for path in EXAMPLES} - {"first.json"}


def test_the_page_of_privacy_runs_as_printed() -> None:
    """A new reader's first two commands: what a job promises, and a job that spends its budget."""
    for needed in ("dp_accounting", "sklearn", "tflite_runtime"):
        pytest.importorskip(needed)
    check, simulate = commands_of("privacy.md", "Try it")
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    assert "has no faults" in run_line(check, PATH=path, COLUMNS="200")
    said = run_line(simulate, PATH=path, COLUMNS="200")
    assert "job private-first finished: the privacy budget is spent: ε 7.88 of 8 after 11" in said
    assert "one more would give 8.2" in said


def test_the_command_that_makes_a_key_says_what_the_page_prints(tmp_path: Path) -> None:
    """Only the key itself, and where it is, differ."""
    pytest.importorskip("cryptography")
    (line,) = commands_of("privacy.md", "The noise key")
    name = line.split()[-1]
    shown = CliRunner().invoke(app, ["privacy", "key", str(tmp_path / name)])
    assert shown.exit_code == 0, shown.output
    said = " ".join(shown.stdout.split()).replace(str(tmp_path / name), name)
    assert re.fullmatch(
        rf"{name}: a new noise key, SHA-256 [0-9a-f]{{64}} Give the same file to all collectors: "
        rf"FEDBUS_NOISE_KEY={name}",
        said,
    )
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
