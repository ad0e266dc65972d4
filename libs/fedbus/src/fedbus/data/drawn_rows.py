"""Steps that each draw their rows at random from all rows of a data set, as DP-SGD needs them.

The chance of each row, its transform included, depends on no other row and on no seed that another
node knows. If one stream of chance served all rows in turn, one more row that is drawn would change
the transforms of all later ones, and so more than its own share of the result.
"""

from collections.abc import Callable, Iterator

import numpy as np

from fedbus.data.dataset import Batch, Dataset
from fedbus.model.layout import Array

RowChance = Callable[[], np.random.Generator]
"""Returns a generator for one row, independent of all others: `np.random.default_rng`, which takes
its seed from the operating system."""


def drawn_steps(
    data: Dataset,
    steps: int,
    draw: Callable[[int], Array],
    size: int,
    chance: RowChance = np.random.default_rng,
) -> Iterator[Iterator[Batch]]:
    """Iterate over steps, each of which draws its rows from all rows; finish each one.

    A step passes over all rows, and has batches of at most `size` of those that it draws; none, if
    it draws none. Rows are transformed one by one, so that none depends on another.

    Args:
        data: The rows.
        steps: How many.
        draw: Given a number of rows, returns which of them are drawn, shape (rows,), bool.
        size: Rows of a batch, at most.
        chance: Makes the only randomness of a row's transform.

    Raises:
        Stopped: the task is to stop; raised at the next batch.
    """
    for rows in data.passes(steps):
        taken = _drawn(rows, draw, size)
        yield (_one_by_one(data, batch, chance) for batch in taken)


def _drawn(rows: Iterator[Batch], draw: Callable[[int], Array], size: int) -> Iterator[Batch]:
    held: list[Batch] = []
    count = 0
    for x, y in rows:
        marked = draw(len(x))
        held.append((x[marked], y[marked]))
        count += int(marked.sum())
        while count >= size:
            full, rest = _split(held, size)
            held, count = [rest], count - size
            yield full
    if count:
        yield _split(held, count)[0]


def _split(held: list[Batch], size: int) -> tuple[Batch, Batch]:
    """Return the first `size` of the held rows, and the others."""
    x = np.concatenate([x for x, _ in held])
    y = np.concatenate([y for _, y in held])
    return (x[:size], y[:size]), (x[size:], y[size:])


def _one_by_one(data: Dataset, batch: Batch, chance: RowChance) -> Batch:
    """Transform each row as a batch of its own, with chance of its own."""
    transform = data.transform
    if transform is None:
        return batch
    x, y = batch
    rows = [transform((x[i : i + 1], y[i : i + 1]), chance()) for i in range(len(x))]
    return np.concatenate([x for x, _ in rows]), np.concatenate([y for _, y in rows])
