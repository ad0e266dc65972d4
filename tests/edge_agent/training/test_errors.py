"""Descriptions of errors of plug-ins."""

import threading
from dataclasses import replace

import pytest

from fedbus.errors import TrainingError
from fedbus.wire import codec
from fedbus.wire.messages import Decline
from fedbus_edge_agent.training.errors import describe_error, thread_position
from tests.fedbus.wire.kinds import example


class Unprintable(Exception):  # noqa: N818 - it says nothing
    """An exception whose `__str__` raises."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no message")


def raised(error: BaseException) -> BaseException:
    """Raise an error, and catch it with its traceback."""
    try:
        raise error
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (TrainingError("the loss became nan"), "the loss became nan"),
        (TrainingError(), "TrainingError (test_errors.py:LINE in raised)"),
        (ValueError("bad rows"), "ValueError: bad rows (test_errors.py:LINE in raised)"),
        (MemoryError(), "MemoryError (test_errors.py:LINE in raised)"),
        (Unprintable(), "Unprintable (test_errors.py:LINE in raised)"),
        (ValueError("x" * 9000), f"ValueError: {'x' * 2048} (test_errors.py:LINE in raised)"),
    ],
    ids=["ours", "ours, without message", "theirs", "without message", "unprintable", "long"],
)
def test_a_description_has_the_error_and_its_source_line(error: Exception, sentence: str) -> None:
    """Errors of fedbus need no line; others end with the last one of their traceback."""
    line = raised.__code__.co_firstlineno + 3
    assert describe_error(raised(error)) == sentence.replace("LINE", str(line))


def test_a_description_can_be_sent_whatever_the_name_of_a_file() -> None:
    """For example that of a damaged picture whose name is not in UTF-8."""
    sentence = describe_error(TrainingError("caf\udce9.png: not a picture"))
    assert sentence == "caf\\udce9.png: not a picture"
    sent = replace(example(Decline), reason=sentence)
    assert codec.unpack(Decline, codec.pack(sent)) == sent


def test_an_error_that_was_never_raised_has_no_source_line() -> None:
    """It is described nevertheless."""
    assert describe_error(ValueError("x")) == "ValueError: x"


def test_the_position_of_a_thread_is_found() -> None:
    """While the thread runs."""
    begun, end = threading.Event(), threading.Event()
    found: list[int] = []

    def wait_here() -> None:
        found.append(threading.get_ident())
        begun.set()
        end.wait()

    thread = threading.Thread(target=wait_here)
    thread.start()
    begun.wait()
    place = thread_position(found[0])
    end.set()
    thread.join()
    assert place.startswith(("threading.py:", "test_errors.py:"))
    assert thread_position(found[0]) == ""
