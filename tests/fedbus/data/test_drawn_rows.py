"""Steps that each draw their rows from all rows of a data set."""

from collections.abc import Iterator

import numpy as np
import pytest

from fedbus.data import Batch, from_arrays
from fedbus.data.drawn_rows import drawn_steps
from fedbus.errors import Stopped
from fedbus.model.layout import Array


def everything(count: int) -> Array:
    """Draw all rows."""
    return np.ones(count, bool)


def noisy(batch: Batch, rng: np.random.Generator) -> Batch:
    """Add a random number to a single row, and 1 to its target."""
    assert len(batch[0]) == 1
    return batch[0] + rng.normal(size=(1, 1)), batch[1] + 1


def test_a_drawn_step_has_the_rows_that_are_drawn() -> None:
    """In batches of at most the size, across those of the loader; none if none is drawn."""
    rows = 10
    x = np.arange(rows).reshape(rows, 1)
    marks = [np.arange(rows) % 2 == 0, np.zeros(rows, bool), np.ones(rows, bool)]
    left = [*np.concatenate(marks)]
    data = from_arrays(x, x[:, 0], batch=4)
    counted: list[int] = []
    watched = data.with_stop(lambda: False, lambda: counted.append(1))

    def draw(count: int) -> Array:
        taken, left[:count] = left[:count], []
        return np.array(taken)

    steps = [[x[:, 0].tolist() for x, _ in step] for step in drawn_steps(watched, 3, draw, 3)]
    assert steps == [[[0, 2, 4], [6, 8]], [], [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]]
    assert (len(counted), watched.progress) == (3, 1.0)


def test_a_drawn_step_stops_when_it_is_asked_to() -> None:
    """At the next batch of the loader."""
    x = np.zeros((10, 1))
    data = from_arrays(x, x, batch=4).with_stop(lambda: True)
    with pytest.raises(Stopped):
        next(next(drawn_steps(data, 1, everything, 3)))


def test_drawn_rows_are_transformed_one_by_one_each_with_chance_of_its_own() -> None:
    """A generator for each row that is drawn, in the order of the rows."""
    x = np.arange(6.0).reshape(6, 1)
    data = from_arrays(x, x, batch=4).transformed(noisy)
    made: list[int] = []

    def chance() -> np.random.Generator:
        made.append(len(made))
        return np.random.default_rng(made[-1])

    ((batch,), (again,)) = (list(step) for step in drawn_steps(data, 2, everything, 6, chance))
    expected = [np.random.default_rng(seed).normal() for seed in range(12)]
    np.testing.assert_array_equal(batch[0][:, 0], x[:, 0] + expected[:6])
    np.testing.assert_array_equal(again[0][:, 0], x[:, 0] + expected[6:])
    np.testing.assert_array_equal(batch[1], x + 1)


def test_the_chance_of_transforms_is_never_the_same_twice() -> None:
    """It comes from the operating system, so it does not tell which rows were drawn."""
    x = np.zeros((6, 1))
    data = from_arrays(x, x).transformed(noisy)

    def numbers() -> Iterator[float]:
        for step in drawn_steps(data, 2, everything, 4):
            for rows, _ in step:
                yield from rows[:, 0].tolist()

    found = [*numbers(), *numbers()]
    assert len(set(found)) == len(found) == 24
