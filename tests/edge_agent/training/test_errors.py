"""How a failure of somebody's code is told."""

import threading
from dataclasses import replace

import pytest

from fedbus.errors import TrainingError
from fedbus.wire import codec
from fedbus.wire.messages import Decline
from fedbus_edge_agent.training.errors import describe_error, thread_position
from tests.fedbus.wire.kinds import example


class Speechless(Exception):  # noqa: N818 - it says nothing
    """An exception that cannot even say what it is."""

    def __str__(self) -> str:
        """Fail."""
        raise RuntimeError("no words")


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
        (Speechless(), "Speechless (test_errors.py:LINE in raised)"),
        (ValueError("x" * 9000), f"ValueError: {'x' * 2048} (test_errors.py:LINE in raised)"),
    ],
    ids=["ours", "ours, without words", "theirs", "without words", "speechless", "long"],
)
def test_a_failure_says_what_and_where(error: Exception, sentence: str) -> None:
    """Our own sentences need no place; others end with the last line of their traceback."""
    line = raised.__code__.co_firstlineno + 3
    assert describe_error(raised(error)) == sentence.replace("LINE", str(line))


def test_a_failure_can_be_sent_whatever_a_file_is_called() -> None:
    """A picture that was torn meanwhile, say, whose name is not in UTF-8."""
    sentence = describe_error(TrainingError("caf\udce9.png: not a picture"))
    assert sentence == "caf\\udce9.png: not a picture"
    sent = replace(example(Decline), reason=sentence)
    assert codec.unpack(Decline, codec.pack(sent)) == sent


def test_an_error_that_was_never_raised_has_no_place() -> None:
    """It is told all the same."""
    assert describe_error(ValueError("x")) == "ValueError: x"


def test_a_thread_says_where_it_is() -> None:
    """While it lives."""
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
