"""Data sets count their batches, stop when asked, and say what they hold."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from fedbus.data import Batch, Dataset, describe, from_arrays, npz, shuffled
from fedbus.data.dataset import SHUFFLE_BUFFER_BYTES, joins_last_row
from fedbus.errors import Stopped, TrainingError
from fedbus.training.params import TrainingParams


def numbered(rows: int, batch: int = 4) -> Dataset:
    """Make rows that know their number."""
    return from_arrays(np.arange(rows, dtype=np.float32)[:, None], np.arange(rows), batch)


def labels(batches: Iterator[Batch]) -> list[int]:
    """Collect the truths of some batches."""
    return [int(label) for _, y in batches for label in y]


@given(
    rows=st.integers(1, 60),
    loaded=st.integers(1, 9),
    batch=st.integers(1, 9),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 2**53),
)
def test_every_epoch_shows_every_row_once_in_batches_of_the_jobs_size(
    rows: int, loaded: int, batch: int, epochs: int, seed: int
) -> None:
    """However the loader cuts them; only an epoch's last batch is short, or longer by one row."""
    dataset = numbered(rows, loaded)
    params = TrainingParams(batch_size=batch, epochs=epochs, seed=seed)
    sizes = [len(y) for _, y in dataset.steps(params)]
    full, rest = divmod(rows, batch)
    epoch = [batch] * full + [rest] * bool(rest)
    if rest == 1 and full:
        epoch = [*[batch] * (full - 1), batch + 1]
    assert sizes == epoch * epochs
    assert dataset.steps_in_epoch(params) == len(epoch)
    assert dataset.progress == 1.0
    assert sorted(labels(dataset.steps(params))) == sorted([*range(rows)] * epochs)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=8), st.integers(1, 30))
def test_shuffling_in_a_small_buffer_loses_no_row(loaded: list[int], size: int) -> None:
    """A data set larger than the buffer is mixed piece by piece."""
    ends = np.cumsum(loaded)
    batches = [
        (np.zeros((n, 1)), np.arange(end - n, end)) for n, end in zip(loaded, ends, strict=True)
    ]
    cut = list(shuffled(batches, size, np.random.default_rng(0), within=20 * 8))
    assert sorted(labels(iter(cut))) == list(range(sum(loaded)))
    assert all(len(y) == size for _, y in cut[:-1])


def test_a_row_keeps_its_truth_when_rows_are_shuffled() -> None:
    """Inputs and truths are mixed alike, differently in each epoch, and by the seed alone."""
    dataset = numbered(100)
    for x, y in dataset.steps(TrainingParams()):
        np.testing.assert_array_equal(x[:, 0], y)
    orders = [labels(dataset.steps(TrainingParams(seed=seed, epochs=2))) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]
    assert orders[0][:100] != orders[0][100:]


def test_steps_per_epoch_cuts_an_epoch_short() -> None:
    """And progress knows."""
    dataset = numbered(100)
    sizes = [
        len(y) for _, y in dataset.steps(TrainingParams(batch_size=8, epochs=2, steps_per_epoch=3))
    ]
    assert sizes == [8] * 6
    assert dataset.progress == 1.0


@pytest.mark.parametrize(
    ("rows", "size", "steps", "sizes"),
    [
        (33, 16, None, [16, 17]),
        (33, 16, 2, [16, 17]),
        (33, 16, 1, [16]),
        (17, 16, None, [17]),
        (1, 16, None, [1]),
        (3, 1, None, [1, 1, 1]),
        (3, 1, 2, [1, 1]),
        (3, 2, None, [3]),
        (34, 16, None, [16, 16, 2]),
    ],
)
def test_a_last_row_alone_is_joined_to_the_batch_before(
    rows: int, size: int, steps: int | None, sizes: list[int]
) -> None:
    """A layer that normalizes batches finds no variance in one row, and PyTorch's raises then."""
    dataset = numbered(rows)
    params = TrainingParams(batch_size=size, steps_per_epoch=steps)
    assert [len(y) for _, y in dataset.steps(params)] == sizes
    assert dataset.steps_in_epoch(params) == len(sizes)
    assert dataset.progress == 1.0
    assert joins_last_row(rows, size) is (sizes[-1] > size or (steps == 1 and rows == 33))


