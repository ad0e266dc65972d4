"""Files that are no job at all: limits are applied before anything is built."""

import pytest

from fedbus.jobs import JobFault, parse
from fedbus.jobs.json_tree import MAX_VALUES
from fedbus.limits import MAX_MESSAGE_BYTES
from fedbus.wire.job_faults import show
from fedbus.wire.json_reader import MAX_DEPTH, clip
from tests.fedbus.jobs.written import faults_of, job_with, sentences


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "not JSON at line 1, column 1: Expecting value"),
        (b'{"a": 1,\n "b" 2}', "not JSON at line 2, column 6: Expecting ':' delimiter"),
        (b'{"a": "\\', "not JSON at line 1, column 7: Unterminated string starting at"),
        (b"\xff{}", "expected UTF-8, got another byte at 0"),
        (
            b" " * (MAX_MESSAGE_BYTES + 1),
            f"expected at most {MAX_MESSAGE_BYTES} bytes, got {MAX_MESSAGE_BYTES + 1}",
        ),
        (b"[" * (MAX_DEPTH + 1), "expected at most 32 levels of nesting, got more"),
        (b"[" * 500_000 + b"]" * 500_000, "expected at most 32 levels of nesting, got more"),
        (b"[" + b"1," * MAX_VALUES + b"1]", "more than 10000 values"),
        (b"[]", "expected an object, got a list"),
        (b"3", "expected an object, got 3"),
        (b"NaN", "NaN, not a finite number"),
    ],
)
def test_a_file_that_is_no_job_is_refused_as_a_whole(data: bytes, sentence: str) -> None:
    """Limits are applied before anything is built."""
    assert faults_of(data) == (JobFault(key="", problem=sentence),)


def test_brackets_in_text_are_no_depth() -> None:
    """Only architecture counts, also behind an escaped quote."""
    assert parse(job_with(server_address='"\\[' + "[{" * 100)).server_address is not None


def test_depth_is_counted_down_again() -> None:
    """Many shallow objects are not a deep one."""
    assert sentences(job_with(x=[[]] * 100)) == ["x: unknown key"]


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        (b"1e999", "not a finite number"),
        (b"-Infinity", "-Infinity, not a finite number"),
        (b"1" * 33, "expected at most 32 digits, got 33"),
        (b"1" * 32, f"expected at most 100000, got {'1' * 32}"),
        (b'"' + b"9" * 5000 + b'"', f"expected a whole number, got '{'9' * 64}…'"),
        (b'"\\ud800"', "not text that can be written as UTF-8"),
    ],
)
def test_a_number_beyond_measure_is_refused_where_it_stands(written: bytes, problem: str) -> None:
    """Neither a crash nor a second of arithmetic."""
    data = b'{"training_id": "a", "model_name": "b", "num_rounds": %b}' % written
    assert faults_of(data) == (JobFault(key="num_rounds", problem=problem),)


def test_half_a_character_is_shown_spelled_out() -> None:
    """An answer must be writable as UTF-8 whatever the question was."""
    data = b'{"training_id": "\\ud800", "model_name": "b", "num_rounds": 1, "\\ud800": 1}'
    text = "\n".join(sentences(data))
    assert text.encode().decode() == text
    assert "training_id: not text that can be written as UTF-8" in text


def test_foreign_text_is_shown_short_and_printable() -> None:
    """No control characters reach a terminal, no megabyte a log."""
    assert clip("a\x1b[31m") == "a\\x1b[31m"
    assert clip("größe") == "größe"
    assert clip("k" * 1000) == "k" * 64 + "…"
    values: list[object] = ["a", True, None, 1.5, [1], {}]
    assert [show(value) for value in values] == [
        "'a'", "true", "null", "1.5", "a list", "an object",
    ]  # fmt: skip
