"""Admission of `.tflite` files, and stored verdicts."""

import json
from pathlib import Path

import numpy as np
import pytest

from fedbus import demo_data
from fedbus.digest import digest_of
from fedbus.errors import PluginError, TrainingError
from fedbus.frameworks import file_admission
from fedbus.frameworks.file_admission import MAX_DEATHS
from fedbus.frameworks.file_trial import FileCrash, TrialNotRun
from fedbus.frameworks.tflite.admission import Admission
from fedbus.frameworks.tflite.signatures import TfliteFacts
from fedbus.model.layout import Layout

DIGITS = demo_data.read("digits.tflite")
DIGEST = digest_of(DIGITS)


class Trial:
    """A child that ends as it is told, and counts."""

    def __init__(self, *ends: Exception | None) -> None:
        self._ends = iter(ends)
        self.runs = 0

    def __call__(self, data: bytes, facts: TfliteFacts) -> None:
        assert data == DIGITS
        assert "train" in facts.signatures
        self.runs += 1
        end = next(self._ends, None)
        if end is not None:
            raise end


def admission(folder: Path | None, trial: Trial, node: str = "agent.1") -> Admission:
    """As a process that has just started."""
    return Admission(folder, node, trial, {})


def test_a_file_is_tried_once_on_a_machine(tmp_path: Path) -> None:
    """A restart, and other agents of one folder, find the verdict there."""
    trial = Trial()
    first = admission(tmp_path / "trials", trial)
    assert first.admit(DIGITS) == first.admit(bytearray(DIGITS)) == DIGEST
    assert admission(tmp_path / "trials", trial, "agent.2").admit(DIGITS) == DIGEST
    assert trial.runs == 1


def test_a_process_remembers_a_bounded_number_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that pushes one refused file after another does not fill its memory."""
    monkeypatch.setattr(file_admission, "MAX_VERDICTS", 2)
    known = dict.fromkeys("abc", (False, "of no use"))
    Admission(None, "agent.1", Trial(), known).admit(DIGITS)
    assert [*known] == ["c", DIGEST]


def test_without_a_folder_a_process_remembers(tmp_path: Path) -> None:
    """So does one whose folder cannot be written."""
    (tmp_path / "file").touch()
    for folder in (None, tmp_path / "file"):
        trial = Trial()
        here = admission(folder, trial)
        assert here.admit(DIGITS) == here.admit(DIGITS)
        with here.using(DIGEST):
            pass
        assert trial.runs == 1


@pytest.mark.parametrize("error", [FileCrash("it kills"), TrainingError("it does not run")])
def test_what_was_refused_stays_refused(tmp_path: Path, error: TrainingError) -> None:
    """After a restart as well, and as what it was."""
    trial = Trial(error)
    with pytest.raises(type(error), match=str(error)):
        admission(tmp_path, trial).admit(DIGITS)
    with pytest.raises(TrainingError, match=str(error)) as again:
        admission(tmp_path, trial).admit(DIGITS)
    assert type(again.value) is type(error)
    assert trial.runs == 1


@pytest.mark.parametrize("error", [TrialNotRun("no memory"), PluginError("no runtime")])
def test_what_was_not_tried_is_tried_again(tmp_path: Path, error: Exception) -> None:
    """The file may be a good one: the machine was not."""
    trial = Trial(error)
    here = admission(tmp_path, trial)
    with pytest.raises(type(error)):
        here.admit(DIGITS)
    here.admit(DIGITS)
    assert trial.runs == 2


@pytest.mark.parametrize(
    "text", ["", "{}", '{"killed": false, "reason": "", "by": "tflite-runtime 0.1"}']
)
def test_a_verdict_of_another_runtime_or_a_torn_one_does_not_count(
    tmp_path: Path, text: str
) -> None:
    """Another version may make something else of the file."""
    (tmp_path / f"{DIGEST}.json").write_text(text)
    trial = Trial()
    admission(tmp_path, trial).admit(DIGITS)
    assert trial.runs == 1


def test_a_damaged_file_is_never_tried(tmp_path: Path) -> None:
    """The verifier is enough; so it is for weights that are not the layout's."""
    trial = Trial()
    with pytest.raises(TrainingError, match="not a whole"):
        admission(tmp_path, trial).admit(DIGITS[:9000])
    with pytest.raises(TrainingError, match="not those of the spec's layout"):
        admission(tmp_path, trial).admit(DIGITS, Layout.of({"w": np.zeros(3)}))
    assert trial.runs == 0


def test_a_file_with_which_processes_die_is_put_aside(tmp_path: Path) -> None:
    """Whatever the trial said: real data may let native code die. The sentence says the mend."""
    gone = [admission(tmp_path, Trial()).using(DIGEST) for _ in range(MAX_DEATHS)]
    for work in gone:
        work.__enter__()  # and the process is gone
    aside = admission(tmp_path, Trial())
    with pytest.raises(FileCrash, match=r"5 processes in a row died .* delete .*\.using") as told:
        aside.using(DIGEST).__enter__()
    with admission(tmp_path, Trial(), "agent.2").using(DIGEST):
        pass  # which has no share in it
    Path(str(told.value).split("delete ")[1].split(" to try")[0]).unlink()
    with aside.using(DIGEST):
        pass


@pytest.mark.parametrize("left", [MAX_DEATHS - 1, 0])
def test_work_that_ends_well_or_ill_is_no_death(tmp_path: Path, left: int) -> None:
    """A refused task, a stop: the process lives, so the count starts again."""
    here = admission(tmp_path, Trial())
    gone = [here.using(DIGEST) for _ in range(left)]
    for work in gone:
        work.__enter__()
    with pytest.raises(TrainingError, match="a task failed"), here.using(DIGEST):
        raise TrainingError("a task failed")
    assert not list(tmp_path.glob("*.using"))


def test_verdicts_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go."""
    monkeypatch.setattr(file_admission, "MAX_VERDICTS", 2)
    for n in range(3):
        (tmp_path / f"{n}.json").write_text("{}")
    admission(tmp_path, Trial()).admit(DIGITS)
    kept = {path.name for path in tmp_path.glob("*.json")}
    assert f"{DIGEST}.json" in kept
    assert len(kept) == 2
    assert json.loads((tmp_path / f"{DIGEST}.json").read_text())["killed"] is False
