"""Memory knows whether a view of it is left."""

import numpy as np

from fedbus.lent_memory import is_lent


def test_memory_is_lent_as_long_as_a_view_of_it_is_left() -> None:
    """And is as it was after it was asked."""
    memory = bytearray(b"12")
    view = memoryview(memory)
    part = view[1:]
    view.release()
    assert is_lent(memory)
    part.release()
    assert not is_lent(memory)
    assert memory == b"12"


def test_an_array_over_a_view_holds_its_memory() -> None:
    """Though the view is gone."""
    memory = bytearray(4)
    array = np.frombuffer(memoryview(memory), np.uint8)
    assert is_lent(memory)
    del array
    assert not is_lent(memory)


def test_empty_memory_is_never_lent() -> None:
    """There is nothing to overwrite."""
    memory = bytearray()
    view = memoryview(memory)
    assert not is_lent(memory)
    view.release()