def test_a_last_row_is_joined_though_the_rows_before_it_have_left_the_buffer() -> None:
    """A large data set is shuffled piece by piece, and the last piece may be one row."""
    wide = np.zeros((9, SHUFFLE_BUFFER_BYTES // 4), np.float32)  # 4 rows fill the buffer
    found = [
        y.tolist()
        for _, y in from_arrays(wide, np.arange(9), 1).steps(TrainingParams(batch_size=4))
    ]
    assert [len(batch) for batch in found] == [4, 5]
    assert sorted(row for batch in found for row in batch) == list(range(9))


def test_progress_runs_from_0_to_1_across_the_epochs() -> None:
    """A batch counts once the trainer comes back for the next."""
    dataset = numbered(10)
    assert dataset.progress == 0.0
    seen = [dataset.progress for _ in dataset.steps(TrainingParams(batch_size=5, epochs=2))]
    assert seen == [0.0, 0.25, 0.5, 0.75]
    assert dataset.progress == 1.0


def test_a_plain_walk_has_progress_too_and_never_more_than_all() -> None:
    """A trainer may walk by itself, and more than once."""
    dataset = numbered(8)
    assert [dataset.progress for _ in dataset.batches()] == [0.0, 0.5]
    assert [dataset.progress for _ in dataset.batches()] == [1.0, 1.0]


def test_a_task_is_stopped_at_its_next_batch() -> None:
    """The trainer's author writes no word for it."""
    flag = {"stop": False}
    steps = numbered(12).with_stop(lambda: flag["stop"]).steps(TrainingParams(batch_size=4))
    assert len(next(steps)[1]) == 4
    flag["stop"] = True
    with pytest.raises(Stopped):
        next(steps)


def test_who_works_long_on_one_batch_may_ask_in_between() -> None:
    """Nothing is counted by it."""
    flag = {"stop": False}
    data = numbered(12).with_stop(lambda: flag["stop"])
    data.check_stop()
    assert data.progress == 0
    flag["stop"] = True
    with pytest.raises(Stopped):
        data.check_stop()
    numbered(12).check_stop()  # it has no stop condition


def test_each_task_counts_for_itself() -> None:
    """Two tasks share the rows, not the progress."""
    dataset = numbered(4)
    first, second = dataset.with_stop(lambda: False), dataset.with_stop(lambda: True)
    assert labels(first.batches()) == [0, 1, 2, 3]
    assert (first.progress, second.progress, dataset.progress) == (1.0, 0.0, 0.0)
    assert Dataset(0, lambda: ()).progress == 0.0


def shard(folder: Path, **arrays: ArrayLike) -> str:
    """Write an .npz file."""
    path = folder / "agent.1.npz"
    np.savez(path, **arrays)
    return str(path)


def test_a_shard_is_loaded_in_batches(tmp_path: Path) -> None:
    """Inputs become float32, classes int64, whatever they were."""
    path = shard(tmp_path, x=np.ones((5, 3)), y=np.array([0, 1, 2, 1, 0], np.uint8))
    dataset = npz(path, batch=2)
    batches = list(dataset.batches())
    assert dataset.examples == 5
    assert [(x.shape, x.dtype.name, y.dtype.name) for x, y in batches] == [
        ((2, 3), "float32", "int64"),
        ((2, 3), "float32", "int64"),
        ((1, 3), "float32", "int64"),
    ]


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"x": np.ones((2, 3))}, "expected two arrays, x and y"),
        ({"x": np.ones((2, 3)), "y": np.zeros(3, int)}, r"x is \(2, 3\) and y is \(3,\)"),
        ({"x": np.ones((2, 3)), "y": np.int64(1)}, r"y is \(\)"),
        ({"x": np.ones((0, 3)), "y": np.zeros(0, int)}, r"x is \(0, 3\) .*: not a single row"),
        ({"x": np.array([["a"]]), "y": np.zeros(1, int)}, "x is <U1, not numbers"),
        ({"x": np.ones((1, 1)), "y": np.array([None])}, "Object arrays are pickled"),
    ],
    ids=["no y", "lengths", "scalar", "empty", "text", "objects"],
)
def test_a_shard_that_cannot_be_used_says_why(
    tmp_path: Path, arrays: dict[str, ArrayLike], sentence: str
) -> None:
    """And where it lies; an object array would have to be unpickled, so it is refused."""
    with pytest.raises(TrainingError, match=rf"agent\.1\.npz: .*{sentence}"):
        npz(shard(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 torn", b"\x80\x04K\x01."])
def test_a_file_that_is_no_shard_is_refused(tmp_path: Path, content: bytes) -> None:
    """Torn, foreign or pickled."""
    path = tmp_path / "file.npz"
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=r"file\.npz: not an \.npz file"):
        npz(str(path))


def test_a_missing_file_and_a_bare_array_are_no_shards(tmp_path: Path) -> None:
    """Two common slips."""
    with pytest.raises(TrainingError, match="No such file"):
        npz(str(tmp_path / "nowhere.npz"))
    np.save(tmp_path / "x.npy", np.ones(3))
    with pytest.raises(TrainingError, match="one bare array"):
        npz(str(tmp_path / "x.npy"))


def test_a_data_set_is_described_as_aeros_does(tmp_path: Path) -> None:
    """From its first batch, which is not counted."""
    dataset = from_arrays(np.ones((2, 8, 8, 3), np.float32), np.array([0, 9]))
    floats = {"normalized": True, "dtype": "float32"}
    wild = floats | {"normalized": False}
    assert describe(dataset) == {
        "x": {"data_types": {"image": floats | {"size": [8, 8, 3], "axes": "channels-last"}}},
        "y": {"data_types": {"categorical": wild | {"size": [1], "dtype": "int64"}}},
    }
    assert dataset.progress == 0.0
    path = shard(tmp_path, x=np.full((2, 64), 16), y=np.array([0.5, 2.0]))
    assert describe(path) == {
        "x": {"data_types": {"numerical": wild | {"size": [64]}}},
        "y": {"data_types": {"numerical": wild | {"size": [1]}}},
    }


def test_nothing_can_be_said_of_no_rows() -> None:
    """A loader may have found none."""
    empty = Dataset(0, lambda: ())
    assert list(empty.steps(TrainingParams())) == []
    with pytest.raises(TrainingError, match="the data set has no rows"):
        describe(empty)
