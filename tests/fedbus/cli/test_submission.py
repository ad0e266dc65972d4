"""Output and exit code of `fedbus job submit`."""

import json
from pathlib import Path
from typing import Any, Self

import pytest
from typer.testing import CliRunner

from fedbus.cli import submission
from fedbus.cli.main import app
from fedbus.client.failures import JobRefused
from fedbus.client.job_files import job_payload
from fedbus.client.job_reports import Submission
from fedbus.wire.documents import JobState

RUNNER = CliRunner()
LINE = ["--broker", "mqtt://127.0.0.1:1", "job", "submit"]
JOB = {"training_id": "j", "model_name": "digits", "num_rounds": 2}
AT = "2026-11-29T08:53:28.120Z"
OVER = {
    "known": True,
    "phase": "finished",
    "metrics": {"accuracy": 0.91922},
    "submitted": AT,
    "ended": AT,
    "rounds": 2,
}
TAKEN = {"key": "training_id", "problem": "the id is another job's", "hint": ""}


class Controller:
    """A deployment that answers each job by its id, and knows of these; others are new."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **known: dict[str, Any]) -> None:
        self.known = known
        self.retained: tuple[str, ...] = ()
        self.asked: list[str] = []
        monkeypatch.setattr(submission, "Client", lambda *_: self)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    async def submission(self, job: bytes) -> Submission:
        """Take a file."""
        name = json.loads(job_payload(job)).get("training_id")
        self.asked.append(name)
        answer = {"accepted": True, "job": name, **self.known.get(name, {})}
        if not answer["accepted"]:
            raise JobRefused(answer)
        return Submission(name, bool(answer.get("known")), str(answer.get("phase")), (), answer)

    async def jobs(self) -> tuple[JobState, ...]:
        """Return the states that the broker retains."""
        return tuple(
            JobState(
                job=job,
                model="m",
                phase="finished",
                round=1,
                num_rounds=1,
                metrics={},
                reason="",
            )
            for job in self.retained
        )


@pytest.fixture
def file(tmp_path: Path) -> str:
    """A job file."""
    path = tmp_path / "job.json"
    path.write_text(json.dumps(JOB))
    return str(path)


@pytest.mark.parametrize("watch", [[], ["--watch"]])
def test_a_job_that_has_finished_is_not_watched_again(
    monkeypatch: pytest.MonkeyPatch, file: str, watch: list[str]
) -> None:
    """Its old rounds looked as if it had been trained now."""
    Controller(monkeypatch, j=OVER)
    done = RUNNER.invoke(app, [*LINE, file, *watch])
    assert (done.exit_code, done.stdout) == (
        0,
        (
            "job j finished already at 2026-11-29 08:53:28 UTC with accuracy 91.9 %; nothing runs. "
            f"`fedbus job submit {file} --again` runs it again under the next id\n"
        ),
    )


def test_a_job_that_has_failed_is_no_success_the_second_time(
    monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """`submit && deploy` must not deploy."""
    Controller(monkeypatch, j={**OVER, "phase": "failed", "metrics": {}})
    done = RUNNER.invoke(app, [*LINE, file])
    assert done.exit_code == 1
    assert done.stdout.startswith("job j failed already at 2026-11-29 08:53:28 UTC; nothing runs.")


def test_a_job_that_runs_is_watched(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """It is the same job, and it is said that it is not begun now."""
    Controller(monkeypatch, j={**OVER, "phase": "running", "ended": None})
    done = RUNNER.invoke(app, [*LINE, file])
    assert (done.exit_code, done.stdout) == (
        0,
        (
            "job j is already running: submitted at 2026-11-29 08:53:28 UTC, 2 rounds are done; "
            "`fedbus job watch j` shows it\n"
        ),
    )


def test_programs_get_the_answer_that_says_so(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """With --watch there are no states to follow it."""
    Controller(monkeypatch, j=OVER)
    for more in ([], ["--watch"]):
        done = RUNNER.invoke(app, [*LINE, file, "--json", *more])
        assert json.loads(done.stdout) == {"accepted": True, "job": "j", **OVER}


def test_again_takes_the_next_id_that_no_job_has(
    monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Neither one that is retained, nor one that only the repository remembers."""
    refused = {"accepted": False, "faults": [TAKEN]}
    controller = Controller(monkeypatch, **{"j.3": OVER, "j.4": refused})
    controller.retained = ("j", "j.2")
    done = RUNNER.invoke(app, [*LINE, file, "--again"])
    assert (done.exit_code, done.stdout[:18]) == (0, "accepted: job j.5;")
    assert controller.asked == ["j.3", "j.4", "j.5"]


def test_again_passes_on_what_else_is_refused(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """A busy model is busy under every id."""
    fault = {"key": "model_name", "problem": "busy", "hint": ""}
    controller = Controller(monkeypatch, **{"j.2": {"accepted": False, "faults": [fault]}})
    controller.retained = ("j",)
    done = RUNNER.invoke(app, [*LINE, file, "--again"])
    assert (done.exit_code, "model_name: busy" in done.stderr) == (4, True)


def test_a_file_without_an_id_is_sent_with_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """So that the command may say it twice; the next time it is another job."""
    (tmp_path / "job.json").write_text('{"model_name": "digits", "num_rounds": 2}')
    controller = Controller(monkeypatch)
    for _ in range(2):
        assert RUNNER.invoke(app, [*LINE, str(tmp_path / "job.json"), "--again"]).exit_code == 0
    assert all(job.startswith("digits-2") for job in controller.asked)
    assert len(set(controller.asked)) == 2


def test_an_id_is_given_on_the_command_line(monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    """For one file, and not beside --again."""
    controller = Controller(monkeypatch)
    assert RUNNER.invoke(app, [*LINE, file, "--id", "mine"]).stdout.startswith(
        "accepted: job mine;"
    )
    assert controller.asked == ["mine"]
    for words in ([file, file], [file, "--again"]):
        assert RUNNER.invoke(app, [*LINE, *words, "--id", "x"]).exit_code == 2


def test_of_several_files_each_is_submitted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One that is refused keeps no other from its turn, and is not forgotten in the exit code."""
    names = []
    for job in ("a", "b", "c"):
        (tmp_path / job).write_text(json.dumps({**JOB, "training_id": job}))
        names.append(str(tmp_path / job))
    controller = Controller(monkeypatch, b={"accepted": False, "faults": [TAKEN]})
    done = RUNNER.invoke(app, [*LINE, *names, "--json"])
    assert controller.asked == ["a", "b", "c"]
    assert done.exit_code == 4
    assert [json.loads(line)["job"] for line in done.stdout.splitlines()] == ["a", "b", "c"]
    assert "not all of 3 files were accepted" in done.stderr
    missing = RUNNER.invoke(app, [*LINE, *names, str(tmp_path / "nowhere")])
    assert missing.exit_code == 2
    assert controller.asked == ["a", "b", "c"]  # all files are read before one is submitted
