"""Pages of `docs/`: generated ones are up to date, commands run as printed."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from fedbus.core import actions, events
from fedbus.jobs import parse
from fedbus.plugins.discovery import Group
from tests.page_commands import ROOT, blocks_of, commands_of, run_line


def test_the_generated_pages_are_what_the_code_says() -> None:
    """A change of the topic table, the job file or a setting needs `make docs`."""
    command = [sys.executable, str(ROOT / "docs" / "generate.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_decision_has_a_number_a_status_and_a_date_and_is_listed_with_them() -> None:
    """A page that no longer holds names its successor, and the list says so."""
    folder = ROOT / "docs" / "adr"
    listed = (folder / "README.md").read_text(encoding="utf-8")
    head = re.compile(
        r"# (?P<number>\d+)\. (?P<title>.+)\n\n"
        r"- Status: (?P<status>accepted|superseded by \d+)\n"
        r"- Date: (?P<date>20\d\d-\d\d-\d\d)\n\n"
    )
    pages = sorted(folder.glob("0*.md"))
    rows = []
    for page in pages:
        found = head.match(page.read_text(encoding="utf-8"))
        assert found, f"{page.name}: expected number, title, status and date"
        number, title, status, date = found.groups()
        rows.append(f"| {number} | [{title}]({page.name}) | {status} | {date} |")
        assert page.name.startswith(f"{int(number):04}-")
    assert [row for row in rows if row not in listed.splitlines()] == []
    assert len(pages) == int(number)  # none is missing in between


def test_the_page_of_the_architecture_lists_every_event_and_every_action() -> None:
    """They are the vocabulary of all cores; a new reader learns them there first."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    for heading, union in (("event", events.Event), ("action", actions.Action)):
        _, _, table = page.partition(f"| {heading} | meaning |\n|---|---|\n")
        cells = [row.split(" | ")[0] for row in table.partition("\n\n")[0].splitlines()]
        listed = re.findall(r"`([A-Z]\w+)", " ".join(cells))
        assert sorted(listed) == sorted(kind.__name__ for kind in get_args(union))


def test_no_line_of_prose_is_longer_than_120_columns() -> None:
    """A long line hides what a commit changed; tables, code and single long links are exempt."""
    folders = ("", "docs/**/", "examples/**/", "libs/*/", "mosquitto/", "services/*/")
    pages = [page for folder in folders for page in ROOT.glob(f"{folder}*.md")]
    assert ROOT / "CHANGELOG.md" in pages
    assert ROOT / "docs" / "adr" / "README.md" in pages
    assert [fault for page in pages for fault in long_lines(page)] == []


def long_lines(page: Path) -> Iterator[str]:
    """Yield the place of each line of prose that could be broken at 120 columns and is not."""
    fenced = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
        fenced ^= line.lstrip().startswith("```")
        table_or_code = fenced or line.lstrip().startswith(("|", "```")) or line.startswith("    ")
        breakable = len(line.split()) > 2  # a list item's mark and one word
        if len(line) > 120 and breakable and not table_or_code:
            yield f"{page.relative_to(ROOT)}:{number}: {len(line)} columns"


FOLDERS = ("benchmarks", "docs", "examples", "libs", "mosquitto", "services", "tests")
FILE_NAME = re.compile(rf"(?:[\w.-]+/)*[\w.-]+\.py|(?:{'|'.join(FOLDERS)})(?:/[\w.-]+)*/?")
MODULE_NAME = re.compile(r"fedbus(?:_[a-z]+)*(?:\.\w+)+")
ABSENT = {"acme_fl.py", "utils.py"}
"""Files that a page names because they do not exist, or because its reader writes them."""


