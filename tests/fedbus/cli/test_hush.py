"""What is left out of what a command's libraries say, and what is not."""

import os

import pytest

from fedbus.cli.hush import LEVEL, hushed

NOISE = (
    b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\n"
    b"I0000 00:00:1795247228.369824   23060 port.cc:153] oneDNN custom operations are on.\n"
    b"W0000 00:00:1795247234.860916   23060 helpers.cc:364] Ignored output_format.\n"
)
ERROR = b"E0000 00:00:1795247233.071514   23060 platform.cc:52] failed call\n"


def test_only_the_lines_of_its_loggers_are_left_out(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Errors are not, nor what the author's module prints; in the end all is as it was."""
    monkeypatch.delenv(LEVEL, raising=False)
    with hushed():
        os.write(2, NOISE + ERROR)
        os.write(2, b"mine\n")
        os.write(2, NOISE)
    os.write(2, NOISE)
    assert capfd.readouterr().err.encode() == ERROR + b"mine\n" + NOISE
    assert LEVEL not in os.environ


def test_what_was_said_before_an_error_is_not_lost(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """And the error passes."""
    monkeypatch.delenv(LEVEL, raising=False)
    with pytest.raises(ValueError, match="wrong"), hushed():  # noqa: PT012 - said, then raised
        os.write(2, ERROR + NOISE)
        raise ValueError("wrong")
    assert capfd.readouterr().err.encode() == ERROR


def test_who_asks_for_all_of_it_gets_it(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """By TensorFlow's own word."""
    monkeypatch.setenv(LEVEL, "0")
    with hushed():
        os.write(2, NOISE)
    assert capfd.readouterr().err.encode() == NOISE
