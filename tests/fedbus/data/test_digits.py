"""The handwritten digits are dealt unevenly, and nobody goes without."""

from pathlib import Path

import pytest

from fedbus.data import npz
from fedbus.data.digits import write_digits


def test_the_digits_are_written_as_shards_the_same_every_time(tmp_path: Path) -> None:
    """One per agent, and one that only an evaluator sees."""
    shards = write_digits(tmp_path / "a", 8)
    again = write_digits(tmp_path / "b", 8)
    assert [shard.name for shard in shards] == [f"agent.{n}.npz" for n in range(1, 9)]
    held = npz(str(tmp_path / "a" / "held_out.npz"))
    sizes = [npz(str(shard)).examples for shard in shards]
    assert sum(sizes) + held.examples == 1797
    assert held.examples == pytest.approx(0.2 * 1797, abs=5)
    assert min(sizes) >= 16
    for one, other in zip(shards, again, strict=True):
        assert one.read_bytes() == other.read_bytes()
    x, y = next(held.batches())
    assert (x.shape[1], x.dtype.name, y.dtype.name) == (64, "float32", "int64")
    assert 0.0 <= x.min() < x.max() <= 1.0


def test_two_hundred_agents_all_get_digits(tmp_path: Path) -> None:
    """Without a floor, several of them would get none."""
    assert min(npz(str(shard)).examples for shard in write_digits(tmp_path, 200)) >= 3