def test_every_file_and_module_that_a_page_names_exists() -> None:
    """A renamed file leaves wrong names in pages; the changelog keeps old names on purpose."""
    paths = {path.relative_to(ROOT) for folder in FOLDERS for path in (ROOT / folder).rglob("*")}
    places = {f"/{path.as_posix()}" for path in paths} | {f"/{folder}" for folder in FOLDERS}
    groups = {f"fedbus.{group}" for group in get_args(Group)}
    named = 0
    unknown = []
    for page in [*ROOT.glob("*.md"), *(ROOT / path for path in paths if path.suffix == ".md")]:
        text = "" if page.name == "CHANGELOG.md" else page.read_text(encoding="utf-8")
        for name in re.findall(r"`([^`\s]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
            if FILE_NAME.fullmatch(name) and name not in ABSENT:
                known = any(place.endswith(f"/{name.rstrip('/')}") for place in places)
            elif MODULE_NAME.fullmatch(name) and name not in groups:
                known = module_exists(name)
            else:
                continue
            named += 1
            unknown += [] if known else [f"{page.relative_to(ROOT)}: {name}"]
    assert named > 100
    assert unknown == []


def module_exists(name: str) -> bool:
    """Return whether a name is a module, or is defined or imported in one."""
    module, _, attribute = name.rpartition(".")
    with suppress(ModuleNotFoundError):
        if find_spec(name) is not None:
            return True
    with suppress(ModuleNotFoundError):
        return hasattr(import_module(module), attribute)
    return False


def run_as_printed(line: str, target: Path) -> str:
    """Run a line of a page at the root, where pip installs into a folder and asks no network."""
    return run_line(
        line,
        PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        PIP_TARGET=str(target),
        PIP_NO_INDEX="1",
        PIP_NO_BUILD_ISOLATION="0",  # pip reads it the wrong way round: hatchling as it is here
        PYTHONPATH=str(target),
        COLUMNS="200",
    )


def test_the_page_of_plug_ins_runs_as_printed(tmp_path: Path) -> None:
    """Its output is the printed output."""
    pytest.importorskip("hatchling")
    pytest.importorskip("sklearn")
    lines = commands_of("plugins.md", "Try the example")
    assert len(lines) == 8
    said = [run_as_printed(line, tmp_path) for line in lines]
    assert "softmax" in said[1]
    assert "one step moved the weights" in said[2]
    assert "format: image 8 x 8 x 3" in said[3]
    assert "7 updates of zeros" in said[5]
    assert "all 5 rounds are done" in said[6]
    assert "all 5 rounds are done" in said[7]
    script, *_ = blocks_of("plugins.md", "python")
    (tmp_path / "middle.py").write_text(script, encoding="utf-8")
    mean = np.random.default_rng(0).normal(5, 1, (300, 2)).mean(axis=0).round(1)
    assert run_as_printed(f"python {tmp_path / 'middle.py'}", tmp_path) == f"finished {mean}\n"


STRATEGY_PARTS = ("nearest", "root", "momentum", "tether", "noise", "calm")


def test_the_strategy_of_the_page_of_plug_ins_runs_as_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader of this page alone writes a median, installs it and runs it in a job."""
    pytest.importorskip("hatchling")
    pytest.importorskip("sklearn")
    pytest.importorskip("tflite_runtime")
    _, *scripts = blocks_of("plugins.md", "python")
    package, target = tmp_path / "package", tmp_path / "target"
    package.mkdir()
    package.joinpath("acme_fl.py").write_text("\n\n".join(scripts), encoding="utf-8")
    (project,) = blocks_of("plugins.md", "toml")
    package.joinpath("pyproject.toml").write_text(project, encoding="utf-8")
    (job,) = blocks_of("plugins.md", "json")
    package.joinpath("job.json").write_text(job, encoding="utf-8")
    lines = commands_of("plugins.md", "A strategy of your own")
    monkeypatch.setattr("tests.page_commands.ROOT", package)
    said = [run_as_printed(line, target) for line in lines]
    assert "7 updates of zeros" in said[1]
    assert "all 5 rounds are done" in said[2]
    for name in STRATEGY_PARTS:
        assert "acme_fl:" in run_as_printed(f"fedbus plugins check acme-{name}", target)
    fitted = json.loads(job)
    fitted["strategy"] = {"id": "acme-calm", "parameters": {"momentum": 0.2}}
    package.joinpath("job.json").write_text(json.dumps(fitted), encoding="utf-8")
    assert "all 5 rounds are done" in run_as_printed("fedbus simulate job.json --agents 5", target)


def test_the_page_of_the_job_file_runs_as_printed(tmp_path: Path) -> None:
    """And its example is a job."""
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("sklearn")
    page = (ROOT / "docs" / "job-file.md").read_text(encoding="utf-8")
    written = [parse(file.encode()) for file in re.findall(r"```json\n(.+?)```", page, re.DOTALL)]
    assert [(job.stopping_target, job.strategy.id) for job in written] == [
        ({"accuracy": 0.9}, "fedavg"),
        ({}, "fedadam"),
        ({}, "fedavg"),
        ({}, "fedavg"),
        ({}, "fedavg"),
    ]
    (line,) = commands_of("job-file.md", "Try one")
    said = json.loads(run_as_printed(f"{line} --json", tmp_path))
    assert said["phase"] == "finished"
    assert said["metrics"]["accuracy"] >= 0.9


@pytest.mark.system
def test_the_page_of_data_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe a data set, partition it with a plot, partition it differently, train on that."""
    for needed in ("sklearn", "matplotlib", "tflite_runtime"):
        pytest.importorskip(needed)
    monkeypatch.setenv("FOLDER", str(tmp_path))
    lines = commands_of("data.md", "Try it")
    assert len(lines) == 4
    said = [run_as_printed(line, tmp_path / "packages") for line in lines]
    assert "1797 rows" in said[0]
    assert (tmp_path / "split.png").read_bytes().startswith(b"\x89PNG")
    assert "1797 rows in" in said[2]
    assert " finished: " in said[3]


@pytest.mark.system
def test_two_hundred_agents_reach_what_the_page_says_in_two_minutes(tmp_path: Path) -> None:
    """On two cores."""
    pytest.importorskip("tflite_runtime")
    pytest.importorskip("sklearn")
    (line,) = commands_of("plugins.md", "Many agents on one machine")
    began = time.monotonic()
    said = json.loads(run_as_printed(f"{line} --json", tmp_path))
    assert said["phase"] == "finished"
    assert said["metrics"]["accuracy"] >= 0.92
    assert time.monotonic() - began < 120


def test_the_page_of_frameworks_runs_as_printed(tmp_path: Path) -> None:
    """A job of aerOS, on Keras agents."""
    pytest.importorskip("tensorflow")
    pytest.importorskip("sklearn")
    (line,) = commands_of("frameworks.md", "Try Keras")
    assert "all 3 rounds are done" in run_as_printed(line, tmp_path)


def test_the_page_of_frameworks_trains_with_torch_as_printed(tmp_path: Path) -> None:
    """Warm-up and a schedule continue from round to round."""
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    (line,) = commands_of("frameworks.md", "Try PyTorch")
    assert "all 5 rounds are done" in run_as_printed(line, tmp_path)


def test_a_secret_setting_is_shown_as_text_and_not_as_a_path() -> None:
    """A token was listed as a path, so users set its file name there."""
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert "| `FEDBUS_HTTP_TOKEN` | text, secret |" in page
    assert "| `FEDBUS_HTTP_TOKEN_FILE` | path |" in page
