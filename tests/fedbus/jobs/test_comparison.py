"""Equality of two job files, and the differences of unequal ones."""

import json
from typing import Any

import pytest

from fedbus.jobs import differences
from tests.fedbus.jobs.written import job_with

JOB = {
    "training_id": "j",
    "model_name": "digits",
    "num_rounds": 5,
    "stopping_target": {"accuracy": 0.9, "loss": 1},
    "config": [{"batch_size": 16}],
}


def written(**changes: Any) -> bytes:  # noqa: ANN401 - whatever a job file holds
    """A job file; None leaves a key out."""
    return json.dumps({**JOB, **changes}).encode()


@pytest.mark.parametrize(
    "same",
    [
        written(),
        written() + b"\n",
        b"\xef\xbb\xbf" + written(),
        json.dumps(JOB, indent=4).encode(),
        json.dumps(dict(reversed(JOB.items()))).encode(),
        written(num_rounds=5.0),
        written(num_rounds="5"),
        written(stopping_target={"loss": 1.0, "accuracy": 0.90}),
        written(round={"agents": 2, "precision": "full"}),
        written(training_id=None),
        written(training_id="other"),
        written(model_version=None),
    ],
    ids=[
        "bytes",
        "newline",
        "mark",
        "white space",
        "order",
        "float",
        "text",
        "numbers",
        "default",
        "no id",
        "another id",
        "null",
    ],
)
def test_files_that_say_the_same_are_equal(same: bytes) -> None:
    """A client that sends a job again may format it with another program."""
    assert differences(written(), same) == []
    assert differences(same, written()) == []


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (written(num_rounds=9), ["num_rounds is 9 here and 5 there"]),
        (written(model_version="2"), ["model_version is '2' here and left out there"]),
        (written(config=[]), ["config is a list here and left out there", "config[0].batch_size"]),
        (written(stopping_target={}), ["stopping_target"]),
        (
            written(round={"keep_optimizer_state": True}),
            ["round.keep_optimizer_state is true here and false there"],
        ),
    ],
)
def test_each_difference_is_named_with_both_values(other: bytes, said: list[str]) -> None:
    """Without them a person compares two files by eye, and one of them is not at hand."""
    found = differences(written(), other)
    assert all(any(each.startswith(part) for each in found) for part in said), found


def test_files_that_are_no_jobs_are_compared_as_json() -> None:
    """A file that an older version has stored may have keys that this one does not know."""
    assert differences(b'{"a": 1, "b": 2}', b'{"b":2.0, "a":1}') == []
    assert differences(b'{"a": 1}', job_with())[-1] == "a is left out here and 1 there"
    assert differences(b'{"a": 1}', b'{"a": true}') == ["a is true here and 1 there"]
    assert differences(b"[]", b"{}") == ["the file is left out here and a list there"]


def test_bytes_that_are_no_json_are_never_equal() -> None:
    """Nothing is known of what they mean."""
    (said,) = differences(b"{}", b"{")
    assert said.startswith("they cannot be compared: ")
