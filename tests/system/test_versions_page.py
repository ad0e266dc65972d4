"""Commands of `docs/versions.md`, run in their order as they are printed."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import fedbus
from fedbus.jobs.configuration import configuration_id, configuration_of
from fedbus.mqtt.mosquitto import LocalBroker
from fedbus_repository.stores.sqlite.store import SqliteStore
from tests.page_commands import ROOT, run_here
from tests.repository.harness import MODEL, commit_next, push
from tests.system.fork_server import fork_server

pytestmark = pytest.mark.system
ACCOUNTS = {"repository.1": "r", "controller.1": "c", "user.me": "u"}
JOB = "first"


def text_of(page: str) -> str:
    """Read a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def job_file() -> bytes:
    """Return the job file that the README prints, which this page's commands name."""
    _, _, after = text_of("README.md").partition("$ cat job.json\n")
    return after.partition("\n\n")[0].encode()


def commands() -> list[str]:
    """List the lines of the page's blocks that are commands."""
    blocks = re.findall(r"```\n(.+?)```", text_of("docs/versions.md"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith("fedbus ")]


def fill_store(data: Path) -> None:
    """Store versions 1 to 5 of the model, four of them by a job that has ended."""
    store = SqliteStore(data)
    push(store)
    store.store_job(0, JOB, MODEL, job_file())
    for value in range(1, 5):
        commit_next(store, float(value), JOB)
    store.end_job(2**52, JOB, "finished", "accuracy 0.91922, at least 0.9 was asked")
    store.close()


@pytest.fixture
def user_url(tmp_path: Path) -> Iterator[str]:
    """Run what the commands need, a broker, a repository and a controller; yield a user's URL."""
    fill_store(tmp_path / "data")
    with LocalBroker(tmp_path / "broker", accounts=ACCOUNTS) as broker:
        started = []
        for service in ("repository", "controller"):
            login = {"FEDBUS_BROKER": broker.address(f"{service}.1").url}
            environ = {**os.environ, **login}
            if service == "repository":
                environ["FEDBUS_DATA"] = str(tmp_path / "data")
            log = tmp_path / f"{service}.log"
            started.append(fork_server().fork(f"fedbus_{service}", environ, log))
        try:
            yield broker.address("user.me").url
        finally:
            for process in started:
                process.signal(signal.SIGTERM)
            for process in started:
                process.reap()


def test_the_commands_of_the_page_run_as_printed(user_url: str, tmp_path: Path) -> None:
    """Tags, aliases, lineage, results and configurations, of the README's job."""
    (tmp_path / "job.json").write_bytes(job_file())
    with fedbus.connect_sync(user_url) as fed:
        fed.promote(f"{MODEL}@4", "production")  # so that the roll-back has a version to return to
    said = {line: run_here(line, tmp_path, FEDBUS_BROKER=user_url) for line in commands()}

    def of(start: str) -> str:
        (found,) = [text for line, text in said.items() if line.startswith(start)]
        return found

    def first_column(start: str) -> list[str]:
        return [line.split("\t")[0] for line in of(start).splitlines()[1:]]

    assert (tmp_path / f"{MODEL}-v3.npz").is_file()
    assert "version 3 has the tags: paper" in of("fedbus models tag")
    assert "has no tag paper any more" in of("fedbus models untag")
    assert "production of digits names version 5" in of("fedbus models promote")
    assert "production of digits names version 4" in of("fedbus models rollback")
    assert "better on the new sensors" in of("fedbus models names")
    assert first_column("fedbus models lineage digits@production") == ["3", "2", "1"]
    assert first_column("fedbus models lineage digits@3 --descendants") == ["4", "5"]
    assert first_column("fedbus models lineage digits --leaves") == ["5"]
    assert of("fedbus job file").encode() == job_file()
    assert "round   4" in of("fedbus job result first")
    name = configuration_id(configuration_of(job_file()))
    assert f"fedbus configurations show {name}" in said
    assert name in of("fedbus configurations list")
    assert name in of("fedbus job results")
    assert name in of("fedbus configurations add")
    assert '"num_rounds"' in of("fedbus configurations show")
    assert "accepted" in of("fedbus job submit")
