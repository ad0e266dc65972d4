"""Job files as people give them."""

import io
import json
from pathlib import Path

import numpy as np
import pytest

from fedbus.cli.inputs.job_argument import read_job_file
from fedbus.client.job_files import JobSource, id_of, job_payload, next_id, with_id
from fedbus.errors import SettingsError

JOB = b'{"training_id": "j", "model_name": "digits", "num_rounds": 2}'


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty; a job file is JSON, as {"),
        (b" \n", "empty; a job file is JSON"),
        (b"model_name: digits\nnum_rounds: 2\n", "not JSON at line 1.*looks like YAML"),
        (b"---\n- a\n", "looks like YAML"),
        (
            b'{"model_name": }',
            r"not JSON at line 1, column 16: .*; a job file is JSON, as \{",
        ),
        (b" " * 300_000 + JOB, "300061 bytes, at most 262144"),
    ],
)
def test_a_file_that_is_no_job_is_refused_before_any_request(
    tmp_path: Path, content: bytes, said: str
) -> None:
    """With the file's name, and what belongs there."""
    file = tmp_path / "job.json"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match=said) as wrong:
        read_job_file(str(file))
    assert str(wrong.value).startswith(str(file))


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    """In a folder the job files that are there are named."""
    with pytest.raises(SettingsError, match=r"nowhere\.json: No such file"):
        read_job_file(str(tmp_path / "nowhere.json"))
    with pytest.raises(SettingsError, match=r"a folder; name a job file$"):
        read_job_file(str(tmp_path))
    (tmp_path / "one.json").write_bytes(JOB)
    with pytest.raises(SettingsError, match=r"a folder; name a job file; in it: one\.json"):
        read_job_file(str(tmp_path))


def _nested(levels: int) -> dict[str, object]:
    tree: dict[str, object] = {}
    for _ in range(levels):
        tree = {"params": tree}
    return tree


@pytest.mark.parametrize(
    ("job", "said"),
    [
        pytest.param({"model_name": b"digits"}, "expected values of JSON.*bytes", id="bytes"),
        pytest.param({"num_rounds": np.int64(2)}, "expected values of JSON.*int64", id="numpy"),
        pytest.param({("a", "b"): 1}, "expected values of JSON.*tuple", id="tuple as key"),
        pytest.param({"num_rounds": 10**5000}, "expected values of JSON.*digits", id="huge"),
        pytest.param(_nested(20_000), "expected values of JSON.*recursion", id="nested"),
        pytest.param(None, "expected a dict, a path or JSON text, got NoneType", id="None"),
        pytest.param(["digits"], "expected a dict, a path or JSON text, got list", id="list"),
        pytest.param("a\0b", r"'a\\x00b': not a path", id="zero byte"),
        pytest.param("x" * 5000, "File name too long", id="long path"),
    ],
)
def test_a_job_of_another_type_is_refused_with_a_sentence(job: JobSource, said: str) -> None:
    """A program has values that a file cannot have."""
    with pytest.raises(SettingsError, match=said):
        job_payload(job)


@pytest.mark.parametrize("content", [JOB, b'{"unknown": 1}', b"[]"])
def test_what_else_is_wrong_the_controller_says(tmp_path: Path, content: bytes) -> None:
    """It may know more keys than this command, or fewer."""
    (tmp_path / "job.json").write_bytes(content)
    assert read_job_file(str(tmp_path / "job.json")) == content


class Input(io.TextIOWrapper):
    """Standard input, from a person or a pipe."""

    def __init__(self, content: bytes, *, person: bool) -> None:
        super().__init__(io.BytesIO(content))
        self._person = person

    def isatty(self) -> bool:
        return self._person


@pytest.mark.parametrize("person", [True, False])
def test_standard_input_is_a_file_as_well(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], person: bool
) -> None:
    """A person is told that something is waited for."""
    monkeypatch.setattr("sys.stdin", Input(JOB, person=person))
    assert read_job_file("-") == JOB
    assert ("Ctrl-D" in capsys.readouterr().err) is person
    monkeypatch.setattr("sys.stdin", Input(b"", person=False))
    with pytest.raises(SettingsError, match=r"^standard input: empty"):
        read_job_file("-")


def test_a_file_is_put_under_another_id() -> None:
    """And says the same otherwise."""
    assert json.loads(with_id("f", b"\xef\xbb\xbf" + JOB, "k")) == {
        "training_id": "k",
        "model_name": "digits",
        "num_rounds": 2,
    }
    with pytest.raises(SettingsError, match="'a/b' is no job's id: 1 to 64 letters"):
        with_id("f", JOB, "a/b")
    with pytest.raises(SettingsError, match=r"f cannot be given an id, 1 fault:\n  num_rounds"):
        with_id("f", b'{"model_name": "digits"}', "k")


def test_the_id_of_a_file_may_be_left_out() -> None:
    """Or not be readable at all."""
    assert id_of(JOB) == "j"
    assert id_of(b'{"model_name": "digits", "num_rounds": 2}') is None
    assert id_of(b"{}") is None


@pytest.mark.parametrize(
    ("job", "following"),
    [("first", "first.2"), ("first.2", "first.3"), ("digits-1", "digits-1.2"), ("a.99", "a.100")],
)
def test_runs_of_a_job_are_counted(job: str, following: str) -> None:
    """So that they stand beside each other in a list."""
    assert next_id(job) == following


def test_a_counted_id_is_never_too_long() -> None:
    """Ids have 64 characters at most."""
    assert next_id("x" * 64) == "x" * 62 + ".2"
